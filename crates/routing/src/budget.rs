//! How many extra requests (retries, hedges) a service affords: a token bucket that requests and time fill.

use crate::estimate::to_ms;
use crate::policy::RetryPolicy;
use crate::random::Rng;
use crate::sync::{AtomicU64, Ordering};

/// What fills a budget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refill {
    /// Thousandths of a token that each request brings.
    share: u64,
    /// Tokens that each second brings.
    per_second: u64,
}

impl Refill {
    #[inline]
    pub(crate) fn new(share: f64, per_second: u32) -> Self {
        Self {
            share: (share * 1_000.0 + 0.5) as u64,
            per_second: u64::from(per_second),
        }
    }
}

/// An extra request costs one token = 1,000 thousandths. So however many layers of callers retry, this service sees no
/// more than that share of extra load.
///
/// It remembers at most ten seconds of the minimum and the share of a thousand requests.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// Requests whose share was paid in, of those in `picks`.
    credited: AtomicU64,
    /// Tokens taken. `picks` counts those requests too; they must not pay in.
    granted: AtomicU64,
    /// Thousandths of tokens below, milliseconds of the last payment (modulo 2^32) above.
    bucket: AtomicU64,
}

const TOKEN: u64 = 1_000;

impl Budget {
    /// One second's minimum to begin with.
    pub(crate) fn new(refill: Refill, now_us: u64) -> Self {
        let bucket = (u64::from(to_ms(now_us)) << 32) | (refill.per_second * TOKEN);
        Self {
            bucket: AtomicU64::new(bucket),
            ..Self::default()
        }
    }

    /// Tokens taken so far.
    pub(crate) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    fn filled(refill: Refill, word: u64, requests: u64, now_us: u64) -> u64 {
        let most = (10 * refill.per_second + refill.share) * TOKEN;
        let elapsed = to_ms(now_us).wrapping_sub((word >> 32) as u32);
        // A clock that stepped back pays nothing, one that stood still for long pays ten seconds.
        let elapsed = if elapsed > u32::MAX / 2 {
            0
        } else {
            u64::from(elapsed.min(10_000))
        };
        (word & u64::from(u32::MAX))
            .saturating_add(requests.saturating_mul(refill.share))
            .saturating_add(elapsed * refill.per_second)
            .min(most)
    }

    /// Whether there is a token. `picks` as in [`take`](Self::take).
    pub(crate) fn has_token(&self, refill: Refill, picks: u64, now_us: u64) -> bool {
        self.peek(refill, picks, now_us) >= TOKEN
    }

    /// Thousandths of tokens there are now. `picks`: all requests of the service so far. Changes nothing.
    #[inline]
    pub(crate) fn peek(&self, refill: Refill, picks: u64, now_us: u64) -> u64 {
        let requests = picks
            .saturating_sub(self.granted())
            .saturating_sub(self.credited.load(Ordering::Relaxed));
        Self::filled(
            refill,
            self.bucket.load(Ordering::Relaxed),
            requests,
            now_us,
        )
    }

    /// Takes one token if there is one.
    pub(crate) fn take(&self, refill: Refill, picks: u64, now_us: u64) -> bool {
        let requests = picks.saturating_sub(self.granted());
        // Relaxed: the maximum is taken by exactly one caller per request, which is all that counts.
        let mut new_requests =
            requests.saturating_sub(self.credited.fetch_max(requests, Ordering::Relaxed));
        let mut seen = self.bucket.load(Ordering::Relaxed);
        loop {
            let tokens = Self::filled(refill, seen, new_requests, now_us);
            let (left, granted) = if tokens >= TOKEN {
                (tokens - TOKEN, true)
            } else {
                (tokens, false)
            };
            let elapsed = to_ms(now_us).wrapping_sub((seen >> 32) as u32);
            let stamp = if elapsed > u32::MAX / 2 {
                seen >> 32
            } else {
                u64::from(to_ms(now_us))
            };
            match self.bucket.compare_exchange_weak(
                seen,
                stamp << 32 | left,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    if granted {
                        self.granted.fetch_add(1, Ordering::Relaxed);
                    }
                    return granted;
                }
                Err(now) => {
                    seen = now;
                    // `filled` is capped, so this cannot be paid twice beyond the cap; it is still ours to pay.
                    new_requests = new_requests.min(1_000_000);
                }
            }
        }
    }
}

/// Decorrelated jitter [M. Brooker, "Exponential Backoff And Jitter", 2015]: each wait is drawn between the shortest
/// and three times the one before. Stateless: the waits before are drawn anew, one draw per attempt.
pub(crate) fn backoff_ms(policy: &RetryPolicy, attempt: u32, rng: &mut Rng) -> u32 {
    let mut wait = policy.min_backoff_ms;
    for _ in 0..attempt {
        let longest = wait.saturating_mul(3).max(1).min(policy.max_backoff_ms);
        let span = longest.saturating_sub(policy.min_backoff_ms) + 1;
        wait = policy.min_backoff_ms + rng.below(span);
    }
    wait
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_requests_however_many_ask() {
        let policy = RetryPolicy {
            min_per_second: 0,
            ..RetryPolicy::default()
        };
        let budget = Budget::new(policy.refill(), 0);
        let mut granted = 0u64;
        // Every request fails and is retried by three layers of callers, and so is every retry.
        for requests in 1..=10_000u64 {
            for _ in 0..3 {
                granted += u64::from(budget.take(policy.refill(), requests + granted, 0));
            }
        }
        assert_eq!(granted, 2_000);
    }

    #[test]
    fn the_minimum_is_there_without_any_request() {
        let policy = RetryPolicy::default();
        let budget = Budget::new(policy.refill(), 0);
        let take = |now_us| {
            (0..100)
                .filter(|_| budget.take(policy.refill(), 0, now_us))
                .count()
        };
        assert_eq!(take(0), 5);
        assert_eq!(take(1_000_000), 5);
        assert_eq!(take(500_000), 0, "a clock that steps back pays nothing");
        assert_eq!(take(1_200_000), 1);
        assert_eq!(take(3_600_000_000), 50, "ten seconds are remembered");
    }

    #[test]
    fn backoff_stays_between_its_bounds_and_varies() {
        let policy = RetryPolicy::default();
        let mut rng = Rng::new(1, 0);
        let mut seen = std::collections::HashSet::new();
        for attempt in 1..=10 {
            for _ in 0..200 {
                let wait = backoff_ms(&policy, attempt, &mut rng);
                assert!((5..=250).contains(&wait));
                seen.insert(wait);
            }
        }
        assert!(seen.len() > 100);
        let none = RetryPolicy {
            min_backoff_ms: 0,
            max_backoff_ms: 0,
            ..policy
        };
        assert_eq!(backoff_ms(&none, 3, &mut rng), 0);
    }
}
