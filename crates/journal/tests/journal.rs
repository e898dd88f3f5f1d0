//! What a user of the journal relies on: order, acknowledgements, limits, retention, a full disk, a second process.

mod fault;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fault::FaultDisk;
use linkmesh_journal::{
    Disk, ErrorKind, Journal, JournalError, JournalOptions, Kind, MIN_SEGMENT_BYTES, Memory,
    Retention, Ticket, verify,
};
use proptest::prelude::*;

fn small() -> JournalOptions {
    JournalOptions {
        segment_bytes: MIN_SEGMENT_BYTES,
        max_record_bytes: 16 << 10,
        retention: Retention::default(),
        ..JournalOptions::default()
    }
}

fn all(journal: &Journal) -> Vec<(u8, Vec<u8>)> {
    let mut scan = journal.scan(None);
    std::iter::from_fn(|| scan.next_entry().expect("reads"))
        .map(|entry| (entry.kind().0, entry.payload))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_was_appended_comes_back_in_order_after_any_number_of_openings(
        lives in proptest::collection::vec(
            proptest::collection::vec((1u8..=254, proptest::collection::vec(any::<u8>(), 0..3_000)), 0..40),
            1..4,
        )
    ) {
        let disk = FaultDisk::default();
        let mut expected = Vec::new();
        for life in lives {
            let (journal, recovery) = Journal::open(Arc::new(disk.clone()), small()).expect("opens");
            prop_assert_eq!(recovery.last_sequence, expected.len() as u64);
            prop_assert_eq!(recovery.torn_bytes, 0);
            let mut last = None;
            for (kind, bytes) in life {
                last = Some(journal.append(Kind(kind), &bytes).expect("append"));
                expected.push((kind, bytes));
            }
            if let Some(last) = last {
                prop_assert_eq!(journal.wait(last), Ok(expected.len() as u64));
            }
            prop_assert_eq!(&all(&journal), &expected);
            journal.close().expect("close");
            let verification = verify(&disk).expect("verify");
            prop_assert!(verification.valid());
            prop_assert_eq!(verification.records, expected.len() as u64);
        }
    }
}

#[test]
fn many_threads_get_every_sequence_once_and_their_own_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Disk::open(folder.path()).expect("opens"));
    let (journal, _) = Journal::open(disk, JournalOptions::default()).expect("opens");
    let journal = Arc::new(journal);
    let threads: Vec<_> = (0..8u64)
        .map(|thread| {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || {
                let mut sequences = Vec::new();
                for round in 0..10u64 {
                    let tickets: Vec<Ticket> = (0..50u64)
                        .map(|index| {
                            let number = round * 50 + index;
                            let bytes = [thread.to_le_bytes(), number.to_le_bytes()].concat();
                            journal.append(Kind(1), &bytes).expect("append")
                        })
                        .collect();
                    for ticket in tickets {
                        sequences.push(journal.wait(ticket).expect("durable"));
                    }
                }
                assert!(sequences.is_sorted());
                sequences
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for thread in threads {
        for sequence in thread.join().expect("a thread") {
            assert!(seen.insert(sequence));
        }
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        (1..=4_000).collect::<Vec<_>>()
    );
    let mut next = [0u64; 8];
    for (_, payload) in all(&journal) {
        let thread = payload[0] as usize;
        let number = u64::from_le_bytes(payload[8..].try_into().expect("8 bytes"));
        assert_eq!(number, next[thread], "thread {thread}");
        next[thread] += 1;
    }
}

#[test]
fn listeners_hear_of_every_acknowledgement() {
    let (journal, _) = Journal::open(Arc::new(Memory::default()), small()).expect("opens");
    assert!(!journal.outlives_process());
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let id = journal.on_commit(Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let ticket = journal.append(Kind(1), b"one").expect("append");
    assert_eq!(journal.wait(ticket), Ok(1));
    // Waiters are told before listeners, so closing (which joins the writer) is what makes this certain.
    journal.off_commit(id + 1);
    journal.close().expect("close");
    assert_eq!(heard.load(Ordering::SeqCst), 1);
    let mut runs = Vec::new();
    journal.acknowledged(Ticket(1), |run| {
        runs.push((run.first.0, run.count, run.outcome));
    });
    assert_eq!(runs, [(1, 1, Ok(1))]);
}

#[test]
fn limits_are_refused_at_the_edge_by_name() {
    let (journal, _) = Journal::open(Arc::new(Memory::default()), small()).expect("opens");
    let error = journal
        .append(Kind(1), &vec![0; 16_385])
        .expect_err("too large");
    assert_eq!(
        (error.kind, error.limit),
        (ErrorKind::LimitExceeded, Some(16_384))
    );
    for kind in [0, 255] {
        assert_eq!(
            journal.append(Kind(kind), b"x").expect_err("kind").kind,
            ErrorKind::Invalid
        );
    }
    // All or none: 65,537 records do not fit the queue together.
    let one = b"x".as_slice();
    let error = journal
        .append_all(Kind(1), std::iter::repeat_n(one, 65_537))
        .expect_err("the queue");
    assert_eq!(
        (error.kind, error.field),
        (ErrorKind::QueueFull, Some("maxQueuedRecords"))
    );
    assert_eq!(journal.durable().sequence, 0);
    for (change, field) in [
        (
            JournalOptions {
                segment_bytes: 1,
                ..small()
            },
            "segmentBytes",
        ),
        (
            JournalOptions {
                max_record_bytes: 1 << 20,
                ..small()
            },
            "maxRecordBytes",
        ),
        (
            JournalOptions {
                max_queued_records: 0,
                ..small()
            },
            "maxQueuedRecords",
        ),
    ] {
        let error = Journal::open(Arc::new(Memory::default()), change).expect_err(field);
        assert_eq!(
            (error.kind, error.field),
            (ErrorKind::LimitExceeded, Some(field))
        );
    }
}

#[test]
fn closed_under_load_every_append_is_durable_or_refused() {
    for _ in 0..20 {
        let disk = FaultDisk::default();
        let (journal, _) = Journal::open(Arc::new(disk.clone()), small()).expect("opens");
        let journal = Arc::new(journal);
        let go = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (journal, go) = (Arc::clone(&journal), Arc::clone(&go));
                std::thread::spawn(move || {
                    let mut kept = Vec::new();
                    loop {
                        match journal.append(Kind(1), b"load") {
                            Ok(ticket) => kept.push(journal.wait(ticket)),
                            Err(error) => {
                                assert_eq!(error.kind, ErrorKind::Closed);
                                return kept;
                            }
                        }
                        go.store(true, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        while !go.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        journal.close().expect("close");
        let mut accepted = 0;
        for thread in threads {
            for outcome in thread.join().expect("a thread") {
                outcome.expect("what was accepted before the close is durable");
                accepted += 1;
            }
        }
        assert_eq!(verify(&disk).expect("verify").records, accepted);
    }
}

#[test]
fn a_full_disk_refuses_without_losing_and_goes_on_when_there_is_room() {
    let disk = FaultDisk::default();
    let (journal, _) = Journal::open(Arc::new(disk.clone()), small()).expect("opens");
    disk.set_full(true);
    let append = |journal: &Journal| -> Result<u64, JournalError> {
        journal.wait(journal.append(Kind(1), &[7; 8_000])?)
    };
    let mut acknowledged = 0;
    let error = loop {
        match append(&journal) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::DiskFull);
    assert!(acknowledged > 0);
    assert_eq!(
        append(&journal).expect_err("still full").kind,
        ErrorKind::DiskFull
    );
    disk.set_full(false);
    assert_eq!(
        append(&journal),
        Ok(acknowledged + 1),
        "no number is left out"
    );
    assert_eq!(all(&journal).len() as u64, acknowledged + 1);
    assert!(journal.verify().expect("verify").valid());
}

/// While one group fails the next is encoded already, chained to records that will never be.
#[test]
fn writes_that_find_no_room_under_load_refuse_their_own_records_and_keep_the_chain() {
    for every in 2..8 {
        let disk = FaultDisk::default();
        let (journal, _) = Journal::open(Arc::new(disk.clone()), small()).expect("opens");
        let journal = Arc::new(journal);
        disk.set_full_every(Some(every));
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let journal = Arc::clone(&journal);
                std::thread::spawn(move || {
                    let (mut kept, mut refused) = (Vec::new(), 0);
                    for burst in 0..60_u64 {
                        let queued: Vec<_> = (0..=burst % 9)
                            .map(|n| {
                                let mut payload = vec![n as u8; 16 + (burst * 97 % 2_000) as usize];
                                payload[..8].copy_from_slice(
                                    &(thread << 32 | burst << 8 | n).to_le_bytes(),
                                );
                                (journal.append(Kind(1), &payload).expect("queued"), payload)
                            })
                            .collect();
                        for (ticket, payload) in queued {
                            match journal.wait(ticket) {
                                Ok(sequence) => kept.push((sequence, payload)),
                                Err(error) => {
                                    assert_eq!(error.kind, ErrorKind::DiskFull);
                                    refused += 1;
                                }
                            }
                        }
                    }
                    (kept, refused)
                })
            })
            .collect();
        let (mut kept, mut refused) = (Vec::new(), 0);
        for thread in threads {
            let (own, its_refused) = thread.join().expect("a thread");
            kept.extend(own);
            refused += its_refused;
        }
        disk.set_full_every(None);
        journal
            .wait(journal.append(Kind(1), b"room again").expect("queued"))
            .expect("durable");
        journal.close().expect("close");
        drop(journal);
        let found = verify(&disk).expect("verify");
        assert!(found.valid(), "{:?}", found.problems);
        assert!(
            refused > 0 && kept.len() > 1,
            "{refused} refused, {} kept",
            kept.len()
        );
        kept.sort_unstable();
        kept.push((kept.len() as u64 + 1, b"room again".to_vec()));
        let (again, _) = Journal::open(Arc::new(disk), small()).expect("opens");
        let there: Vec<_> = (1..)
            .zip(all(&again).into_iter().map(|(_, payload)| payload))
            .collect();
        assert!(
            there == kept,
            "what was acknowledged, by its number, and nothing else"
        );
    }
}

#[test]
fn a_device_that_fails_stops_the_journal_and_says_so() {
    let disk = FaultDisk::default();
    let (journal, _) = Journal::open(Arc::new(disk.clone()), small()).expect("opens");
    let ticket = journal.append(Kind(1), b"kept").expect("append");
    journal.wait(ticket).expect("durable");
    disk.crash_after(0);
    let error = journal
        .append(Kind(1), b"lost")
        .and_then(|ticket| journal.wait(ticket))
        .expect_err("the device is gone");
    assert_eq!(error.kind, ErrorKind::Io);
    let error = journal.append(Kind(1), b"more").expect_err("stopped");
    assert!(
        error.message.contains("until it is opened again"),
        "{error}"
    );
}

#[test]
fn retention_keeps_what_it_says_and_the_chain_knows_what_it_removed() {
    let disk = FaultDisk::default();
    let options = JournalOptions {
        retention: Retention {
            records: Some(300),
            ..Retention::default()
        },
        ..small()
    };
    let (journal, _) = Journal::open(Arc::new(disk.clone()), options).expect("opens");
    for _ in 0..2_000 {
        let ticket = journal.append(Kind(1), &[1; 500]).expect("append");
        journal.wait(ticket).expect("durable");
    }
    journal.retain().expect("retain");
    let left = all(&journal).len();
    assert!((300..600).contains(&left), "{left} records are left");
    assert!(journal.removed() > 1_000);
    journal.close().expect("close");
    let verification = verify(&disk).expect("verify");
    assert!(verification.valid(), "{:?}", verification.problems);
    assert!(verification.removed > 1_000);
    // Removing one more by hand is not what the chain says.
    let oldest = disk
        .names()
        .into_iter()
        .find(|name| name.ends_with(".journal"))
        .expect("a segment");
    linkmesh_journal::Storage::remove(&disk, &oldest).expect("removed");
    let problems = verify(&disk).expect("verify").problems;
    assert!(
        problems
            .iter()
            .any(|problem| problem.what.contains("no retention removed them")),
        "{problems:?}"
    );
}

#[test]
fn retention_by_bytes_bounds_the_files() {
    let disk = FaultDisk::default();
    let most = MIN_SEGMENT_BYTES * 4;
    let options = JournalOptions {
        retention: Retention {
            bytes: Some(most),
            ..Retention::default()
        },
        ..small()
    };
    let (journal, _) = Journal::open(Arc::new(disk.clone()), options).expect("opens");
    for _ in 0..1_500 {
        let ticket = journal.append(Kind(1), &[1; 500]).expect("append");
        journal.wait(ticket).expect("durable");
    }
    journal.retain().expect("retain");
    journal.close().expect("close");
    let segments = disk
        .names()
        .iter()
        .filter(|name| name.ends_with(".journal"))
        .count() as u64;
    assert!(segments * MIN_SEGMENT_BYTES <= most, "{segments} segments");
}

#[test]
fn a_second_process_is_refused_and_a_reader_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::open(folder.path()).expect("opens");
    let (journal, _) = Journal::open(Arc::new(disk), small()).expect("opens");
    let ticket = journal.append(Kind(1), b"one").expect("append");
    journal.wait(ticket).expect("durable");
    let error = Disk::open(folder.path()).expect_err("held");
    let error = JournalError::from_io(&error, "opening the journal");
    assert_eq!(error.kind, ErrorKind::Locked);
    let reader = Disk::open_read_only(folder.path()).expect("looks");
    let verification = verify(&reader).expect("verify");
    assert_eq!((verification.records, verification.valid()), (1, true));
    drop(journal);
    assert!(
        Disk::open(folder.path()).is_ok(),
        "closing frees the folder"
    );
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("journal");
    std::fs::create_dir(&inside).expect("made");
    std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o500)).expect("set");
    if std::fs::write(inside.join("probe"), "x").is_ok() {
        // The superuser writes everywhere: nothing to see here.
        return;
    }
    let error = Disk::open(&inside).expect_err("not writable");
    assert_eq!(
        JournalError::from_io(&error, "opening").kind,
        ErrorKind::ReadOnly
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_segment_that_is_full_keeps_one_descriptor() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::open(folder.path()).expect("the folder");
    let (journal, _) = Journal::open(Arc::new(disk), small()).expect("opens");
    let ten = 10 * MIN_SEGMENT_BYTES / 4_096;
    for _ in 0..ten {
        let ticket = journal.append(Kind(1), &[1; 2_000]).expect("append");
        journal.wait(ticket).expect("durable");
    }
    let kept = std::fs::read_dir(folder.path())
        .expect("the folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".journal"))
        .count();
    let open = std::fs::read_dir("/proc/self/fd")
        .expect("descriptors")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| {
            path.starts_with(folder.path())
                && path.extension().is_some_and(|found| found == "journal")
        })
        .count();
    assert!(kept >= 10, "{kept} segments");
    assert!(open <= kept + 1, "{open} descriptors for {kept} segments");
}
