//! Token buckets of a service and of its keys, by the virtual scheduling form of GCRA [ITU-T I.371]: one word each, the
//! time at which the bucket will be full again. No timer, no division per request beyond two.

use std::sync::OnceLock;

use crate::policy::RateLimitPolicy;
use crate::sync::{AtomicU64, Ordering};

/// Sets of keys, a cache line each: up to 16,384 keys that are active at one time have buckets of their own. More than
/// eight of one set share.
const SETS: usize = 2_048;
const WAYS: usize = 8;
/// A key's word: 14 bits of tag, 50 bits of time in sixteenths of a microsecond (two years).
const TIME_BITS: u32 = 50;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// Parts of a microsecond in the service's word and in a key's.
const SERVICE_PARTS: u64 = 1_000;
const KEY_PARTS: u64 = 16;

/// A rate in parts of a microsecond: time of one token, and how far ahead a bucket may be.
#[derive(Clone, Copy)]
struct Pace {
    token: u64,
    ahead: u64,
}

impl Pace {
    fn new(per_second: u32, burst: u32, parts: u64) -> Self {
        let token = (1_000_000 * parts / u64::from(per_second)).max(1);
        let burst = if burst == 0 { per_second } else { burst };
        Self {
            token,
            ahead: token * (u64::from(burst) - 1),
        }
    }

    /// When the bucket would be full after one more token; or how long until there is one.
    fn take(self, full_at: u64, now: u64) -> Result<u64, u64> {
        // Further ahead than it can be: the clock stepped back, and the bucket is full.
        let full_at = if full_at < now || full_at - now > self.ahead + self.token {
            now
        } else {
            full_at
        };
        if full_at - now > self.ahead {
            return Err(full_at - now - self.ahead);
        }
        Ok(full_at + self.token)
    }
}

/// The buckets of one service. Lock-free: each is changed by compare-and-swap of what was seen.
///
/// Relaxed throughout: a word is complete in itself.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    service: AtomicU64,
    keys: OnceLock<Box<[AtomicU64]>>,
}

impl RateLimit {
    /// Makes room for keys, 128 KiB, when a policy limits them. Cold.
    pub(crate) fn prepare(&self, policy: &RateLimitPolicy) {
        if policy.key_per_second != 0 {
            self.keys
                .get_or_init(|| (0..SETS * WAYS).map(|_| AtomicU64::new(0)).collect());
        }
    }

    /// Takes a token of the service and, with a key, one of the key. When there is none: in how many milliseconds.
    pub(crate) fn take(
        &self,
        policy: &RateLimitPolicy,
        key_hash: u32,
        now_us: u64,
    ) -> Result<(), u32> {
        if policy.per_second != 0 {
            let pace = Pace::new(policy.per_second, policy.burst, SERVICE_PARTS);
            let now = now_us * SERVICE_PARTS;
            let taken =
                self.service
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                        pace.take(full_at, now).ok()
                    });
            if let Err(full_at) = taken {
                let wait = pace.take(full_at, now).err().unwrap_or(0);
                return Err(to_ms(wait, SERVICE_PARTS));
            }
        }
        if key_hash != 0
            && let Some(keys) = self.keys.get().filter(|_| policy.key_per_second != 0)
            && let Err(wait_ms) = take_of_key(keys, policy, key_hash, now_us)
        {
            self.give_back(policy);
            return Err(wait_ms);
        }
        Ok(())
    }

    /// The request was not sent after all. A key's token is not given back: it would have to be found again.
    pub(crate) fn give_back(&self, policy: &RateLimitPolicy) {
        if policy.per_second != 0 {
            let pace = Pace::new(policy.per_second, policy.burst, SERVICE_PARTS);
            let _ = self
                .service
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                    Some(full_at.saturating_sub(pace.token))
                });
        }
    }
}

fn to_ms(parts: u64, per_us: u64) -> u32 {
    parts.div_ceil(1_000 * per_us).clamp(1, 60_000) as u32
}

/// A bucket that is full belongs to nobody; when all of a set are in use, keys share the first of them.
fn take_of_key(
    keys: &[AtomicU64],
    policy: &RateLimitPolicy,
    key_hash: u32,
    now_us: u64,
) -> Result<(), u32> {
    let pace = Pace::new(policy.key_per_second, policy.key_burst, KEY_PARTS);
    let now = (now_us * KEY_PARTS) & TIME_MASK;
    let set = key_hash as usize % SETS;
    let tag = u64::from(key_hash) >> 11 & 0x3fff;
    let ways = &keys[set * WAYS..(set + 1) * WAYS];
    let way = ways
        .iter()
        .find(|way| way.load(Ordering::Relaxed) >> TIME_BITS == tag)
        .or_else(|| {
            ways.iter()
                .find(|way| way.load(Ordering::Relaxed) & TIME_MASK <= now)
        })
        .unwrap_or(&ways[0]);
    let taken = way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
        let full_at = pace.take(word & TIME_MASK, now).ok()?;
        Some(tag << TIME_BITS | full_at & TIME_MASK)
    });
    match taken {
        Ok(_) => Ok(()),
        Err(word) => {
            let wait = pace.take(word & TIME_MASK, now).err().unwrap_or(0);
            Err(to_ms(wait, KEY_PARTS))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RateLimitPolicy {
        RateLimitPolicy {
            per_second: 100,
            burst: 10,
            ..RateLimitPolicy::default()
        }
    }

    fn passed(limit: &RateLimit, policy: &RateLimitPolicy, key: u32, now_us: u64) -> usize {
        (0..1_000)
            .take_while(|_| limit.take(policy, key, now_us).is_ok())
            .count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (limit, policy) = (RateLimit::default(), policy());
        assert_eq!(passed(&limit, &policy, 0, 1_000_000), 10);
        assert_eq!(limit.take(&policy, 0, 1_000_000), Err(10));
        assert_eq!(passed(&limit, &policy, 0, 1_050_000), 5);
        assert_eq!(
            passed(&limit, &policy, 0, 9_000_000),
            10,
            "no more than a burst"
        );
    }

    #[test]
    fn a_token_that_was_given_back_is_there_again() {
        let (limit, policy) = (RateLimit::default(), policy());
        passed(&limit, &policy, 0, 1_000_000);
        limit.give_back(&policy);
        assert_eq!(passed(&limit, &policy, 0, 1_000_000), 1);
    }

    #[test]
    fn each_key_has_its_own() {
        let policy = RateLimitPolicy {
            key_per_second: 5,
            ..RateLimitPolicy::default()
        };
        let limit = RateLimit::default();
        limit.prepare(&policy);
        for key in 1..=2_000u32 {
            let key = crate::hash::fmix32(key).max(1);
            assert_eq!(passed(&limit, &policy, key, 1_000_000), 5, "{key}");
        }
        assert_eq!(
            passed(&limit, &policy, 0, 1_000_000),
            1_000,
            "no key, no limit"
        );
    }

    #[test]
    fn a_clock_that_steps_back_locks_nobody_out() {
        let (limit, policy) = (RateLimit::default(), policy());
        passed(&limit, &policy, 0, 3_600_000_000);
        assert_eq!(passed(&limit, &policy, 0, 1_000_000), 10);
    }

    #[test]
    fn threads_share_one_bucket() {
        let (limit, policy) = (RateLimit::default(), policy());
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| passed(&limit, &policy, 0, 1_000_000)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(total, 10);
    }
}
