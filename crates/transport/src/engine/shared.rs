//! Who drives: the background thread, or a thread that waits for an answer and does it itself.
//!
//! One lock guards the driver, and nobody holds it while sleeping. A thread that wants it says so (`wanted`), the
//! background thread lets go within one turn and does not take it again before everybody who wanted it had it.
//!
//! A thread that drives in the foreground leaves a mark with the time. While the mark is fresh the background thread
//! watches only its waker, not the socket: so no thread is woken by packets that somebody is about to receive anyway. When
//! the mark is older than `FOREGROUND`, or taken away by `release`, it takes over.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::driver::{Driver, Sleep};
use super::options::LatencyMode;
use super::wait::{Waker, yield_now};
use crate::core::Application;

/// How long after its last turn a foreground thread is still taken to be about to come back.
const FOREGROUND: Duration = Duration::from_millis(1);
/// Attempts at the lock before a foreground thread goes to sleep on it. The holder lets go within a turn.
const ATTEMPTS: u32 = 2000;
/// Looks at the application's queues for somebody else, while they are not empty.
const LOOKS: u32 = 4;
/// How soon a full socket is tried again.
const STALLED: Duration = Duration::from_micros(50);

/// How far closing has got.
#[derive(Default)]
struct End {
    /// A graceful close is through.
    closed: bool,
    /// The background thread has ended, for whatever reason.
    ended: bool,
}

/// How a background thread is reached, also by those that do not know what it drives.
pub(super) struct Bell {
    /// When a foreground thread drove last, in nanoseconds since the start, plus one. 0: none.
    foreground: AtomicU64,
    pub(super) waker: Arc<Waker>,
}

impl Bell {
    pub(super) fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self {
            foreground: AtomicU64::new(0),
            waker,
        })
    }

    /// Gives the driving to the background thread, and wakes it.
    pub(super) fn ring(&self) {
        // Relaxed: as in `mark_foreground`. The wake orders nothing either; what there is to do is behind a lock.
        self.foreground.store(0, Ordering::Relaxed);
        self.waker.wake();
    }
}

/// What the threads of one shard share.
pub(super) struct Shared<A> {
    driver: Mutex<Driver<A>>,
    /// Threads that wait for the lock.
    wanted: AtomicU32,
    /// Leases that are out or being taken.
    leases: AtomicU32,
    bell: Arc<Bell>,
    started: Instant,
    latency: LatencyMode,
    spin_window: Duration,
    stop: AtomicBool,
    end: Mutex<End>,
    end_changed: Condvar,
}

impl<A: Application> Shared<A> {
    pub(super) fn new(
        driver: Driver<A>,
        bell: Arc<Bell>,
        latency: LatencyMode,
        spin_window: Duration,
    ) -> Self {
        Self {
            driver: Mutex::new(driver),
            wanted: AtomicU32::new(0),
            leases: AtomicU32::new(0),
            bell,
            started: Instant::now(),
            latency,
            spin_window,
            stop: AtomicBool::new(false),
            end: Mutex::default(),
            end_changed: Condvar::new(),
        }
    }

    /// The driver, for a thread other than the background one.
    ///
    /// # Panics
    /// When the application has panicked on the engine: its state is not to be trusted any more.
    pub(super) fn lock(&self) -> MutexGuard<'_, Driver<A>> {
        if let Ok(guard) = self.driver.try_lock() {
            return guard;
        }
        // Relaxed: the count is a wish, not a hand-over; the lock itself orders what the driver holds.
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let mut attempts = 0;
        let guard = loop {
            match self.driver.try_lock() {
                Ok(guard) => break guard,
                Err(TryLockError::Poisoned(_)) => {
                    self.wanted.fetch_sub(1, Ordering::Relaxed);
                    panic!("the application panicked on the engine");
                }
                Err(TryLockError::WouldBlock) if attempts < ATTEMPTS => {
                    attempts += 1;
                    if attempts % 16 == 0 {
                        yield_now();
                    } else {
                        std::hint::spin_loop();
                    }
                }
                Err(TryLockError::WouldBlock) => {
                    break self
                        .driver
                        .lock()
                        .expect("the application panicked on the engine");
                }
            }
        };
        self.wanted.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Has the application look at its queues on the calling thread, which nobody is woken for. When another thread has the driver
    /// that one looks, or is woken.
    pub(super) fn poll(&self) {
        // Poisoned: whoever calls next is told.
        let Ok(mut driver) = self.driver.try_lock() else {
            self.bell.waker.wake();
            return;
        };
        for _ in 0..LOOKS {
            driver.call(A::poll);
            // The background thread sleeps on: what it has armed is armed again.
            if driver.application().before_sleep() {
                self.wake_for(&mut driver);
                return;
            }
        }
        self.bell.waker.wake();
    }

    /// True when a thread waits for the driver.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    /// Counts a lease. With `alone`, only when there is no other.
    pub(super) fn begin_lease(&self, alone: bool) -> bool {
        // Relaxed: the count says who bothers to wait for the lock; the lock orders everything else.
        if alone {
            return self
                .leases
                .compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        }
        self.leases.fetch_add(1, Ordering::Relaxed);
        true
    }

    pub(super) fn end_lease(&self) {
        self.leases.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn waker(&self) -> &Arc<Waker> {
        &self.bell.waker
    }

    /// A thread that had a lease drives no more. What another shard's driver leaves from now on is the background thread's.
    pub(super) fn leave(&self, driver: &mut Driver<A>) {
        self.mark_foreground(driver.now);
        driver.sleep = Sleep::Awake;
        if driver.is_shared() && driver.core().sleeps() {
            self.bell.ring();
        }
    }

    /// Leaves the mark of a foreground thread.
    fn mark_foreground(&self, now: Instant) {
        let mark = now.saturating_duration_since(self.started).as_nanos() as u64 + 1;
        // Relaxed: the mark is a hint about who polls. Whoever acts on an old one takes the lock first.
        self.bell.foreground.store(mark, Ordering::Relaxed);
    }

    /// Gives the driving back to the background thread at once.
    pub(super) fn release(&self) {
        if self.bell.foreground.swap(0, Ordering::Relaxed) != 0 {
            self.bell.waker.wake();
        }
    }

    /// For how much longer a foreground thread is expected to drive.
    fn foreground_left(&self) -> Option<Duration> {
        let mark = self.bell.foreground.load(Ordering::Relaxed);
        if mark == 0 {
            return None;
        }
        let ends = self.started + Duration::from_nanos(mark - 1) + FOREGROUND;
        ends.checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// Wakes the background thread when it means to sleep longer than is right after a call.
    pub(super) fn wake_for(&self, driver: &mut Driver<A>) {
        let sooner = match (driver.sleep, driver.deadline()) {
            (Sleep::Awake, _) => return,
            (Sleep::Until(until), Some(deadline)) => deadline < until,
            (Sleep::Forever, Some(_)) => true,
            (_, None) => false,
        };
        if sooner || driver.is_pending() || driver.is_stalled() {
            driver.sleep = Sleep::Awake;
            self.bell.waker.wake();
        }
    }

    /// Ends the background thread.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.waker.wake();
    }

    /// Waits until a graceful close is through. Whether it was, within the time.
    pub(super) fn wait_closed(&self, timeout: Duration) -> bool {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let (end, _) = self
            .end_changed
            .wait_timeout_while(end, timeout, |end| !end.closed && !end.ended)
            .unwrap_or_else(PoisonError::into_inner);
        end.closed
    }

    fn tell_end(&self, tell: impl FnOnce(&mut End)) {
        tell(&mut self.end.lock().unwrap_or_else(PoisonError::into_inner));
        self.end_changed.notify_all();
    }

    /// The background thread.
    pub(super) fn run(&self) {
        struct Ended<'a, A: Application>(&'a Shared<A>);
        impl<A: Application> Drop for Ended<'_, A> {
            fn drop(&mut self) {
                self.0.tell_end(|end| end.ended = true);
            }
        }
        // Also when the application panics: nobody is to wait for a thread that is gone.
        let _ended = Ended(self);
        while !self.stop.load(Ordering::Acquire) {
            if let Some(left) = self.foreground_left() {
                self.bell.waker.wait(None, Some(left));
                continue;
            }
            if self.wanted.load(Ordering::Relaxed) > 0 {
                yield_now();
                continue;
            }
            let Ok(mut driver) = self.driver.lock() else {
                return;
            };
            driver.sleep = Sleep::Awake;
            driver.core().wakes();
            if !self.spin(&mut driver) {
                continue;
            }
            if !driver.application().before_sleep() {
                continue;
            }
            let (pending, deadline) = driver.sleeps();
            let wait = if pending {
                Some(Duration::ZERO)
            } else {
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                if driver.is_stalled() {
                    Some(left.unwrap_or(STALLED).min(STALLED))
                } else {
                    left
                }
            };
            driver.sleep = deadline.map_or(Sleep::Forever, Sleep::Until);
            let descriptor = driver.descriptor();
            drop(driver);
            self.bell.waker.wait(Some(descriptor), wait);
        }
    }

    /// Drives until there is nothing to do (true) or somebody else wants to (false).
    fn spin(&self, driver: &mut Driver<A>) -> bool {
        let mut quiet = false;
        // What is due is looked at with a fresh clock before the first poll: the thread may have slept.
        driver.now = Instant::now();
        driver.act();
        loop {
            if self.wanted.load(Ordering::Relaxed) > 0 || self.stop.load(Ordering::Relaxed) {
                return false;
            }
            if driver.turn() {
                quiet = false;
                continue;
            }
            if driver.core().is_closed() {
                self.tell_end(|end| end.closed = true);
            }
            match self.latency {
                LatencyMode::Spin => {}
                LatencyMode::Adaptive => {
                    // `now` is read every few polls; that is fine enough for a window of 200 of them.
                    if driver.quiet_for() >= self.spin_window {
                        return true;
                    }
                }
                // One more look after the last packet, so that a train that came in two parts costs one wake.
                LatencyMode::Block if quiet => return true,
                LatencyMode::Block => quiet = true,
            }
            yield_now();
        }
    }
}
