//! A concurrency limit that follows latency: the gradient of a base latency over the present one, Netflix's Gradient
//! with another way to know the base.
//!
//! Each window's mean latency is compared with the base: `gradient = tolerance · base / mean`, within ½ and 1;
//! `limit' = limit · gradient + √limit`, of which a fifth is taken. A window in which something was rejected or timed out
//! takes a tenth off instead. It grows only as far as it is used.
//!
//! The base is the lowest mean there was. It is learnt upwards when latency is shown not to be our own queue: 5 % a window
//! while at most half of the limit is used, and nearly at once when the limit was halved and latency did not follow. So
//! it needs no pauses to measure an idle service in, as Envoy's minRTT does (which then refuses what it would have
//! carried), and load alone cannot talk it up, as it can a moving average.

use crate::policy::AdaptiveConcurrencyPolicy;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// A window with fewer answers says nothing and goes on.
const FEWEST: u64 = 10;
/// What is taken of a new limit.
const STEP: f64 = 0.2;
/// What is taken of a window that may teach the base upwards.
const LEARNING: f64 = 0.05;
/// Bits of a window's count; the rest is the sum, microseconds.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// What is known of one instance. Relaxed throughout: evidence, not synchronisation; the window's end decides by
/// compare-and-swap who works it out.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    window: AtomicU64,
    ends_us: AtomicU64,
    /// f64 bits, microseconds; 0 = unknown.
    base: AtomicU64,
    /// Where the limit began to shrink, and the highest mean latency since: f32 bits, microseconds. Limit above, mean below.
    mark: AtomicU64,
    /// Most in flight in this window.
    most: AtomicU32,
    rejected: AtomicU32,
}

impl Limiter {
    pub(crate) fn reset(&self) {
        self.window.store(0, Ordering::Relaxed);
        self.ends_us.store(0, Ordering::Relaxed);
        self.base.store(0, Ordering::Relaxed);
        self.mark.store(0, Ordering::Relaxed);
        self.most.store(0, Ordering::Relaxed);
        self.rejected.store(0, Ordering::Relaxed);
    }

    /// Learns from an answer. The new limit, for the one caller who ends a window.
    pub(crate) fn record(
        &self,
        policy: &AdaptiveConcurrencyPolicy,
        latency_us: u64,
        refused: bool,
        in_flight: u32,
        limit: u32,
        now_us: u64,
    ) -> Option<u32> {
        self.most.fetch_max(in_flight, Ordering::Relaxed);
        if refused {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
        // 2^44 microseconds of 2^20 answers: a mean of 16 s before the sum would spill, and latencies are cut to that.
        let sample = latency_us.min(1 << 23) << COUNT_BITS | 1;
        let window = self.window.fetch_add(sample, Ordering::Relaxed) + sample;
        let (count, sum) = (window & COUNT_MASK, window >> COUNT_BITS);
        let ends_us = self.ends_us.load(Ordering::Relaxed);
        let window_us = u64::from(policy.window_ms) * 1_000;
        // Further off than windows are: the clock stepped back.
        let over = now_us >= ends_us || ends_us - now_us > window_us;
        if !over && count < COUNT_MASK / 2 || count < FEWEST {
            return None;
        }
        let taken = self.ends_us.compare_exchange(
            ends_us,
            now_us + window_us,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if taken.is_err() {
            return None;
        }
        self.window.store(0, Ordering::Relaxed);
        let most = self.most.swap(0, Ordering::Relaxed);
        let rejected = self.rejected.swap(0, Ordering::Relaxed);
        let mean = (sum as f64 / count as f64).max(1.0);
        Some(self.next(policy, mean, most, rejected != 0, limit))
    }

    /// Whether the limit was halved, or fell as far as it may, and latency did not follow: then it is not our queue.
    fn is_in_vain(&self, limit: u32, least: u32, mean: f64) -> bool {
        let mark = self.mark.load(Ordering::Relaxed);
        let (from, worst) = ((mark >> 32) as u32, f64::from(f32::from_bits(mark as u32)));
        let shrunk = limit <= from / 2 || limit == least && limit < from;
        let next = if shrunk || limit > from {
            (limit, mean)
        } else {
            // Answers lag behind the limit that they were let in by: the worst since it began to shrink counts.
            (from, worst.max(mean))
        };
        let mark = u64::from(next.0) << 32 | u64::from((next.1 as f32).to_bits());
        self.mark.store(mark, Ordering::Relaxed);
        shrunk && mean > worst * 0.75
    }

    fn next(
        &self,
        policy: &AdaptiveConcurrencyPolicy,
        mean: f64,
        most: u32,
        rejected: bool,
        limit: u32,
    ) -> u32 {
        let limit = limit.clamp(policy.min, policy.max);
        let mut base = f64::from_bits(self.base.load(Ordering::Relaxed));
        if base == 0.0 || mean < base {
            base = mean;
        } else if most * 2 <= limit {
            base += (mean - base) * LEARNING;
        } else if self.is_in_vain(limit, policy.min, mean) {
            base += (mean - base) * 0.9;
        }
        self.base.store(base.to_bits(), Ordering::Relaxed);
        let now = f64::from(limit);
        let wanted = if rejected {
            now * 0.5
        } else {
            now * (policy.tolerance * base / mean).clamp(0.5, 1.0) + now.sqrt()
        };
        let change = (wanted - now) * STEP;
        let next = if change > 0.0 {
            if most * 2 < limit {
                return limit;
            }
            // By one at least, or small limits would never grow.
            now + change.max(1.0)
        } else {
            now + change
        };
        (next as u32).clamp(policy.min, policy.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> AdaptiveConcurrencyPolicy {
        AdaptiveConcurrencyPolicy {
            enabled: true,
            ..AdaptiveConcurrencyPolicy::default()
        }
    }

    /// A server with so many workers and 10 ms of work, always offered more than it can do. Limit after a while.
    fn settle(limiter: &Limiter, mut limit: u32, workers: u32, work_us: u64, windows: u64) -> u32 {
        let policy = policy();
        for window in 0..windows {
            let now_us = 1_000_000_000 + window * 100_000;
            // All of the limit is in flight; what exceeds the workers waits.
            let latency_us = work_us * u64::from(limit.max(workers)) / u64::from(workers);
            for answer in 0..50 {
                let at = now_us + answer;
                if let Some(next) = limiter.record(&policy, latency_us, false, limit, limit, at) {
                    limit = next;
                }
            }
        }
        limit
    }

    #[test]
    fn it_finds_about_what_the_instance_can_do_and_stays_there() {
        let limiter = Limiter::default();
        let limit = settle(&limiter, 20, 40, 10_000, 300);
        assert!((40..90).contains(&limit), "{limit} for 40 workers");
        let later = settle(&limiter, limit, 40, 10_000, 3_000);
        assert!(
            (40..90).contains(&later),
            "{later}: load does not talk the base up"
        );
    }

    #[test]
    fn no_pause_to_measure_in() {
        let limiter = Limiter::default();
        let mut limit = settle(&limiter, 20, 40, 10_000, 300);
        for _ in 0..600 {
            limit = settle(&limiter, limit, 40, 10_000, 1);
            assert!(limit >= 35, "{limit}: never dips to see what idle is like");
        }
    }

    #[test]
    fn work_that_became_slower_for_good_is_the_new_base() {
        let limiter = Limiter::default();
        let limit = settle(&limiter, 20, 40, 10_000, 300);
        let slower = settle(&limiter, limit, 40, 100_000, 1_000);
        assert!(slower >= 35, "{slower}: not stuck at the minimum");
    }

    #[test]
    fn it_shrinks_when_things_are_refused_and_does_not_grow_unused() {
        let (limiter, policy) = (Limiter::default(), policy());
        let ends = |limit, refused, in_flight, at| {
            (0..20u64)
                .find_map(|n| limiter.record(&policy, 1_000, refused, in_flight, limit, at + n))
                .unwrap()
        };
        assert!(ends(100, true, 100, 1_000_000) <= 90);
        assert_eq!(ends(100, false, 10, 2_000_000), 100);
        assert!(ends(100, false, 100, 3_000_000) > 100);
    }
}
