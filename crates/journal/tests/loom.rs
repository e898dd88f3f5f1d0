//! Every order, within a bound of preemptions, in which two writers, an appender and its acknowledgements can meet: no wake
//! is lost (loom reports the deadlock), no group is written before the one before it, and when the journal is closed or
//! its device fails every ticket has its outcome.
//!
//! The modules of the log that take turns are compiled here over loom's locks; nothing of them is written again.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "modules of the crate, of which a model needs parts"
)]

#[path = "../src/error.rs"]
mod error;
#[path = "../src/format/mod.rs"]
mod format;
#[path = "../src/limits.rs"]
mod limits;
#[path = "../src/storage/mod.rs"]
mod storage;
mod sync {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
}
#[path = "../src/log"]
mod log {
    pub(crate) mod buffer;
    pub(crate) mod commits;
    pub(crate) mod gaps;
    pub(crate) mod group;
    pub(crate) mod queue;
    pub(crate) mod reader;
    pub(crate) mod segments;
    pub(crate) mod shared;
    pub(crate) mod writer;
}

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use error::{ErrorKind, JournalError};
use format::{CHAIN_START, Encoder, Kind, SegmentHeader, file_name};
use limits::JournalOptions;
use log::commits::{Commits, Ticket};
use log::group::Head;
use log::queue::Queue;
use log::reader::{Position, SegmentScan, Step};
use log::segments::{Segment, Segments};
use log::shared::{Chores, Shared, lock};
use log::writer::{WRITERS, Writers};
use storage::{Memory, Storage, StorageFile};
use sync::{Condvar, Mutex};

/// What goes wrong with the device, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The first write finds no room.
    Full,
    /// The first sync fails.
    Sync,
}

/// A file that fails once, and notices when a write comes before what lies in front of it was synced.
#[derive(Debug)]
struct Watched {
    file: Arc<dyn StorageFile>,
    fault: Fault,
    calls: AtomicUsize,
    /// Where the last write ended, and the last one that was synced.
    written: AtomicU64,
    synced: AtomicU64,
}

impl Watched {
    fn first(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst) == 0
    }
}

impl StorageFile for Watched {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.fault == Fault::Full && self.first() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let synced = self.synced.load(Ordering::SeqCst);
        assert_eq!(offset, synced, "a group was written out of turn");
        self.file.write_at(offset, bytes)?;
        // Between the write and its sync another writer may run.
        loom::thread::yield_now();
        self.written
            .store(offset + bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.fault == Fault::Sync && self.first() {
            return Err(io::Error::other("the device failed"));
        }
        self.synced
            .store(self.written.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }
}

const SEGMENT: u64 = 256 << 10;
/// Large enough that a writer takes it while another one syncs.
const LARGE: usize = 33 << 10;

/// A log of one segment, in memory.
fn log(fault: Fault) -> (Arc<Shared>, Arc<Segment>, Arc<Writers>) {
    let storage = Arc::new(Memory::default());
    let header = SegmentHeader {
        number: 1,
        first_sequence: 1,
        created_us: 1,
        previous: CHAIN_START,
        journal: [7; 16],
        block: storage.block(),
    };
    let file = storage.create(&file_name(1), SEGMENT).expect("a file");
    file.write_at(0, &header.encode()).expect("a header");
    let offset = header.group_start(0);
    let segment = Arc::new(Segment {
        size: SEGMENT,
        file: Arc::new(Watched {
            file,
            fault,
            calls: AtomicUsize::new(0),
            written: AtomicU64::new(offset),
            synced: AtomicU64::new(offset),
        }),
        header,
    });
    let end = Position { segment: 1, offset };
    let shared = Arc::new(Shared {
        storage,
        options: JournalOptions::default(),
        journal: segment.header.journal,
        segments: Segments::new(vec![Arc::clone(&segment)]),
        gaps: Vec::new(),
        queue: Mutex::new(Queue::new()),
        work: Condvar::new(),
        commits: Mutex::new(Commits::new(0, CHAIN_START, end, 1)),
        settled: Condvar::new(),
        before_removal: Mutex::new(None),
        listeners: Mutex::new(Vec::new()),
        chores: Mutex::new(Chores::default()),
        alarm: Condvar::new(),
        prepared: Mutex::new(None),
        removed: AtomicU64::new(0),
    });
    let head = Head {
        segment: Arc::clone(&segment),
        offset,
        encoder: Encoder {
            seed: segment.header.crc_seed(),
            sequence: 1,
            previous: CHAIN_START,
        },
        time_us: 1,
    };
    let writers = Arc::new(Writers::new(Arc::clone(&shared), head));
    (shared, segment, writers)
}

/// Sequences of what can be read, each checked, chained to the one before.
fn readable(segment: &Segment) -> u64 {
    let mut scan = SegmentScan::new(segment, 0);
    let mut previous = CHAIN_START;
    let mut count = 0;
    loop {
        scan.align().expect("reads");
        match scan.next().expect("reads") {
            Step::Record { header, bytes } => {
                count += 1;
                assert_eq!((header.sequence, header.previous), (count, previous));
                previous = format::hash_of(bytes);
            }
            Step::End => return count,
            Step::Damaged => panic!("record {} is damaged", count + 1),
        }
    }
}

/// Appends payloads of these lengths, closes while they are under way, and then asks for every outcome.
fn model(fault: Fault, lengths: &'static [usize]) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 100_000;
    builder.check(move || {
        let (shared, segment, writers) = log(fault);
        let threads: Vec<_> = (0..WRITERS)
            .map(|_| {
                let own = Arc::clone(&writers);
                loom::thread::spawn(move || own.run())
            })
            .collect();
        let mut tickets = Vec::new();
        for length in lengths {
            let payload = vec![1; *length];
            match shared.append(Kind(1), std::iter::once(payload.as_slice())) {
                Ok(ticket) => tickets.push(ticket),
                // Only a device that failed refuses before the journal is closed.
                Err(error) => assert_eq!((error.kind, fault), (ErrorKind::Io, Fault::Sync)),
            }
        }
        lock(&shared.queue)
            .refused
            .get_or_insert_with(JournalError::closed);
        shared.work.notify_all();
        let mut written = 0;
        for ticket in tickets {
            match (shared.wait(ticket), fault) {
                (Ok(sequence), _) => {
                    written += 1;
                    assert_eq!(sequence, written, "in the order of the tickets");
                }
                (Err(error), Fault::Full) => assert_eq!(error.kind, ErrorKind::DiskFull),
                (Err(error), Fault::Sync) => assert_eq!(error.kind, ErrorKind::Io),
                (Err(error), Fault::None) => panic!("{error}"),
            }
        }
        for thread in threads {
            thread.join().expect("a writer");
        }
        if fault == Fault::None {
            assert_eq!(written, lengths.len() as u64);
        }
        if fault != Fault::Sync {
            assert_eq!(readable(&segment), written);
        }
    });
}

#[test]
fn all_that_was_appended_is_written_in_order_before_the_writers_end() {
    model(Fault::None, &[10, LARGE, 10]);
}

#[test]
fn a_full_disk_refuses_a_group_and_what_was_encoded_to_follow_it() {
    model(Fault::Full, &[10, LARGE, 10]);
}

#[test]
fn a_device_that_fails_leaves_no_ticket_without_an_outcome() {
    model(Fault::Sync, &[10, LARGE, 10]);
}
