//! The helper threads that make and check proofs, so that a FALCON signature never delays a packet.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::wait::Waker;
use crate::core::{AuthDone, AuthJob, Authenticator};

/// Jobs and what came of them, between one engine thread and its helpers.
///
/// Both queues are bounded by the core's limits on handshakes: a connection has at most two jobs.
pub(super) struct Proofs {
    jobs: Mutex<Jobs>,
    arrived: Condvar,
    done: Mutex<VecDeque<AuthDone>>,
    /// How many are in `done`: the loop looks at this, not at the lock.
    ready: AtomicUsize,
}

#[derive(Default)]
struct Jobs {
    queue: VecDeque<AuthJob>,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A queue is whole between two of its calls, whoever panicked in between.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proofs {
    pub(super) fn new() -> Self {
        Self {
            jobs: Mutex::default(),
            arrived: Condvar::new(),
            done: Mutex::default(),
            ready: AtomicUsize::new(0),
        }
    }

    pub(super) fn submit(&self, job: AuthJob) {
        lock(&self.jobs).queue.push_back(job);
        self.arrived.notify_one();
    }

    pub(super) fn is_done(&self) -> bool {
        // Acquire pairs with the helper's Release: what it counted is in the queue.
        self.ready.load(Ordering::Acquire) > 0
    }

    /// The next finished job.
    pub(super) fn done(&self) -> Option<AuthDone> {
        if !self.is_done() {
            return None;
        }
        let done = lock(&self.done).pop_front();
        if done.is_some() {
            self.ready.fetch_sub(1, Ordering::Release);
        }
        done
    }

    /// Ends the helpers once they are through with what they have begun.
    pub(super) fn close(&self) {
        lock(&self.jobs).closed = true;
        self.arrived.notify_all();
    }

    /// Starts one helper.
    pub(super) fn helper(
        self: &Arc<Self>,
        authenticator: Arc<dyn Authenticator>,
        waker: Arc<Waker>,
    ) -> std::io::Result<JoinHandle<()>> {
        let proofs = self.clone();
        Builder::new()
            .name("linkmesh-proof".into())
            .spawn(move || proofs.work(&*authenticator, &waker))
    }

    fn work(&self, authenticator: &dyn Authenticator, waker: &Waker) {
        loop {
            let job = {
                let waiting = lock(&self.jobs);
                let mut jobs = self
                    .arrived
                    .wait_while(waiting, |jobs| jobs.queue.is_empty() && !jobs.closed)
                    .unwrap_or_else(PoisonError::into_inner);
                if jobs.closed {
                    return;
                }
                jobs.queue.pop_front()
            };
            let Some(job) = job else { continue };
            // A panic in a verifier costs that one handshake, which then runs into its time limit.
            let Ok(done) = catch_unwind(AssertUnwindSafe(|| job.run(authenticator))) else {
                continue;
            };
            lock(&self.done).push_back(done);
            self.ready.fetch_add(1, Ordering::Release);
            waker.wake();
        }
    }
}
