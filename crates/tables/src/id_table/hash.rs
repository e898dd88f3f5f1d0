//! The hash of a table: seeded, so that nobody outside can choose keys that collide.
//!
//! Folded multiplication (as in wyhash by Wang Yi): 64 × 64 → 128 bits, both halves xored. Not cryptographic: an
//! attacker who can measure single lookups might still find collisions. They cost time, never a wrong answer.

/// How a table hashes. A parameter so that tests can make every key collide.
pub(super) trait KeyHasher: Send + Sync {
    fn number(&self, key: u64) -> u64;
    fn bytes(&self, key: &[u8]) -> u64;
}

/// The hasher of every public table, with seeds of its own.
#[derive(Debug)]
pub(super) struct SeededHasher {
    seeds: [u64; 3],
}

impl SeededHasher {
    pub(super) fn new() -> Self {
        Self {
            seeds: [seed(), seed() | 1, seed() | 1],
        }
    }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Eight bytes from `at`, which must lie inside.
#[inline(always)]
fn word(key: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(key[at..at + 8].try_into().expect("eight bytes"))
}

impl KeyHasher for SeededHasher {
    #[inline(always)]
    fn number(&self, key: u64) -> u64 {
        fold(key ^ self.seeds[0], self.seeds[1])
    }

    #[inline]
    fn bytes(&self, key: &[u8]) -> u64 {
        let [first, second, last] = self.seeds;
        let length = key.len();
        let mut state = first ^ length as u64;
        let (a, b) = if length >= 16 {
            let mut at = 0;
            while at + 16 < length {
                state = fold(word(key, at) ^ state, word(key, at + 8) ^ second);
                at += 16;
            }
            // The last 16 bytes, which may overlap those before.
            (word(key, length - 16), word(key, length - 8))
        } else if length >= 8 {
            (word(key, 0), word(key, length - 8))
        } else {
            let mut bytes = [0; 8];
            bytes[..length].copy_from_slice(key);
            (u64::from_le_bytes(bytes), 0)
        };
        fold(fold(a ^ state, b ^ second), last)
    }
}

/// 64 bits that an outsider cannot guess.
#[cfg(feature = "std")]
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u64)
}

/// 64 bits that differ from table to table. Without `std` there is no source of secrets: whoever can read this program's
/// addresses can guess them.
#[cfg(not(feature = "std"))]
fn seed() -> u64 {
    use core::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let here = 0_u8;
    let address = core::ptr::from_ref(&here).addr() as u64;
    let count = u64::from(COUNT.fetch_add(1, Ordering::Relaxed));
    fold(
        address ^ 0x9e37_79b9_7f4a_7c15,
        fold(count ^ 0xd1b5_4a32_d192_ed03, 0x2545_f491_4f6c_dd1d) | 1,
    )
}
