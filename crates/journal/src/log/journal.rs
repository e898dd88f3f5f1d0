//! The face of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::commits::{Acknowledged, Commits, Ticket};
use super::group::Head;
use super::keeper;
use super::queue::Queue;
use super::reader::{Entry, Position, Scan, read};
use super::recovery::{Opened, Recovery, look, open};
use super::segments::Segments;
use super::shared::{Chores, Shared, lock};
use super::verify::{Verification, verify_segments};
use super::writer::{WRITERS, Writers};
use crate::error::{ErrorKind, JournalError};
use crate::format::{Encoder, Hash, Kind};
use crate::limits::JournalOptions;
use crate::storage::Storage;
use crate::sync::{Condvar, Mutex};

/// How far the durable log reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Sequence of the last record; 0 when there is none.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
    /// Where the next record will be.
    pub end: Position,
    /// When its group was written, microseconds since 1970.
    pub time_us: u64,
}

/// An append-only log whose records are acknowledged when they are durable.
///
/// # Cost
/// An append copies the payload once, under a lock that is held for that copy. One group is written and synced at a
/// time: everything that comes meanwhile is encoded and hashed meanwhile and is the next group, so the rate grows with
/// what is in flight and the latency is that of two syncs at most.
///
/// # Threads
/// Two writers that take turns and a keeper, all asleep while there is nothing to do, joined by
/// [`close`](Self::close) or on drop.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
    next_listener: AtomicU64,
}

#[derive(Debug)]
struct Threads {
    writers: Vec<JoinHandle<()>>,
    keeper: JoinHandle<()>,
}

impl Journal {
    /// Opens the journal on `storage`, or begins one.
    ///
    /// Reads the last segment whole. Earlier ones are read when they are asked for; [`verify`](Self::verify) reads all.
    ///
    /// # Errors
    /// `Corrupt` with the place, unless `options.repair`; `DiskFull`, `ReadOnly`, `Io`; `Invalid` and
    /// `LimitExceeded` for options.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: JournalOptions,
    ) -> Result<(Self, Recovery), JournalError> {
        options.check()?;
        let opened = open(storage.as_ref(), &options)?;
        let (shared, head, recovery) = Self::share(storage, options, opened);
        let failed = |error| JournalError::from_io(&error, "starting a thread of the journal");
        let kept = Arc::clone(&shared);
        let keeper = std::thread::Builder::new()
            .name("linkmesh-keeper".to_owned())
            .spawn(move || keeper::run(&kept))
            .map_err(failed)?;
        // Closed on drop, so that no thread is left behind when one cannot be started.
        let journal = Self {
            threads: Mutex::new(Some(Threads {
                writers: Vec::with_capacity(WRITERS),
                keeper,
            })),
            next_listener: AtomicU64::new(1),
            shared: Arc::clone(&shared),
        };
        let writers = Arc::new(Writers::new(shared, head));
        for _ in 0..WRITERS {
            let own = Arc::clone(&writers);
            let writer = std::thread::Builder::new()
                .name("linkmesh-journal".to_owned())
                .spawn(move || own.run())
                .map_err(failed)?;
            if let Some(threads) = lock(&journal.threads).as_mut() {
                threads.writers.push(writer);
            }
        }
        Ok((journal, recovery))
    }

    /// Looks into a journal without holding it, also while another process writes: what was there at this moment can be
    /// read and verified, and nothing appended.
    ///
    /// # Errors
    /// `NotFound` when there is no journal, `Corrupt`, `Io`.
    pub fn open_read_only(storage: Arc<dyn Storage>) -> Result<(Self, Recovery), JournalError> {
        let opened = look(storage.as_ref())?;
        let (shared, _, recovery) = Self::share(storage, JournalOptions::default(), opened);
        lock(&shared.queue).refused = Some(JournalError::new(
            ErrorKind::ReadOnly,
            "the journal was opened for reading only",
        ));
        let journal = Self {
            shared,
            threads: Mutex::new(None),
            next_listener: AtomicU64::new(1),
        };
        Ok((journal, recovery))
    }

    fn share(
        storage: Arc<dyn Storage>,
        options: JournalOptions,
        opened: Opened,
    ) -> (Arc<Shared>, Head, Recovery) {
        let Opened {
            segments,
            prepared,
            gaps,
            walked,
            anchor,
            recovery,
        } = opened;
        let tail = Arc::clone(&segments[segments.len() - 1]);
        let shared = Arc::new(Shared {
            storage,
            options,
            journal: tail.header.journal,
            segments: Segments::new(segments),
            gaps,
            queue: Mutex::new(Queue::new()),
            work: Condvar::new(),
            commits: Mutex::new(Commits::new(
                walked.sequence,
                walked.hash,
                walked.end,
                walked.time_us,
            )),
            settled: Condvar::new(),
            before_removal: Mutex::default(),
            listeners: Mutex::default(),
            chores: Mutex::new(Chores {
                dirty: anchor.sequence != walked.sequence,
                rolled: true,
                ..Chores::default()
            }),
            alarm: Condvar::new(),
            prepared: Mutex::new(prepared),
            removed: AtomicU64::new(0),
        });
        let head = Head {
            offset: walked.end.offset,
            encoder: Encoder {
                seed: tail.header.crc_seed(),
                sequence: walked.sequence + 1,
                previous: walked.hash,
            },
            segment: tail,
            time_us: walked.time_us,
        };
        (shared, head, recovery)
    }

    /// Queues a record. It is durable when its ticket is acknowledged, never before.
    ///
    /// # Errors
    /// `LimitExceeded`, `QueueFull`, `Closed`, or why the journal stopped. Nothing was queued then.
    pub fn append(&self, kind: Kind, payload: &[u8]) -> Result<Ticket, JournalError> {
        self.append_all(kind, std::iter::once(payload))
    }

    /// Queues records under one lock, all or none. The ticket is the first one's; the others follow it.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_all<'a>(
        &self,
        kind: Kind,
        payloads: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<Ticket, JournalError> {
        if kind.0 == 0 || kind == Kind::REMOVED {
            return Err(
                JournalError::new(ErrorKind::Invalid, "the kind of a record is 1 to 254")
                    .field("kind"),
            );
        }
        self.shared.append(kind, payloads)
    }

    /// Waits until the ticket has an outcome: the record's sequence when it is durable.
    ///
    /// # Errors
    /// Why the record was not written.
    pub fn wait(&self, ticket: Ticket) -> Result<u64, JournalError> {
        self.shared.wait(ticket)
    }

    /// What is known of tickets from `from` on, in order. Never blocks on I/O.
    pub fn acknowledged(&self, from: Ticket, mut each: impl FnMut(Acknowledged)) {
        for run in lock(&self.shared.commits).since(from) {
            each(run);
        }
    }

    /// The newest failure, with its words.
    pub fn failure(&self) -> Option<JournalError> {
        lock(&self.shared.commits).failure.clone()
    }

    /// Calls `listener` after every group, on the writer's thread: it must only ring a bell. Returns its id.
    pub fn on_commit(&self, listener: Arc<dyn Fn() + Send + Sync>) -> u64 {
        // Only uniqueness is asked of it.
        let id = self.next_listener.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.listeners).push((id, listener));
        id
    }

    /// Calls `listener` before the retention removes records: the last moment to read them.
    pub fn before_removal(&self, listener: Arc<dyn Fn() + Send + Sync>) {
        *lock(&self.shared.before_removal) = Some(listener);
    }

    /// Forgets a listener. It may run once more on the writer's thread.
    pub fn off_commit(&self, id: u64) {
        lock(&self.shared.listeners).retain(|(known, _)| *known != id);
    }

    /// How far the durable log reaches.
    pub fn durable(&self) -> Durable {
        let commits = lock(&self.shared.commits);
        Durable {
            sequence: commits.sequence,
            hash: commits.hash,
            end: commits.end,
            time_us: commits.time_us,
        }
    }

    /// Id of the journal, the same for its whole life.
    pub fn id(&self) -> [u8; 16] {
        self.shared.journal
    }

    /// Sequence of the first record that is kept.
    pub fn first_sequence(&self) -> u64 {
        self.shared
            .segments
            .all()
            .first()
            .map_or(1, |segment| segment.header.first_sequence)
    }

    /// Bytes of all segments, the prepared one not included.
    pub fn bytes(&self) -> u64 {
        self.shared
            .segments
            .all()
            .iter()
            .map(|segment| segment.size)
            .sum()
    }

    /// Records that the retention removed since the journal was opened.
    pub fn removed(&self) -> u64 {
        self.shared.removed.load(Ordering::Relaxed)
    }

    /// Largest payload of a record.
    pub fn max_record_bytes(&self) -> usize {
        self.shared.options.max_record_bytes
    }

    /// False when nothing outlives the process.
    pub fn outlives_process(&self) -> bool {
        self.shared.storage.durable()
    }

    /// Reads the record at a position.
    ///
    /// # Errors
    /// `NotFound` when retention removed it, `Corrupt` when it cannot be read.
    pub fn read(&self, at: Position) -> Result<Entry, JournalError> {
        read(&self.shared.segments, at)
    }

    /// Goes through the durable records from a position on, or from the oldest. What becomes durable later is not in it.
    pub fn scan(&self, from: Option<Position>) -> Scan {
        // The end first: the list of segments then holds at least the one it lies in.
        let end = self.durable().end;
        Scan::new(
            self.shared.segments.all(),
            self.shared.gaps.clone(),
            from,
            end,
        )
    }

    /// Where to begin a [`scan`](Self::scan) that is to meet record `sequence`: the start of its segment.
    pub fn start_of(&self, sequence: u64) -> Position {
        let segments = self.shared.segments.all();
        let index = segments.partition_point(|segment| segment.header.first_sequence <= sequence);
        Position {
            segment: segments[index.saturating_sub(1)].header.number,
            offset: 0,
        }
    }

    /// Checks everything that is durable now.
    ///
    /// # Errors
    /// `Io`. What is wrong with the records is in the answer.
    pub fn verify(&self) -> Result<Verification, JournalError> {
        let end = self.durable().end;
        verify_segments(
            &self.shared.segments.all(),
            &self.shared.gaps,
            Some(end),
            None,
            Vec::new(),
        )
    }

    /// Removes what the retention does not keep now, instead of when the next segment is begun.
    ///
    /// # Errors
    /// As an append, and `Io`.
    pub fn retain(&self) -> Result<(), JournalError> {
        keeper::remove_old(&self.shared)
    }

    /// Takes no more records, writes what waits, and returns when it is durable. Closing again does nothing.
    ///
    /// # Errors
    /// Why the anchor could not be written. The records are as durable as their tickets say.
    pub fn close(&self) -> Result<(), JournalError> {
        let Some(Threads { writers, keeper }) = lock(&self.threads).take() else {
            return Ok(());
        };
        lock(&self.shared.queue)
            .refused
            .get_or_insert_with(JournalError::closed);
        self.shared.work.notify_all();
        // A panic of the writer was caught in it and told to everybody who waited.
        for writer in writers {
            drop(writer.join());
        }
        self.shared.ask(|chores| chores.stop = true);
        drop(keeper.join());
        keeper::write_anchor(&self.shared)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Nobody is left to tell.
        drop(self.close());
    }
}
