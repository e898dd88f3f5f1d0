//! Until when an instance is kept out, other than by its breaker: it said so itself, or outlier detection did.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Longest `Retry-After` that is honoured, microseconds: five minutes, linkerd's cap.
pub(crate) const LONGEST_REJECTED_US: u64 = 300_000_000;
/// Longest ejection, microseconds: an hour.
pub(crate) const LONGEST_EJECTION_US: u64 = 3_600_000_000;

/// What outlier detection remembers of one instance. Relaxed throughout: each word is complete in itself, and its
/// writers take turns: the router's housekeeping, under its lock.
#[derive(Debug, Default)]
pub(crate) struct Ejection {
    /// Not eligible before this time, microseconds.
    pub(crate) until_us: AtomicU64,
    /// Ejections that still count: each makes the next one longer.
    pub(crate) times: AtomicU32,
    /// Failures in a row.
    pub(crate) failures: AtomicU32,
    /// Counters of the view at the last look.
    pub(crate) seen_succeeded: AtomicU32,
    pub(crate) seen_failed: AtomicU32,
}

impl Ejection {
    /// Whether it is kept out now. Longer than ejections are: the clock stepped back, and it is over.
    #[inline]
    pub(crate) fn is_out(&self, now_us: u64) -> bool {
        let until_us = self.until_us.load(Ordering::Relaxed);
        until_us > now_us && until_us - now_us <= LONGEST_EJECTION_US
    }

    pub(crate) fn reset(&self) {
        self.until_us.store(0, Ordering::Relaxed);
        for word in [
            &self.times,
            &self.failures,
            &self.seen_succeeded,
            &self.seen_failed,
        ] {
            word.store(0, Ordering::Relaxed);
        }
    }
}
