//! What the appenders, the writer and the keeper of one journal share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::commits::{Commits, Ticket};
use super::gaps::Gap;
use super::queue::Queue;
use super::segments::{Prepared, Segments};
use crate::error::JournalError;
use crate::format::Kind;
use crate::limits::JournalOptions;
use crate::storage::Storage;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// Called after every group, on the writer's thread: it must only ring a bell.
pub(crate) type Listener = Arc<dyn Fn() + Send + Sync>;

/// What the keeper is asked for.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    /// Number of the segment to prepare.
    pub(crate) prepare: Option<u64>,
    /// Records became durable since the anchor was written.
    pub(crate) dirty: bool,
    /// A segment was begun: the retention may have something to remove.
    pub(crate) rolled: bool,
    pub(crate) stop: bool,
}

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: JournalOptions,
    pub(crate) journal: [u8; 16],
    pub(crate) segments: Segments,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) queue: Mutex<Queue>,
    /// There is something in the queue, or it was closed.
    pub(crate) work: Condvar,
    pub(crate) commits: Mutex<Commits>,
    /// A group was settled.
    pub(crate) settled: Condvar,
    /// Called before the retention removes anything, on the keeper's thread.
    pub(crate) before_removal: Mutex<Option<Listener>>,
    pub(crate) listeners: Mutex<Vec<(u64, Listener)>>,
    pub(crate) chores: Mutex<Chores>,
    pub(crate) alarm: Condvar,
    /// The next segment. Whoever makes it holds the lock meanwhile, so that it is made once.
    pub(crate) prepared: Mutex<Prepared>,
    /// Records that retention removed since the journal was opened.
    pub(crate) removed: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("storage", &self.storage)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Locks, and goes on after a panic elsewhere: what these locks guard is never left half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wall clock, microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

/// Wall clock, milliseconds since 1970, as JavaScript has it.
pub(crate) fn now_ms() -> f64 {
    (now_us() / 1_000) as f64
}

impl Shared {
    pub(crate) fn append<'a>(
        &self,
        kind: Kind,
        payloads: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<Ticket, JournalError> {
        let mut queue = lock(&self.queue);
        let (empty, small) = (queue.batch.spans.is_empty(), !queue.batch.is_worth_taking());
        let ticket = queue.push_all(kind, payloads, &self.options)?;
        // A writer waits only when it saw an empty queue, or, while another one syncs, one that was not worth it; who has
        // synced wakes it for what came in between.
        let wake = if queue.syncing {
            small && queue.batch.is_worth_taking()
        } else {
            empty
        };
        drop(queue);
        if wake {
            self.work.notify_one();
        }
        Ok(ticket)
    }

    pub(crate) fn wait(&self, ticket: Ticket) -> Result<u64, JournalError> {
        let mut commits = lock(&self.commits);
        loop {
            if let Some(outcome) = commits.outcome(ticket) {
                return outcome;
            }
            commits = self
                .settled
                .wait(commits)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes everybody who waits for an acknowledgement.
    pub(crate) fn tell(&self) {
        self.settled.notify_all();
        for (_, listener) in lock(&self.listeners).iter() {
            listener();
        }
    }

    /// Gives the keeper something to do.
    pub(crate) fn ask(&self, change: impl FnOnce(&mut Chores)) {
        let mut chores = lock(&self.chores);
        change(&mut chores);
        drop(chores);
        self.alarm.notify_one();
    }

    /// Marks the anchor as behind. Wakes the keeper only for the first group after it was written.
    pub(crate) fn moved(&self) {
        let mut chores = lock(&self.chores);
        if !chores.dirty {
            chores.dirty = true;
            drop(chores);
            self.alarm.notify_one();
        }
    }

    pub(crate) fn count_removed(&self, records: u64) {
        // A statistic: nothing is ordered by it.
        self.removed.fetch_add(records, Ordering::Relaxed);
    }
}
