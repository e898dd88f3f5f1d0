//! One generation of the numbers' half: five keys with their values to a line.

use super::{NONE, TableError, hash::KeyHasher};
use crate::lines::{Lines, Zeroed, home};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

const SLOTS: usize = 5;
/// Keys to a line, on average, in a full generation: more, and searches often go on to the next line.
const LOAD: usize = 3;

/// One line. Slots fill from the front; a key, once there, stays.
#[derive(Debug)]
#[repr(C, align(64))]
struct Bucket {
    keys: [AtomicU64; SLOTS],
    values: [AtomicU32; SLOTS],
    used: AtomicU32,
}

// SAFETY: integers.
unsafe impl Zeroed for Bucket {}

#[derive(Debug)]
pub(super) struct Numbers {
    buckets: Lines<Bucket>,
    /// Slots filled, removed keys included. Only writers use it.
    filled: AtomicUsize,
    /// Slots that may be filled before a new generation is due. Fewer than there are, so some line always has
    /// room, and a search ends.
    limit: usize,
}

/// What an insertion came to.
pub(super) enum Inserted {
    /// Done; the value that was there before, or [`NONE`].
    Before(u32),
    /// This generation is full.
    Full,
}

impl Numbers {
    /// Room for `capacity` keys.
    pub(super) fn new(capacity: usize) -> Result<Self, TableError> {
        let count = capacity / LOAD + 1;
        Ok(Self {
            buckets: Lines::new(count).ok_or(TableError::OutOfMemory)?,
            filled: AtomicUsize::new(0),
            limit: count * LOAD,
        })
    }

    /// The line where the search for `hash` begins.
    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> usize {
        home(hash, self.buckets.len())
    }

    #[inline(always)]
    pub(super) fn line(&self, index: usize) -> *const u8 {
        self.buckets.as_ptr().wrapping_add(index).cast()
    }

    /// The value of `key`, or [`NONE`]. Wait-free.
    #[inline(always)]
    pub(super) fn find(&self, start: usize, key: u64) -> u32 {
        match self.slot(start, key) {
            // Acquire: what the writer did before it set the value is visible to who got it.
            Ok((index, slot)) => self.buckets[index].values[slot].load(Ordering::Acquire),
            Err(_) => NONE,
        }
    }

    /// Line and slot of `key`, or the line where the search ended.
    #[inline(always)]
    fn slot(&self, start: usize, key: u64) -> Result<(usize, usize), usize> {
        let mut index = start;
        loop {
            let bucket = &self.buckets[index];
            // Acquire pairs with the Release in `insert`: these keys are there, and stay.
            let used = bucket.used.load(Ordering::Acquire);
            let mut hits = 0_u32;
            for (slot, candidate) in bucket.keys.iter().enumerate() {
                hits |= u32::from(candidate.load(Ordering::Relaxed) == key) << slot;
            }
            // A slot beyond `used` may be half filled: it does not count.
            hits &= (1 << used) - 1;
            if hits != 0 {
                return Ok((index, hits.trailing_zeros() as usize));
            }
            if (used as usize) < SLOTS {
                return Err(index);
            }
            index = if index + 1 == self.buckets.len() {
                0
            } else {
                index + 1
            };
        }
    }

    /// Sets the value of `key`. One writer at a time.
    pub(super) fn insert(&self, hash: u64, key: u64, value: u32) -> Inserted {
        let index = match self.slot(self.home(hash), key) {
            Ok((index, slot)) => {
                return Inserted::Before(
                    self.buckets[index].values[slot].swap(value, Ordering::AcqRel),
                );
            }
            Err(index) => index,
        };
        let filled = self.filled.load(Ordering::Relaxed);
        if filled == self.limit {
            return Inserted::Full;
        }
        self.filled.store(filled + 1, Ordering::Relaxed);
        let bucket = &self.buckets[index];
        let used = bucket.used.load(Ordering::Relaxed);
        bucket.keys[used as usize].store(key, Ordering::Relaxed);
        bucket.values[used as usize].store(value, Ordering::Relaxed);
        // Release: a reader that counts this slot sees its key and value.
        bucket.used.store(used + 1, Ordering::Release);
        Inserted::Before(NONE)
    }

    /// Empties the value of `key` and returns it, or [`NONE`]. One writer at a time.
    pub(super) fn remove(&self, hash: u64, key: u64) -> u32 {
        match self.slot(self.home(hash), key) {
            Ok((index, slot)) => self.buckets[index].values[slot].swap(NONE, Ordering::AcqRel),
            Err(_) => NONE,
        }
    }

    /// The same keys, without those removed, in a generation with room for `capacity`.
    pub(super) fn rebuilt(
        &self,
        capacity: usize,
        hasher: &impl KeyHasher,
    ) -> Result<Self, TableError> {
        let next = Self::new(capacity)?;
        for bucket in self.buckets.iter() {
            for slot in 0..bucket.used.load(Ordering::Relaxed) as usize {
                let value = bucket.values[slot].load(Ordering::Relaxed);
                if value != NONE {
                    let key = bucket.keys[slot].load(Ordering::Relaxed);
                    let inserted = next.insert(hasher.number(key), key, value);
                    debug_assert!(
                        matches!(inserted, Inserted::Before(NONE)),
                        "capacity covers the live keys"
                    );
                }
            }
        }
        Ok(next)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buckets.bytes()
    }
}
