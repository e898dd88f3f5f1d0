//! Crashes: the machine dies at a random operation and the disk does its worst with what was not synced; or the
//! process is killed. Afterwards every acknowledged record is there, nothing else is, and the chain is valid.
//!
//! `LINKMESH_CRASH_POINTS` sets how many points of each kind are tried, `LINKMESH_CRASH_SEED` repeats a run.

mod fault;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use fault::{FaultDisk, Random};
use linkmesh_journal::{
    Disk, Journal, JournalOptions, Kind, MIN_SEGMENT_BYTES, Retention, Ticket, verify,
};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a whole number"))
}

fn small() -> JournalOptions {
    JournalOptions {
        segment_bytes: MIN_SEGMENT_BYTES,
        max_record_bytes: 16 << 10,
        max_queued_bytes: 1 << 20,
        retention: Retention::default(),
        ..JournalOptions::default()
    }
}

/// A payload that says who it is, and that nothing else can be mistaken for.
fn payload(run: u64, number: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(run ^ number << 20);
    let mut bytes = [run.to_le_bytes(), number.to_le_bytes()].concat();
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length.max(16));
    bytes
}

/// One life after another on one disk, each cut short at a random operation.
#[test]
fn no_acknowledged_record_is_lost_and_none_invented_wherever_the_machine_dies() {
    let points = setting("LINKMESH_CRASH_POINTS", 400);
    let seed = setting("LINKMESH_CRASH_SEED", 1);
    let (mut crashed, mut torn, mut acknowledged) = (0, 0, 0);
    let mut point = 0;
    while point < points {
        let mut random = Random::new(seed << 32 | point);
        let disk = FaultDisk::default();
        // Sequence → payload of everything that was acknowledged in any life, and all that was ever tried.
        let mut kept: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut tried: std::collections::HashSet<Vec<u8>> = std::collections::HashSet::new();
        for life in 0..4 {
            disk.crash_after(random.below(40));
            // May die while it opens: then there is nothing to acknowledge.
            if let Ok((journal, _)) = Journal::open(Arc::new(disk.clone()), small()) {
                let mut pending: Vec<(Ticket, Vec<u8>)> = Vec::new();
                for number in 0..=random.below(60) {
                    let length = 1 << random.below(13);
                    let bytes = payload(point * 8 + life, number, length as usize);
                    tried.insert(bytes.clone());
                    let Ok(ticket) = journal.append(Kind(1), &bytes) else {
                        break;
                    };
                    pending.push((ticket, bytes));
                    if random.below(4) == 0 {
                        // Let a group be made of what there is.
                        drop(journal.wait(ticket));
                    }
                }
                for (ticket, bytes) in pending {
                    if let Ok(sequence) = journal.wait(ticket) {
                        assert_eq!(
                            kept.insert(sequence, bytes),
                            None,
                            "sequence {sequence} was given out twice, point {point}"
                        );
                        acknowledged += 1;
                    }
                }
            }
            crashed += u64::from(disk.crashed());
            if random.below(4) == 0 {
                // Whoever reads now sees what the next crash may not take away any more.
                disk.restart_process();
                kept = check(&disk, &kept, &tried, point).0;
            } else {
                disk.restart(&mut random);
                torn += u64::from(check(&disk, &kept, &tried, point).1 > 0);
            }
            point += 1;
        }
    }
    assert!(
        crashed > points / 2 && torn > 0 && acknowledged > points,
        "the harness itself: {crashed} crashes, {torn} torn tails, {acknowledged} acknowledged"
    );
    writeln!(
        std::io::stderr(),
        "{point} points: {crashed} crashes, {torn} torn tails, {acknowledged} records acknowledged, 0 lost, 0 invented"
    )
    .expect("stderr");
}

fn check(
    disk: &FaultDisk,
    kept: &BTreeMap<u64, Vec<u8>>,
    tried: &std::collections::HashSet<Vec<u8>>,
    point: u64,
) -> (BTreeMap<u64, Vec<u8>>, u64) {
    let (journal, recovery) = Journal::open(Arc::new(disk.clone()), small())
        .unwrap_or_else(|error| panic!("point {point}: does not open: {error}"));
    assert_eq!(recovery.dropped, [], "point {point}");
    let mut scan = journal.scan(None);
    let mut found = BTreeMap::new();
    while let Some(entry) = scan
        .next_entry()
        .unwrap_or_else(|error| panic!("point {point}: {error}"))
    {
        assert!(
            tried.contains(&entry.payload),
            "point {point}: record {} was invented",
            entry.header.sequence
        );
        found.insert(entry.header.sequence, entry.payload);
    }
    for (sequence, bytes) in kept {
        assert_eq!(
            found.get(sequence),
            Some(bytes),
            "point {point}: acknowledged record {sequence} is lost"
        );
    }
    let verification = journal.verify().expect("verify");
    assert!(
        verification.valid(),
        "point {point}: {:?}",
        verification.problems
    );
    journal.close().expect("close");
    let verification = verify(disk).expect("verify");
    assert!(
        verification.valid(),
        "point {point}: {:?}",
        verification.problems
    );
    (found, recovery.torn_bytes)
}

const CHILD: &str = "LINKMESH_CRASH_CHILD";

/// The process that is killed: appends, and says each sequence only after it was acknowledged. Does nothing unless it
/// was started by the test below.
#[test]
fn child_that_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let run = setting("LINKMESH_CRASH_RUN", 0);
    let disk = Disk::open(folder.as_ref()).expect("the folder");
    let (journal, _) = Journal::open(Arc::new(disk), small()).expect("opens");
    let stdout = std::io::stdout();
    for number in 0.. {
        let tickets: Vec<Ticket> = (0..8)
            .map(|index| {
                let bytes = payload(run, number * 8 + index, 200 + (number % 7) as usize * 300);
                journal.append(Kind(1), &bytes).expect("append")
            })
            .collect();
        for (index, ticket) in tickets.into_iter().enumerate() {
            let sequence = journal.wait(ticket).expect("acknowledged");
            let mut out = stdout.lock();
            // One write: the line is whole or not there.
            let line = format!("ack {sequence} {run} {}\n", number * 8 + index as u64);
            if out
                .write_all(line.as_bytes())
                .and_then(|()| out.flush())
                .is_err()
            {
                return;
            }
        }
    }
}

#[test]
fn a_killed_process_keeps_what_it_acknowledged() {
    let kills = setting("LINKMESH_CRASH_POINTS", 400)
        .div_ceil(20)
        .min(1_000);
    let seed = setting("LINKMESH_CRASH_SEED", 1);
    let mut random = Random::new(seed);
    let mut acknowledged = 0;
    let mut folder = tempfile::tempdir().expect("a folder");
    let mut kept: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for run in 0..kills {
        if run % 16 == 0 {
            folder = tempfile::tempdir().expect("a folder");
            kept.clear();
        }
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .env("LINKMESH_CRASH_RUN", run.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut wanted = 1 + random.below(200);
        // After so many acknowledgements, plus what the process does until the signal reaches it.
        let mut note = |line: String| {
            // The harness of the tests prints lines of its own.
            let Some(rest) = line.split("ack ").nth(1) else {
                return false;
            };
            let numbers: Vec<u64> = rest
                .split(' ')
                .map(|word| word.parse().expect("a number"))
                .collect();
            let [sequence, run, number] = numbers[..] else {
                panic!("{line}")
            };
            let length = 200 + (number / 8 % 7) as usize * 300;
            assert_eq!(kept.insert(sequence, payload(run, number, length)), None);
            true
        };
        while wanted > 0 {
            let line = lines
                .next()
                .expect("the process ended by itself")
                .expect("reads");
            wanted -= u64::from(note(line));
            acknowledged += 1;
        }
        child.kill().expect("kill");
        child.wait().expect("ended");
        // What it said before the signal came counts as well.
        for line in lines {
            let line = line.expect("reads");
            if line.ends_with('\n') || line.split(' ').count() == 4 {
                note(line);
            }
        }
        let disk = Disk::open(folder.path()).expect("the lock of a dead process is free");
        let (journal, _) = Journal::open(Arc::new(disk), small()).expect("opens");
        let mut scan = journal.scan(None);
        let mut found = BTreeMap::new();
        while let Some(entry) = scan.next_entry().expect("reads") {
            found.insert(entry.header.sequence, entry.payload);
        }
        for (sequence, bytes) in &kept {
            assert_eq!(
                found.get(sequence),
                Some(bytes),
                "record {sequence}, seed {seed}"
            );
        }
        assert!(journal.verify().expect("verify").valid());
        // What was written and not acknowledged is there too, and stays: it may not be given out again.
        kept = found;
    }
    writeln!(
        std::io::stderr(),
        "{kills} kills: {acknowledged} records acknowledged, 0 lost, chain valid"
    )
    .expect("stderr");
}
