//! Driving the engine from the thread that waits for the answer.

use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use super::driver::Driver;
use super::home::Held;
use super::shared::Shared;
use super::wait::yield_now;
use crate::core::{Application, Io};

/// The engine, held by the calling thread: no other thread drives it meanwhile and none is woken by its packets.
///
/// Hold it for the length of one call (tens of microseconds), not between calls: it is a lock. After it is dropped the
/// background thread leaves the socket alone for about a millisecond more, because a thread that leases once leases again
/// soon; `Engine::release` says at once that it will not.
pub struct Lease<'a, A: Application> {
    driver: MutexGuard<'a, Driver<A>>,
    /// Dropped after the guard.
    counted: Counted<'a, A>,
}

/// A lease in the count of leases, also while it waits for the lock and when that panics.
struct Counted<'a, A: Application>(&'a Shared<A>);

impl<A: Application> Drop for Counted<'_, A> {
    fn drop(&mut self) {
        self.0.end_lease();
    }
}

impl<A: Application> std::fmt::Debug for Lease<'_, A> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl<'a, A: Application> Lease<'a, A> {
    /// Waits for the driver; with `alone`, gives up when another thread has a lease.
    pub(super) fn take(shared: &'a Shared<A>, alone: bool) -> Option<Self> {
        if !shared.begin_lease(alone) {
            return None;
        }
        let counted = Counted(shared);
        let driver = shared.lock();
        Some(Self { driver, counted })
    }

    /// Calls the application and sends what it wrote.
    pub fn with<R>(&mut self, call: impl FnOnce(&mut A, &mut Io<'_>) -> R) -> R {
        self.driver.call(call)
    }

    /// Looks at the application without a turn of the loop: for taking completions.
    ///
    /// With several engine threads this locks them all out: look, and let go.
    #[inline]
    pub fn application(&mut self) -> Held<'_, A> {
        self.driver.application()
    }

    /// Receives once and acts on it. Whether a packet came.
    pub fn turn(&mut self) -> bool {
        self.driver.turn()
    }

    /// Lets the application look at its queues, and sends what it made of them, without asking the kernel for packets: for
    /// one that has other ways than the socket. Some ten nanoseconds when they are empty.
    #[inline]
    pub fn poll(&mut self) {
        self.driver.glance();
    }

    /// Drives until `done` says so (true) or the time is over (false). Asked before the first poll and after each packet.
    pub fn spin(&mut self, longest: Duration, done: impl FnMut(&mut A) -> bool) -> bool {
        self.drive(longest, false, done)
    }

    /// As [`spin`](Self::spin), but ends as well when another thread waits for the engine.
    pub fn spin_alone(&mut self, longest: Duration, done: impl FnMut(&mut A) -> bool) -> bool {
        self.drive(longest, true, done)
    }

    fn drive(
        &mut self,
        longest: Duration,
        alone: bool,
        mut done: impl FnMut(&mut A) -> bool,
    ) -> bool {
        let mut ends: Option<Instant> = None;
        loop {
            if done(&mut self.driver.application()) {
                return true;
            }
            while !self.driver.turn() {
                // The driver reads the clock every few polls; nothing here needs it finer.
                let now = self.driver.now;
                let ends = *ends.get_or_insert_with(|| Instant::now() + longest);
                if now >= ends || (alone && self.counted.0.is_wanted()) {
                    return done(&mut self.driver.application());
                }
                // It may come by another thread's socket.
                if self.driver.is_shared() && self.driver.is_clock_due() {
                    break;
                }
                yield_now();
            }
        }
    }
}

impl<A: Application> Drop for Lease<'_, A> {
    fn drop(&mut self) {
        self.counted.0.leave(&mut self.driver);
    }
}
