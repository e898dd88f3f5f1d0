//! Dead letters and audit trail: opening, acknowledgements, questions. `journalAppend` and `journalAcks` are in `hot`.
//!
//! A mesh has one of each, shared by its threads. Whatever may read the disk runs on the pool and answers with a promise.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use linkmesh_journal::{
    AuditLog, AuditOptions, DeadLetterOptions, DeadLetterQueue, Disk, ErrorKind, Journal,
    JournalError, JournalOptions, LETTER, Recovery, Retention, Ticket, verify,
};
use linkmesh_registry::Status;
use napi::Status as NapiStatus;
use napi::bindgen_prelude::*;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, lock};
use crate::journal_request::{ask, status};
use crate::mesh::json;
use crate::state::{Failure, ThreadState};
use crate::tables::invalid;

/// Runs the thread's `journalOnAck` callback. Weak: it never keeps the thread's loop alive.
type Bell = ThreadsafeFunction<(), (), (), NapiStatus, false, true>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    DeadLetters,
    Audit,
}

/// One of the two, open.
#[derive(Debug)]
pub(crate) enum Store {
    Letters(DeadLetterQueue),
    Audit(AuditLog),
}

impl Store {
    pub(crate) fn journal(&self) -> &Journal {
        match self {
            Self::Letters(letters) => letters.journal(),
            Self::Audit(audit) => audit.journal(),
        }
    }
}

/// What the threads of a mesh share.
#[derive(Debug, Default)]
pub(crate) struct Journals(Mutex<BTreeMap<Room, (Arc<Store>, Recovery)>>);

impl Journals {
    /// The mesh ends: what waits is written, and the folders are free again.
    pub(crate) fn close(&self) {
        for (_, (store, _)) in std::mem::take(&mut *lock(&self.0)) {
            // Appends that are not durable learn it by their own acknowledgements.
            drop(match &*store {
                Store::Letters(letters) => letters.close(),
                Store::Audit(audit) => audit.close(),
            });
        }
    }
}

/// One thread's hold on a store.
pub(crate) struct OpenJournal {
    pub(crate) store: Arc<Store>,
    /// The next ticket whose outcome this thread has not been told.
    pub(crate) cursor: u64,
    /// Set while a wake is on its way, so that there is one at a time.
    pub(crate) rung: Arc<AtomicBool>,
    listener: Option<u64>,
}

impl std::fmt::Debug for OpenJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenJournal")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Drop for OpenJournal {
    fn drop(&mut self) {
        if let Some(listener) = self.listener {
            self.store.journal().off_commit(listener);
        }
    }
}

impl OpenJournal {
    /// Fills `out` with (first ticket, count, first sequence or status); how many triples.
    pub(crate) fn acks(&mut self, out: &mut [f64]) -> usize {
        // Before looking: a commit after the look rings again.
        self.rung.store(false, Ordering::SeqCst);
        let mut filled = 0;
        let mut next = self.cursor;
        self.store
            .journal()
            .acknowledged(Ticket(self.cursor), |run| {
                if let Some([first, count, outcome]) = out.get_mut(filled * 3..filled * 3 + 3) {
                    *first = run.first.0 as f64;
                    *count = run.count as f64;
                    *outcome = match run.outcome {
                        Ok(sequence) => sequence as f64,
                        Err(kind) => f64::from(status(kind).code()),
                    };
                    filled += 1;
                    next = run.first.0 + run.count;
                }
            });
        self.cursor = next;
        filled
    }
}

/// Queues the records that lie back to back in `bytes`, all or none; the ticket of the first.
pub(crate) fn append(
    open: &OpenJournal,
    bytes: &[u8],
    lengths: &[u32],
) -> std::result::Result<u64, Failure> {
    let whole: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    if lengths.is_empty() || whole > bytes.len() as u64 {
        return Err(invalid("lengths", "the lengths do not fit the bytes"));
    }
    let payloads = lengths.iter().scan(0, |start, length| {
        let from = *start;
        *start += *length as usize;
        Some(&bytes[from..*start])
    });
    // Letters and entries of the trail are both the first kind of their log.
    open.store
        .journal()
        .append_all(LETTER, payloads)
        .map(|ticket| ticket.0)
        .map_err(Failure::from)
}

/// `JournalOptions` of the contract.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Options {
    folder: Option<PathBuf>,
    read_only: bool,
    join: bool,
    repair: bool,
    park_after: Option<u32>,
    segment_bytes: Option<u64>,
    max_record_bytes: Option<usize>,
    max_queued_records: Option<usize>,
    retention: Option<RetentionOptions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RetentionOptions {
    records: Option<u64>,
    bytes: Option<u64>,
    age_ms: Option<u64>,
}

impl Options {
    /// In memory little is kept, because it is memory.
    fn journal(&self) -> JournalOptions {
        let base = JournalOptions::default();
        let base = if self.folder.is_some() {
            base
        } else {
            JournalOptions {
                segment_bytes: 4 << 20,
                retention: Retention {
                    bytes: Some(64 << 20),
                    ..Retention::default()
                },
                ..base
            }
        };
        JournalOptions {
            segment_bytes: self.segment_bytes.unwrap_or(base.segment_bytes),
            max_record_bytes: self.max_record_bytes.unwrap_or(base.max_record_bytes),
            max_queued_records: self.max_queued_records.unwrap_or(base.max_queued_records),
            retention: self
                .retention
                .as_ref()
                .map_or(base.retention, |given| Retention {
                    records: given.records,
                    bytes: given.bytes,
                    age_ms: given.age_ms,
                }),
            repair: self.repair,
            ..base
        }
    }

    fn open(&self, room: Room) -> std::result::Result<(Store, Recovery), JournalError> {
        let journal = self.journal();
        match (room, &self.folder) {
            (Room::DeadLetters, Some(folder)) if self.read_only => {
                DeadLetterQueue::open_read_only(folder)
                    .map(|(letters, recovery)| (Store::Letters(letters), recovery))
            }
            (Room::Audit, Some(folder)) if self.read_only => AuditLog::open_read_only(folder)
                .map(|(audit, recovery)| (Store::Audit(audit), recovery)),
            (Room::DeadLetters, _) => {
                let options = DeadLetterOptions {
                    folder: self.folder.clone(),
                    journal,
                    park_after: self.park_after.unwrap_or(3),
                };
                DeadLetterQueue::open(options)
                    .map(|(letters, recovery)| (Store::Letters(letters), recovery))
            }
            (Room::Audit, _) => {
                let options = AuditOptions {
                    folder: self.folder.clone(),
                    journal,
                };
                AuditLog::open(options).map(|(audit, recovery)| (Store::Audit(audit), recovery))
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Opened<'a> {
    handle: u32,
    /// True when another thread had opened it.
    joined: bool,
    durable: bool,
    max_record_bytes: usize,
    recovery: &'a Recovery,
}

/// Opens or joins, on a thread of the pool.
pub struct Open {
    engine: Arc<Engine>,
    room: Room,
    /// `None`: join, or memory when nobody has opened one.
    options: Option<Options>,
}

/// What it found; made a handle on the thread that asked.
pub struct Found {
    store: Arc<Store>,
    recovery: Recovery,
    joined: bool,
}

impl Open {
    fn run(&self) -> std::result::Result<Found, JournalError> {
        if let Some(options) = &self.options
            && options.read_only
        {
            let (store, recovery) = options.open(self.room)?;
            return Ok(Found {
                store: Arc::new(store),
                recovery,
                joined: false,
            });
        }
        // Held while it opens: a second thread that asks meanwhile joins the same one.
        let mut journals = lock(&self.engine.journals.0);
        if self.engine.is_closed() {
            return Err(JournalError::new(ErrorKind::Closed, "the mesh was closed"));
        }
        if let Some((store, recovery)) = journals.get(&self.room) {
            if self.options.as_ref().is_some_and(|options| !options.join) {
                return Err(JournalError::new(
                    ErrorKind::Conflict,
                    "another thread of this mesh opened it already",
                ));
            }
            return Ok(Found {
                store: Arc::clone(store),
                recovery: recovery.clone(),
                joined: true,
            });
        }
        if self.options.as_ref().is_some_and(|options| options.join) {
            return Err(JournalError::new(
                ErrorKind::NotFound,
                "no thread of this mesh has opened it",
            ));
        }
        let memory = Options::default();
        let (store, recovery) = self.options.as_ref().unwrap_or(&memory).open(self.room)?;
        let store = Arc::new(store);
        journals.insert(self.room, (Arc::clone(&store), recovery.clone()));
        Ok(Found {
            store,
            recovery,
            joined: false,
        })
    }
}

impl Task for Open {
    type Output = Found;
    type JsValue = String;

    fn compute(&mut self) -> Result<Self::Output> {
        self.run().map_err(|error| rejection(&error.into()))
    }

    fn resolve(&mut self, env: Env, found: Found) -> Result<String> {
        let Found {
            store,
            recovery,
            joined,
        } = found;
        let max_record_bytes = store.journal().max_record_bytes();
        let durable = store.journal().outlives_process();
        let open = OpenJournal {
            // Tickets begin at 1. Runs of other threads are passed over.
            cursor: 1,
            store,
            rung: Arc::new(AtomicBool::new(false)),
            listener: None,
        };
        let handle = ThreadState::of(&env).journals.insert(open).ok_or_else(|| {
            rejection(&Failure::new(
                Status::LimitExceeded,
                "too many open journals in this thread",
            ))
        })?;
        json(&Opened {
            handle,
            joined,
            durable,
            max_record_bytes,
            recovery: &recovery,
        })
        .map_err(|failure| rejection(&failure))
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn journal_open(
    env: &Env,
    mesh: u32,
    room: String,
    options: String,
) -> Result<AsyncTask<Open>> {
    let state = ThreadState::of(env);
    let open = state.edge(|state| {
        let room = match room.as_str() {
            "dead-letters" => Room::DeadLetters,
            "audit" => Room::Audit,
            _ => return Err(invalid("room", "the room is dead-letters or audit")),
        };
        let options = if options.is_empty() {
            None
        } else {
            let parsed = serde_json::from_str(&options)
                .map_err(|error| invalid("options", error.to_string()))?;
            Some(parsed)
        };
        Ok(Open {
            engine: Arc::clone(&state.mesh(mesh)?.engine),
            room,
            options,
        })
    });
    rejected(state, open)
}

#[napi]
pub fn journal_close(env: &Env, journal: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        state
            .journals
            .remove(journal)
            .map(|_| 0.0)
            .ok_or_else(|| Failure::stale("journal"))
    })
}

#[napi]
pub fn journal_on_ack(env: &Env, journal: u32, callback: Function<'_, (), ()>) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let open = state
            .journals
            .get_mut(journal)
            .ok_or_else(|| Failure::stale("journal"))?;
        if open.listener.is_some() {
            return Err(Failure::new(
                Status::Duplicate,
                "there is a listener already",
            ));
        }
        let bell: Bell = callback
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .build()
            .map_err(|error| Failure::new(Status::Internal, error.reason.clone()))?;
        let rung = Arc::clone(&open.rung);
        open.listener = Some(open.store.journal().on_commit(Arc::new(move || {
            if !rung.swap(true, Ordering::SeqCst) {
                // A thread that is closing refuses; nobody is left there to be told.
                bell.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }
        })));
        Ok(0.0)
    })
}

/// A question, answered on a thread of the pool.
pub struct Ask {
    store: Arc<Store>,
    request: String,
}

impl Task for Ask {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        ask(&self.store, &self.request).map_err(|failure| rejection(&failure))
    }

    fn resolve(&mut self, _env: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn journal_ask(env: &Env, journal: u32, request: String) -> Result<AsyncTask<Ask>> {
    let state = ThreadState::of(env);
    let ask = state.edge(|state| {
        let open = state
            .journals
            .get(journal)
            .ok_or_else(|| Failure::stale("journal"))?;
        Ok(Ask {
            store: Arc::clone(&open.store),
            request,
        })
    });
    rejected(state, ask)
}

/// A check of a folder, on a thread of the pool.
pub struct Verify {
    folder: PathBuf,
}

impl Task for Verify {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        let verified = Disk::open_read_only(&self.folder)
            .map_err(|error| {
                let what = format!("opening {}", self.folder.display());
                Failure::from(JournalError::from_io(&error, &what))
            })
            .and_then(|disk| Ok(verify(&disk)?))
            .and_then(|found| json(&found));
        verified.map_err(|failure| rejection(&failure))
    }

    fn resolve(&mut self, _env: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn journal_verify(folder: String) -> AsyncTask<Verify> {
    AsyncTask::new(Verify {
        folder: folder.into(),
    })
}

/// What a promise rejects with: JSON of `ErrorData`.
fn rejection(failure: &Failure) -> Error {
    Error::new(
        NapiStatus::GenericFailure,
        json(failure).unwrap_or_else(|failure| failure.message),
    )
}

/// What is refused at once is thrown, in the same form.
fn rejected<T: Task>(
    state: &ThreadState,
    task: std::result::Result<T, i32>,
) -> Result<AsyncTask<T>> {
    task.map(AsyncTask::new)
        .map_err(|_| Error::new(NapiStatus::InvalidArg, state.last_error()))
}
