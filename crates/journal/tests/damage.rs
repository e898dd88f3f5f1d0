//! What is on the disk is not what was acknowledged: named when it is opened or verified, and never silently gone.

mod fault;

use std::sync::Arc;

use fault::FaultDisk;
use linkmesh_journal::{
    ErrorKind, Journal, JournalError, JournalOptions, Kind, MIN_SEGMENT_BYTES, RECORD_HEADER,
    padded, verify,
};

fn options(repair: bool) -> JournalOptions {
    JournalOptions {
        segment_bytes: MIN_SEGMENT_BYTES,
        max_record_bytes: 16 << 10,
        repair,
        ..JournalOptions::default()
    }
}

fn name(number: u64) -> String {
    format!("{number:020}.journal")
}

fn open(disk: &FaultDisk, repair: bool) -> Result<Journal, JournalError> {
    Journal::open(Arc::new(disk.clone()), options(repair)).map(|(journal, _)| journal)
}

const LENGTH: usize = 200;
/// Of the fault disk: each record of these tests is a group of its own and takes one.
const BLOCK: usize = 512;

/// `count` records of one group each.
fn written(count: u64) -> FaultDisk {
    let disk = FaultDisk::default();
    let journal = open(&disk, false).expect("opens");
    for number in 0..count {
        let ticket = journal
            .append(Kind(1), &[number as u8; LENGTH])
            .expect("append");
        journal.wait(ticket).expect("durable");
    }
    journal.close().expect("close");
    disk
}

fn at(index: usize) -> usize {
    BLOCK + index * BLOCK
}

fn sequences(journal: &Journal) -> Vec<u64> {
    let mut scan = journal.scan(None);
    std::iter::from_fn(|| scan.next_entry().expect("reads"))
        .map(|entry| entry.header.sequence)
        .collect()
}

#[test]
fn a_changed_byte_is_named_and_repair_says_what_it_dropped() {
    let disk = written(20);
    disk.damage(&name(1), |bytes| bytes[at(7) + RECORD_HEADER + 3] ^= 1);
    let problems = verify(&disk).expect("verify").problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].sequence, problems[0].offset),
        (8, at(7) as u64)
    );

    let error = open(&disk, false).expect_err("damage must not open");
    assert_eq!(error.kind, ErrorKind::Corrupt);
    let place = error.place.expect("a place");
    assert_eq!((place.sequence, place.offset), (8, at(7) as u64));

    let (journal, recovery) =
        Journal::open(Arc::new(disk.clone()), options(true)).expect("repairs");
    let dropped: Vec<_> = recovery
        .dropped
        .iter()
        .map(|gap| (gap.first_sequence, gap.last_sequence))
        .collect();
    assert_eq!(dropped, [(8, 8)]);
    assert_eq!(
        sequences(&journal),
        (1..=20).filter(|s| *s != 8).collect::<Vec<_>>()
    );
    let ticket = journal.append(Kind(1), b"after").expect("append");
    assert_eq!(journal.wait(ticket), Ok(21));
    journal.close().expect("close");

    // From then on the gap is known: it opens without being asked to repair, and says what is lost.
    let journal = open(&disk, false).expect("opens");
    let verification = journal.verify().expect("verify");
    assert!(verification.valid(), "{:?}", verification.problems);
    assert_eq!(verification.repaired.len(), 1);
    assert_eq!(verification.last_sequence, 21);
}

#[test]
fn a_record_rewritten_with_a_right_checksum_is_named_by_the_chain() {
    let disk = written(10);
    disk.damage(&name(1), |bytes| {
        // As somebody would who knows the format: the payload changes and the checksum with it.
        let mut seed = crc32c::crc32c(&bytes[64..80]);
        seed = crc32c::crc32c_append(seed, &1u64.to_le_bytes());
        let record = &mut bytes[at(4)..at(5)];
        record[RECORD_HEADER] ^= 0xFF;
        record[4..8].fill(0);
        let crc = crc32c::crc32c_append(seed, &record[..RECORD_HEADER + LENGTH]);
        record[4..8].copy_from_slice(&crc.to_le_bytes());
    });
    let problems = verify(&disk).expect("verify").problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].what.contains("record 5 was changed"),
        "{problems:?}"
    );
    assert_eq!(
        open(&disk, false).expect_err("damage").kind,
        ErrorKind::Corrupt
    );
    let journal = open(&disk, true).expect("repairs");
    assert_eq!(sequences(&journal), [1, 2, 3, 4, 6, 7, 8, 9, 10]);
}

#[test]
fn records_cut_out_of_the_middle_are_named() {
    let disk = written(10);
    disk.damage(&name(1), |bytes| {
        let length = bytes.len();
        bytes.drain(at(3)..at(6));
        bytes.resize(length, 0);
    });
    let problems = verify(&disk).expect("verify").problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].what.contains("records 4 to 6 were cut out"),
        "{problems:?}"
    );
    assert!(open(&disk, false).is_err());
    let journal = open(&disk, true).expect("repairs");
    assert_eq!(sequences(&journal), [1, 2, 3, 7, 8, 9, 10]);
}

#[test]
fn a_tail_cut_off_at_the_edge_of_a_record_is_named_by_the_anchor() {
    let disk = written(10);
    disk.damage(&name(1), |bytes| bytes[at(8)..].fill(0));
    let problems = verify(&disk).expect("verify").problems;
    assert!(
        problems[0]
            .what
            .contains("records 9 to 10 were acknowledged"),
        "{problems:?}"
    );
    let error = open(&disk, false).expect_err("acknowledged records are gone");
    assert_eq!(error.place.expect("a place").sequence, 9);

    let (journal, recovery) =
        Journal::open(Arc::new(disk.clone()), options(true)).expect("repairs");
    assert_eq!(recovery.dropped[0].records(), 2);
    // Their numbers are never given out again.
    let ticket = journal.append(Kind(1), b"after").expect("append");
    assert_eq!(journal.wait(ticket), Ok(11));
    journal.close().expect("close");
    assert!(verify(&disk).expect("verify").valid());
    assert!(open(&disk, false).is_ok());
}

#[test]
fn a_missing_segment_is_named() {
    let disk = written(1_000);
    let segments = disk
        .names()
        .iter()
        .filter(|name| name.ends_with(".journal"))
        .count();
    assert!(segments >= 4, "{segments} segments");
    linkmesh_journal::Storage::remove(&disk, &name(2)).expect("removed");
    let problems = verify(&disk).expect("verify").problems;
    assert!(
        problems
            .iter()
            .any(|problem| problem.segment == 3 && problem.what.contains("missing")),
        "{problems:?}"
    );
    assert_eq!(
        open(&disk, false).expect_err("missing").kind,
        ErrorKind::Corrupt
    );
    let (journal, recovery) =
        Journal::open(Arc::new(disk.clone()), options(true)).expect("repairs");
    let lost: u64 = recovery
        .dropped
        .iter()
        .map(linkmesh_journal::Gap::records)
        .sum();
    assert_eq!(sequences(&journal).len() as u64 + lost, 1_000);
}

#[test]
fn damage_in_a_sealed_segment_is_an_error_where_it_is_read_and_repaired_when_asked() {
    let disk = written(1_000);
    disk.damage(&name(2), |bytes| bytes[4_000..9_000].fill(0));
    let journal = open(&disk, false).expect("the last segment is sound");
    let mut scan = journal.scan(None);
    let error = loop {
        match scan.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the damage was passed over in silence"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(!journal.verify().expect("verify").valid());
    drop(journal);
    let (journal, recovery) =
        Journal::open(Arc::new(disk.clone()), options(true)).expect("repairs");
    let lost: u64 = recovery
        .dropped
        .iter()
        .map(linkmesh_journal::Gap::records)
        .sum();
    assert!(lost > 0);
    assert_eq!(sequences(&journal).len() as u64 + lost, 1_000);
    assert!(journal.verify().expect("verify").valid());
}

#[test]
fn a_message_that_contains_a_journal_cannot_pass_for_records() {
    let evil = written(5).bytes(&name(1));
    let disk = FaultDisk::default();
    let journal = open(&disk, false).expect("opens");
    for _ in 0..3 {
        let ticket = journal.append(Kind(1), &evil[..8_000]).expect("append");
        journal.wait(ticket).expect("durable");
    }
    drop(journal);
    // The last record is torn: what follows the hole are only the copies inside of it.
    let anchor = disk.bytes("anchor");
    disk.damage(&name(1), |bytes| {
        let last = BLOCK + 2 * padded(8_000).next_multiple_of(BLOCK);
        bytes[last] ^= 1;
    });
    // The anchor would rightly say that it was acknowledged; a crash before it was written is what is tried here.
    assert!(open(&disk, false).is_err());
    disk.damage("anchor", Vec::clear);
    let journal = open(&disk, false).expect("a torn tail, not damage");
    assert_eq!(sequences(&journal), [1, 2]);
    assert_ne!(anchor, disk.bytes("anchor"));
}

#[test]
fn a_segment_of_another_format_is_refused_and_left_alone() {
    let disk = written(10);
    disk.damage(&name(1), |bytes| {
        bytes[6..8].copy_from_slice(b"01");
        let crc = crc32c::crc32c(&bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
    });
    let before = disk.bytes(&name(1));
    for repair in [false, true] {
        let error = open(&disk, repair).expect_err("another format must not open");
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.contains("format 01"), "{}", error.message);
    }
    let verified = verify(&disk).map_err(|error| error.kind);
    assert_eq!(verified, Err(ErrorKind::Invalid));
    assert_eq!(disk.bytes(&name(1)), before);
}
