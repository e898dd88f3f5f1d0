//! The face of the dead letters.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::entry::{Attempt, DeadLetter, DeliveryOutcome};
use super::filter::{Filter, Page};
use super::index::Index;
use super::state::{Event, LetterState, Summary};
use crate::error::{ErrorKind, JournalError};
use crate::format::Kind;
use crate::limits::JournalOptions;
use crate::log::{Journal, Position, Recovery, Ticket, Verification};
use crate::log::{lock, now_ms};
use crate::storage::{Disk, Memory, Storage};

/// Kind of a record that is a letter.
pub const LETTER: Kind = Kind(1);
/// Kind of a record that changes a letter's state.
pub(crate) const EVENT: Kind = Kind(2);
const INDEX_FILE: &str = "index.redb";
/// Letters that one purge event names.
const PURGE_BATCH: u32 = 1_000;
/// Records that are indexed in the background at a time: keeps up, and leaves the processor to the writers.
const INDEX_STEP: usize = 32_768;
const INDEX_EVERY: Duration = Duration::from_secs(1);

/// Options of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterOptions {
    /// Where they are kept; `None`: in memory, gone with the process.
    pub folder: Option<PathBuf>,
    /// Of the log.
    pub journal: JournalOptions,
    /// Redrives after which a letter that fails again is parked; default 3.
    pub park_after: u32,
}

impl Default for DeadLetterOptions {
    fn default() -> Self {
        Self {
            folder: None,
            journal: JournalOptions::default(),
            park_after: 3,
        }
    }
}

/// Letters by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// May be redriven.
    pub dead: u64,
    /// Being sent again.
    pub redriving: u64,
    /// Sent again and answered well.
    pub redriven: u64,
    /// Set aside.
    pub parked: u64,
}

/// Figures of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// By state.
    #[serde(flatten)]
    pub counts: Counts,
    /// Letters that nobody had dealt with when the retention removed them.
    pub dropped: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Records of the log that are kept: letters and events.
    pub records: u64,
    /// False when they are in memory only.
    pub durable: bool,
    /// True when the index was made anew from the log at opening.
    pub index_rebuilt: bool,
}

/// How a redrive ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    tag = "result",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum RedriveResult {
    /// Answered well.
    Delivered,
    /// Failed again.
    Failed {
        /// Whether a handler had it.
        outcome: DeliveryOutcome,
        /// Code of the last error.
        reason: String,
        /// Every attempt of this redrive.
        #[serde(default)]
        attempts: Vec<Attempt>,
    },
}

#[derive(Debug, Default)]
struct Nap {
    dirty: bool,
    stop: bool,
}

#[derive(Debug)]
struct Inner {
    journal: Journal,
    index: Mutex<Index>,
    nap: Mutex<Nap>,
    alarm: Condvar,
}

/// Messages that were given up, durable, and what became of each.
///
/// # Threads
/// Appends never touch the index. Everything else may read the disk: call it where that may take a while.
#[derive(Debug)]
pub struct DeadLetterQueue {
    inner: Arc<Inner>,
    park_after: u32,
    indexer: Mutex<Option<JoinHandle<()>>>,
}

impl DeadLetterQueue {
    /// Opens the folder, or begins one. Letters that were being redriven when the process before ended are parked:
    /// nobody can tell whether they were delivered.
    ///
    /// # Errors
    /// As [`Journal::open`]; `Locked` when another process has the folder.
    pub fn open(options: DeadLetterOptions) -> Result<(Self, Recovery), JournalError> {
        let storage: Arc<dyn Storage> = match &options.folder {
            None => Arc::new(Memory::default()),
            Some(folder) => Arc::new(Disk::open(folder).map_err(|error| {
                JournalError::from_io(&error, &format!("opening {}", folder.display()))
            })?),
        };
        let file = options
            .folder
            .as_ref()
            .map(|folder| folder.join(INDEX_FILE));
        Self::open_on(
            storage,
            file.as_deref(),
            options.journal,
            options.park_after,
        )
    }

    /// [`open`](Self::open) on a storage of the caller's; `index` none: in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(
        storage: Arc<dyn Storage>,
        index: Option<&Path>,
        options: JournalOptions,
        park_after: u32,
    ) -> Result<(Self, Recovery), JournalError> {
        if park_after == 0 {
            return Err(
                JournalError::new(ErrorKind::Invalid, "parkAfter is at least 1").field("parkAfter"),
            );
        }
        let (journal, recovery) = Journal::open(storage, options)?;
        let index = Index::open(index, journal.id(), journal.durable().sequence)?;
        let inner = Arc::new(Inner {
            journal,
            index: Mutex::new(index),
            nap: Mutex::default(),
            alarm: Condvar::new(),
        });
        let queue = Self {
            indexer: Mutex::new(None),
            inner: Arc::clone(&inner),
            park_after,
        };
        queue.park_interrupted()?;
        let bell = Arc::downgrade(&inner);
        inner.journal.on_commit(Arc::new(move || {
            if let Some(inner) = bell.upgrade() {
                let mut nap = lock(&inner.nap);
                if !nap.dirty {
                    nap.dirty = true;
                    inner.alarm.notify_one();
                }
            }
        }));
        let last_look = Arc::downgrade(&inner);
        // A letter that is removed before it was indexed could not be counted as dropped.
        inner.journal.before_removal(Arc::new(move || {
            if let Some(inner) = last_look.upgrade() {
                // What fails here fails again, with words, at the next query.
                drop(inner.catch_up(&mut lock(&inner.index), usize::MAX));
            }
        }));
        let thread = std::thread::Builder::new()
            .name("linkmesh-index".to_owned())
            .spawn(move || inner.follow_in_background())
            .map_err(|error| JournalError::from_io(&error, "starting the indexer"))?;
        *lock(&queue.indexer) = Some(thread);
        Ok((queue, recovery))
    }

    /// Looks at the letters of a folder without holding it, also while another process has it open.
    ///
    /// # Errors
    /// As [`Journal::open_read_only`].
    pub fn open_read_only(folder: &Path) -> Result<(Self, Recovery), JournalError> {
        let disk = Disk::open_read_only(folder).map_err(|error| {
            JournalError::from_io(&error, &format!("opening {}", folder.display()))
        })?;
        let (journal, recovery) = Journal::open_read_only(Arc::new(disk))?;
        let index = Index::open(None, journal.id(), journal.durable().sequence)?;
        let queue = Self {
            inner: Arc::new(Inner {
                journal,
                index: Mutex::new(index),
                nap: Mutex::default(),
                alarm: Condvar::new(),
            }),
            park_after: u32::MAX,
            indexer: Mutex::new(None),
        };
        Ok((queue, recovery))
    }

    fn park_interrupted(&self) -> Result<(), JournalError> {
        let filter = Filter {
            states: Some(vec![LetterState::Redriving]),
            limit: Some(PURGE_BATCH),
            ..Filter::default()
        };
        loop {
            let interrupted = self.list(&filter)?.letters;
            if interrupted.is_empty() {
                return Ok(());
            }
            for letter in interrupted {
                self.record(&Event::Parked {
                    of: letter.id,
                    at_ms: now_ms(),
                    why: "the process ended while it was redriven: it is not known whether it was delivered".to_owned(),
                })?;
            }
        }
    }

    /// The log: to append encoded letters ([`LETTER`], JSON of [`DeadLetter`]) and to hear of acknowledgements.
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// Queues a letter; it is durable when its ticket is acknowledged.
    ///
    /// # Errors
    /// As [`Journal::append`], and `Invalid` for a letter that is none.
    pub fn append(&self, letter: &DeadLetter) -> Result<Ticket, JournalError> {
        letter.check()?;
        let bytes = serde_json::to_vec(letter)
            .map_err(|error| JournalError::new(ErrorKind::Invalid, error.to_string()))?;
        self.inner.journal.append(LETTER, &bytes)
    }

    /// Letters that match, by id.
    ///
    /// # Errors
    /// `LimitExceeded` for the filter, `Corrupt`, `Io`.
    pub fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        filter.check()?;
        let mut index = lock(&self.inner.index);
        self.inner.catch_up(&mut index, usize::MAX)?;
        index.list(filter)
    }

    /// A letter with its whole history: the entry, its summary, and every event.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, id: u64) -> Result<Value, JournalError> {
        let summary = self.summary(id)?;
        self.whole(&summary)
    }

    fn whole(&self, summary: &Summary) -> Result<Value, JournalError> {
        let read = |(segment, offset): (u64, u64)| -> Result<Value, JournalError> {
            let entry = self.inner.journal.read(Position { segment, offset })?;
            Ok(serde_json::from_slice(&entry.payload).unwrap_or(Value::Null))
        };
        let mut records = summary.records.iter().copied();
        let letter = records.next().map_or(Ok(Value::Null), read)?;
        let history = records.map(read).collect::<Result<Vec<_>, _>>()?;
        let mut whole = serde_json::to_value(summary).unwrap_or_default();
        if let Value::Object(fields) = &mut whole {
            fields.remove("records");
            fields.insert("letter".to_owned(), letter);
            fields.insert("history".to_owned(), Value::Array(history));
        }
        Ok(whole)
    }

    fn summary(&self, id: u64) -> Result<Summary, JournalError> {
        let mut index = lock(&self.inner.index);
        self.inner.catch_up(&mut index, usize::MAX)?;
        index.get(id)?.ok_or_else(|| not_found(id))
    }

    /// Marks a letter as being sent again, durably, and returns it whole. A parked one only with `force`.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when its state does not allow it.
    pub fn start_redrive(&self, id: u64, by: &str, force: bool) -> Result<Value, JournalError> {
        let mut index = lock(&self.inner.index);
        self.inner.catch_up(&mut index, usize::MAX)?;
        let letter = index.get(id)?.ok_or_else(|| not_found(id))?;
        match letter.state {
            LetterState::Dead => {}
            LetterState::Parked if force && letter.reason != "LM_CODEC" => {}
            LetterState::Parked => {
                let why = letter.parked.as_deref().unwrap_or("it was set aside");
                return Err(conflict(&format!(
                    "letter {id} is parked ({why}); force it by hand"
                )));
            }
            LetterState::Redriving => {
                return Err(conflict(&format!("letter {id} is being redriven")));
            }
            LetterState::Redriven => {
                return Err(conflict(&format!("letter {id} was redriven already")));
            }
        }
        let event = Event::RedriveStarted {
            of: id,
            at_ms: now_ms(),
            by: by.chars().take(256).collect(),
        };
        self.write(&event)?;
        self.inner.catch_up(&mut index, usize::MAX)?;
        let letter = index.get(id)?.ok_or_else(|| not_found(id))?;
        drop(index);
        self.whole(&letter)
    }

    /// Records how a redrive ended. One that failed goes back to the dead, or is parked: after `park_after` redrives,
    /// or when it is not known whether it was delivered and it is not idempotent.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was not being redriven.
    pub fn finish_redrive(
        &self,
        id: u64,
        result: RedriveResult,
    ) -> Result<LetterState, JournalError> {
        let mut index = lock(&self.inner.index);
        self.inner.catch_up(&mut index, usize::MAX)?;
        let letter = index.get(id)?.ok_or_else(|| not_found(id))?;
        if letter.state != LetterState::Redriving {
            return Err(conflict(&format!("letter {id} is not being redriven")));
        }
        let event = match result {
            RedriveResult::Delivered => Event::Redriven {
                of: id,
                at_ms: now_ms(),
            },
            RedriveResult::Failed {
                outcome,
                reason,
                attempts,
            } => Event::RedriveFailed {
                of: id,
                at_ms: now_ms(),
                parked: letter.redrives >= self.park_after
                    || (outcome == DeliveryOutcome::Unknown && !letter.idempotent),
                outcome,
                reason,
                attempts,
            },
        };
        self.write(&event)?;
        self.inner.catch_up(&mut index, usize::MAX)?;
        Ok(index.get(id)?.ok_or_else(|| not_found(id))?.state)
    }

    /// Gives up every letter that matches, or with `dry_run` only counts them. Letters being redriven are left alone.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn purge(&self, filter: &Filter, by: &str, dry_run: bool) -> Result<u64, JournalError> {
        let mut filter = Filter {
            limit: Some(PURGE_BATCH),
            ..filter.clone()
        };
        let mut purged = 0;
        loop {
            let page = self.list(&filter)?;
            let of: Vec<u64> = page
                .letters
                .iter()
                .filter(|letter| letter.state != LetterState::Redriving)
                .map(|letter| letter.id)
                .collect();
            purged += of.len() as u64;
            if !dry_run && !of.is_empty() {
                self.record(&Event::Purged {
                    of,
                    at_ms: now_ms(),
                    by: by.chars().take(256).collect(),
                })?;
            }
            match page.next {
                Some(next) => filter.from = next,
                None => return Ok(purged),
            }
        }
    }

    fn record(&self, event: &Event) -> Result<(), JournalError> {
        // With the index held: no other change comes between the look and the event.
        let mut index = lock(&self.inner.index);
        self.write(event)?;
        self.inner.catch_up(&mut index, usize::MAX).map(drop)
    }

    fn write(&self, event: &Event) -> Result<(), JournalError> {
        let bytes = serde_json::to_vec(event)
            .map_err(|error| JournalError::new(ErrorKind::Invalid, error.to_string()))?;
        let ticket = self.inner.journal.append(EVENT, &bytes)?;
        self.inner.journal.wait(ticket).map(drop)
    }

    /// Figures of the whole.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn stats(&self) -> Result<Stats, JournalError> {
        let mut index = lock(&self.inner.index);
        self.inner.catch_up(&mut index, usize::MAX)?;
        let [dead, redriving, redriven, parked] = index.counts();
        let journal = &self.inner.journal;
        Ok(Stats {
            counts: Counts {
                dead,
                redriving,
                redriven,
                parked,
            },
            dropped: index.dropped(),
            bytes: journal.bytes(),
            records: journal.durable().sequence + 1 - journal.first_sequence(),
            durable: journal.outlives_process(),
            index_rebuilt: index.rebuilt,
        })
    }

    /// Checks the whole log.
    ///
    /// # Errors
    /// `Io`.
    pub fn verify(&self) -> Result<Verification, JournalError> {
        self.inner.journal.verify()
    }

    /// Takes no more letters, writes what waits, and returns when it is durable.
    ///
    /// # Errors
    /// As [`Journal::close`].
    pub fn close(&self) -> Result<(), JournalError> {
        lock(&self.inner.nap).stop = true;
        self.inner.alarm.notify_one();
        if let Some(indexer) = lock(&self.indexer).take() {
            // It catches its own errors: the next query meets them with words.
            drop(indexer.join());
        }
        self.inner.journal.close()?;
        lock(&self.inner.index).save()
    }
}

impl Drop for DeadLetterQueue {
    fn drop(&mut self) {
        // Nobody is left to tell.
        drop(self.close());
    }
}

impl Inner {
    /// Brings the index up to what is durable now; true when it got there within `most` records.
    fn catch_up(&self, index: &mut Index, most: usize) -> Result<bool, JournalError> {
        if index.sequence() < self.journal.durable().sequence {
            let mut scan = self.journal.scan(index.next());
            let done = index.follow(&mut scan, most)?;
            index.forget_before(self.journal.first_sequence())?;
            return Ok(done);
        }
        Ok(true)
    }

    fn follow_in_background(&self) {
        let mut nap = lock(&self.nap);
        loop {
            while !nap.dirty && !nap.stop {
                nap = self
                    .alarm
                    .wait(nap)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            // A second's worth at once, and nothing while it is closed.
            let (guard, _) = self
                .alarm
                .wait_timeout_while(nap, INDEX_EVERY, |nap| !nap.stop)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            nap = guard;
            if nap.stop {
                return;
            }
            nap.dirty = false;
            drop(nap);
            let done = self.catch_up(&mut lock(&self.index), INDEX_STEP);
            nap = lock(&self.nap);
            nap.dirty |= matches!(done, Ok(false));
        }
    }
}

fn not_found(id: u64) -> JournalError {
    JournalError::new(
        ErrorKind::NotFound,
        format!("no dead letter {id}: it was purged, removed by the retention, or never there"),
    )
    .field("id")
}

fn conflict(words: &str) -> JournalError {
    JournalError::new(ErrorKind::Conflict, words)
}
