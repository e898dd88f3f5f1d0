//! What a service carries from one membership to the next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use linkmesh_metrics::Histogram;

use crate::budget::{Budget, Refill};
use crate::estimate::Estimate;
use crate::hedge::Hedging;
use crate::policy::RetryPolicy;
use crate::qos::{CODES, Qos};
use crate::rate_limit::RateLimit;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Latency that is assumed as long as nothing was measured, microseconds.
pub(crate) const ASSUMED_LATENCY_US: f64 = 30_000.0;

/// Counters and estimates of one service; lives as long as the service. In the order written here: the first cache line is
/// what each request touches.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct ServiceState {
    /// Position of round robin and weighted; every position looked at is consumed.
    pub(crate) cursor: AtomicU64,
    /// Requests picked, retries included.
    pub(crate) picks: AtomicU64,
    pub(crate) budget: Budget,
    /// Mean latency of its good answers, microseconds: what an unmeasured instance is taken for.
    pub(crate) latency: Estimate,
    /// `adaptive` only: latency of its latest good answers, microseconds.
    pub(crate) recent: Estimate,
    /// Requests in the queue. Written under the queue's lock.
    pub(crate) waiting: AtomicU32,
    /// 1 from the queue's high mark down to its low one. Written under the queue's lock.
    pub(crate) pressed: AtomicU32,
    /// 1 since a key was first looked for at its members' homes.
    keyed: AtomicU32,
    /// Requests that were refused for want of room, by number of their class.
    pub(crate) shed: [AtomicU64; CODES],
    /// See [`crate::tiers::Shares`].
    pub(crate) shares: AtomicU64,
    pub(crate) rate_limit: RateLimit,
    /// 1 while outlier detection ejects an instance: one at a time.
    pub(crate) ejecting: AtomicU32,
    pub(crate) hedging: Hedging,
    /// Latencies of completed requests, cancelled ones excepted, microseconds: of instances that have no histogram of
    /// their own, or are gone. See `latencies`.
    pub(crate) histogram: Histogram,
    adding_up: Mutex<()>,
}

impl ServiceState {
    pub(crate) fn new(retry: &RetryPolicy, now_us: u64) -> Self {
        Self {
            cursor: AtomicU64::new(0),
            picks: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            pressed: AtomicU32::new(0),
            keyed: AtomicU32::new(0),
            shed: [const { AtomicU64::new(0) }; CODES],
            shares: AtomicU64::new(0),
            rate_limit: RateLimit::default(),
            ejecting: AtomicU32::new(0),
            budget: Budget::new(retry.refill(), now_us),
            hedging: Hedging::default(),
            latency: Estimate::default(),
            recent: Estimate::default(),
            histogram: Histogram::new(),
            adding_up: Mutex::new(()),
        }
    }

    /// While this is held no instance leaves its latencies to the service.
    pub(crate) fn adding_up(&self) -> MutexGuard<'_, ()> {
        self.adding_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Mean latency, or what is assumed before there is one.
    #[inline]
    pub(crate) fn typical_latency_us(&self) -> f64 {
        match self.latency.stored() {
            0.0 => ASSUMED_LATENCY_US,
            measured => f64::from(measured),
        }
    }

    /// `adaptive`: latency of its latest good answers, or what is assumed before there is one, microseconds.
    #[inline]
    pub(crate) fn recent_latency_us(&self) -> f64 {
        match self.recent.stored() {
            0.0 => self.typical_latency_us(),
            measured => f64::from(measured),
        }
    }

    /// From now on each membership has the memory for its homes from the start.
    pub(crate) fn note_key(&self) {
        self.keyed.store(1, Ordering::Relaxed);
    }

    /// Whether its requests have keys.
    pub(crate) fn is_keyed(&self) -> bool {
        self.keyed.load(Ordering::Relaxed) != 0
    }

    /// A request of this class was refused for want of room.
    pub(crate) fn count_shed(&self, class: Qos) {
        self.shed[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Thousandths of retry tokens there are.
    #[inline]
    pub(crate) fn retry_tokens(&self, refill: Refill, now_us: u64) -> u64 {
        self.budget
            .peek(refill, self.picks.load(Ordering::Relaxed), now_us)
    }
}
