//! What one JavaScript thread holds: its open tables and meshes, its epoch slot, its scratch array.
//!
//! Reached through the data pointer of each hot function, so no call searches for it. One value per
//! environment; only its own thread ever touches it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use linkmesh_registry::{RegistryError, Status};
use linkmesh_tables::epoch::{Domain, Reader};
use napi::bindgen_prelude::*;
use napi::sys;
use serde::Serialize;

use crate::args::Batch;
use crate::joined::Joined;
use crate::journal::OpenJournal;
use crate::named::Table;

/// Words in the scratch array, as `SCRATCH_WORDS` in the contract.
pub(crate) const SCRATCH_WORDS: usize = 256;

/// The scratch array: written by hot functions, read by JavaScript through a view on the same memory.
pub(crate) type Scratch = [Cell<u32>; SCRATCH_WORDS];

/// Details of the last negative status, `ErrorData` in the contract.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) status: i32,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// For what concerns other nodes: whether it was applied there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retryable: Option<bool>,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self::of_number(status as i32, message)
    }

    /// As [`new`](Self::new), of a status that is a number already.
    pub(crate) fn of_number(status: i32, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            field: None,
            limit: None,
            place: None,
            outcome: None,
            retryable: None,
        }
    }

    pub(crate) fn outcome(mut self, outcome: &'static str, retryable: bool) -> Self {
        self.outcome = Some(outcome);
        self.retryable = Some(retryable);
        self
    }

    pub(crate) fn field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    pub(crate) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The node of the mesh is closed.
    pub(crate) fn node_closed() -> Self {
        Self::new(Status::Closed, "the node was closed")
    }

    /// A table, mesh or lane handle that names nothing in this thread.
    pub(crate) fn stale(what: &str) -> Self {
        Self::new(Status::StaleHandle, format!("this {what} handle names nothing here: it was closed, or never opened in this thread"))
            .field(what)
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self {
            field: error.field,
            limit: error.limit,
            ..Self::new(error.status, error.message)
        }
    }
}

/// Things of one thread by handle: `generation << 17 | slot`.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

const SLOT_BITS: u32 = 17;
const GENERATIONS: u32 = 1 << 14;

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.entries.len() < 1 << SLOT_BITS => {
                self.entries.push((0, None));
                self.entries.len() as u32 - 1
            }
            None => return None,
        };
        let entry = &mut self.entries[slot as usize];
        // 0 is never a generation, so 0 is never a handle.
        entry.0 = (entry.0 + 1) % GENERATIONS;
        entry.0 += u32::from(entry.0 == 0);
        entry.1 = Some(value);
        Some(entry.0 << SLOT_BITS | slot)
    }

    #[inline(always)]
    pub(crate) fn get(&self, handle: u32) -> Option<&T> {
        let entry = self
            .entries
            .get((handle & ((1 << SLOT_BITS) - 1)) as usize)?;
        if entry.0 == handle >> SLOT_BITS {
            entry.1.as_ref()
        } else {
            None
        }
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, handle: u32) -> Option<&mut T> {
        let entry = self
            .entries
            .get_mut((handle & ((1 << SLOT_BITS) - 1)) as usize)?;
        if entry.0 == handle >> SLOT_BITS {
            entry.1.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, handle: u32) -> Option<T> {
        let slot = handle & ((1 << SLOT_BITS) - 1);
        let entry = self.entries.get_mut(slot as usize)?;
        if entry.0 != handle >> SLOT_BITS {
            return None;
        }
        let value = entry.1.take()?;
        self.free.push(slot);
        Some(value)
    }

    /// Handles of those that `which` is about.
    pub(crate) fn handles(&self, which: impl Fn(&T) -> bool) -> Vec<u32> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(_, (_, value))| value.as_ref().is_some_and(&which))
            .map(|(slot, (generation, _))| generation << SLOT_BITS | slot as u32)
            .collect()
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.free.clear();
        self.entries.drain(..).filter_map(|(_, value)| value)
    }
}

/// One per environment.
#[derive(Debug)]
pub(crate) struct ThreadState {
    pub(crate) reader: Reader,
    pub(crate) scratch: Arc<ScratchMemory>,
    pub(crate) tables: Slots<Table>,
    pub(crate) meshes: Slots<Joined>,
    pub(crate) journals: Slots<OpenJournal>,
    pub(crate) batch: Batch,
    last_error: Option<Failure>,
}

/// Owned by the thread's state and by each `ArrayBuffer` over it. Some of its words are read as float64.
#[derive(Debug)]
#[repr(align(8))]
pub(crate) struct ScratchMemory(pub(crate) Scratch);

// SAFETY: the cells are only touched by the thread that made them; other threads at most drop the last
// reference, which touches no cell.
unsafe impl Send for ScratchMemory {}
// SAFETY: as above.
unsafe impl Sync for ScratchMemory {}

thread_local! {
    /// File and line of the panic that is unwinding on this thread.
    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers where a panic starts, because the payload does not say. Chains to the hook that was there.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info
                .location()
                .map(|at| format!("{}:{}", at.file(), at.line()));
            let caught = EDGE.with(Cell::get);
            PANIC_PLACE.with(|cell| *cell.borrow_mut() = place);
            if !caught {
                before(info);
            }
        }));
    });
}

thread_local! {
    /// True while a panic would be caught by [`ThreadState::edge`].
    static EDGE: Cell<bool> = const { Cell::new(false) };
}

impl ThreadState {
    pub(crate) fn new() -> Self {
        watch_panics();
        Self {
            reader: Domain::global().register(),
            scratch: Arc::new(ScratchMemory([const { Cell::new(0) }; SCRATCH_WORDS])),
            tables: Slots::new(),
            meshes: Slots::new(),
            journals: Slots::new(),
            batch: Batch::default(),
            last_error: None,
        }
    }

    /// The state of the environment, set at module registration.
    #[expect(
        clippy::mut_from_ref,
        reason = "one state per environment, and no function here is re-entered"
    )]
    pub(crate) fn of(env: &Env) -> &mut Self {
        let mut data = std::ptr::null_mut();
        // SAFETY: `register` stored a `ThreadState` that lives until the environment is gone. Functions of
        // this addon never call into JavaScript while they hold it, so there is one reference at a time.
        unsafe {
            sys::napi_get_instance_data(env.raw(), &raw mut data);
            &mut *data.cast::<Self>()
        }
    }

    pub(crate) fn fail(&mut self, failure: Failure) -> i32 {
        let status = failure.status;
        self.last_error = Some(failure);
        status
    }

    pub(crate) fn last_error(&self) -> String {
        self.last_error
            .as_ref()
            .and_then(|error| serde_json::to_string(error).ok())
            .unwrap_or_default()
    }

    pub(crate) fn panicked(&mut self, payload: &(dyn Any + Send)) -> i32 {
        let words = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without words".to_owned());
        let place = PANIC_PLACE.with(|cell| cell.borrow_mut().take());
        self.fail(Failure {
            place,
            ..Failure::new(
                Status::Internal,
                format!("{words}. This is a bug in linkmesh; please report it with the place"),
            )
        })
    }

    /// The edge: runs `work`, keeps what went wrong, never lets a panic through.
    pub(crate) fn edge<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> std::result::Result<T, Failure>,
    ) -> std::result::Result<T, i32> {
        EDGE.with(|edge| edge.set(true));
        let result = catch_unwind(AssertUnwindSafe(|| work(self)));
        EDGE.with(|edge| edge.set(false));
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => Err(self.fail(failure)),
            Err(payload) => Err(self.panicked(&*payload)),
        }
    }

    /// [`edge`](Self::edge) for functions that answer with a number.
    pub(crate) fn edge_number(
        &mut self,
        work: impl FnOnce(&mut Self) -> std::result::Result<f64, Failure>,
    ) -> f64 {
        self.edge(work).unwrap_or_else(f64::from)
    }

    /// [`edge`](Self::edge) for functions that answer with text: empty on failure.
    pub(crate) fn edge_text(
        &mut self,
        work: impl FnOnce(&mut Self) -> std::result::Result<String, Failure>,
    ) -> String {
        self.edge(work).unwrap_or_default()
    }

    pub(crate) fn mesh(&self, handle: u32) -> std::result::Result<&Joined, Failure> {
        self.meshes
            .get(handle)
            .ok_or_else(|| Failure::stale("mesh"))
    }

    /// Leaves every mesh and closes every table: the environment is going away.
    pub(crate) fn leave_all(&mut self) {
        self.journals.drain().for_each(drop);
        for joined in self.meshes.drain() {
            joined.leave();
        }
        self.tables.drain().for_each(drop);
    }
}
