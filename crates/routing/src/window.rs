//! Sliding window of successes and failures in ten buckets.

use crate::policy::BreakerPolicy;
use crate::sync::{AtomicU64, Ordering};

const BUCKETS: u64 = 10;
/// A bucket that would count more is halved: the rate stays, nothing overflows.
pub(crate) const COUNT_MAX: u64 = (1 << 20) - 1;
const PERIOD_MASK: u64 = (1 << 24) - 1;

/// Ten words: 24 bits number of the period, 20 requests, 20 failures. A bucket of another period is empty.
///
/// Relaxed throughout: the counts are read as evidence, and each word is complete in itself.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) buckets: [AtomicU64; BUCKETS as usize],
}

fn period(window_ms: u32, now_us: u64) -> u64 {
    now_us / (u64::from(window_ms) * (1_000 / BUCKETS)).max(1)
}

impl Window {
    pub(crate) fn reset(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }

    /// Counts one request. One compare-and-swap; under contention a few.
    #[inline]
    pub(crate) fn record(&self, window_ms: u32, ok: bool, now_us: u64) {
        let period = period(window_ms, now_us);
        let bucket = &self.buckets[(period % BUCKETS) as usize];
        let period = period & PERIOD_MASK;
        let mut seen = bucket.load(Ordering::Relaxed);
        loop {
            let (mut total, mut failed) = if seen >> 40 == period {
                (seen >> 20 & COUNT_MAX, seen & COUNT_MAX)
            } else {
                (0, 0)
            };
            if total == COUNT_MAX {
                (total, failed) = (total / 2, failed / 2);
            }
            let next = period << 40 | (total + 1) << 20 | (failed + u64::from(!ok));
            match bucket.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Requests and failures of the last ten periods, the present one included.
    pub(crate) fn totals(&self, window_ms: u32, now_us: u64) -> (u64, u64) {
        let now = period(window_ms, now_us);
        let mut totals = (0, 0);
        for bucket in &self.buckets {
            let word = bucket.load(Ordering::Relaxed);
            // Periods count modulo 2^24 (46 hours at the shortest window); later than now = the clock stepped back.
            if now.wrapping_sub(word >> 40) & PERIOD_MASK < BUCKETS {
                totals.0 += word >> 20 & COUNT_MAX;
                totals.1 += word & COUNT_MAX;
            }
        }
        totals
    }

    /// Enough requests, too many failures.
    pub(crate) fn is_bad(&self, policy: &BreakerPolicy, now_us: u64) -> bool {
        let (total, failed) = self.totals(policy.window_ms, now_us);
        total >= u64::from(policy.min_requests) && failed as f64 >= policy.error_rate * total as f64
    }
}
