//! The table that others see: both halves, growth, limits.

use super::{
    NONE, TableError,
    bytes::Keys,
    hash::{KeyHasher, SeededHasher},
    numbers::{Inserted, Numbers},
};
use crate::{
    epoch::{Domain, Guard, Snapshot},
    lines::prefetch,
    sync::{AtomicUsize, Mutex, Ordering},
};

/// Keys of a batch whose lines are on their way at the same time.
const PIPELINE: usize = 32;

/// Id → `u32`, shared by any number of threads. How it works: one 64-byte line per bucket.
///
/// Reads are wait-free, whatever a writer does meanwhile; they take a [`Guard`] of [`Domain::global`]. Writers take
/// turns. Growth builds a new generation beside the old one: for that time the table takes up to three times its
/// memory, and the writer takes some 20 ns a key.
///
/// # Limits
/// Byte keys of 1..=65,536 bytes, 2^28 keys, 16 GiB of byte keys, values 0..=`0xFFFF_FFFE`.
#[derive(Debug)]
pub struct FingerprintedIdTable {
    core: Core<SeededHasher>,
}

#[derive(Debug)]
struct Core<H> {
    hasher: H,
    numbers: Snapshot<Numbers>,
    keys: Snapshot<Keys>,
    /// Room that a half is given with its first key.
    capacity: usize,
    counts: Mutex<Counts>,
    /// Sums of `counts`, for readers.
    live: AtomicUsize,
    memory: AtomicUsize,
}

/// Live keys of each half. Whoever holds this is the writer.
#[derive(Debug, Default)]
struct Counts {
    numbers: usize,
    keys: usize,
}

impl FingerprintedIdTable {
    /// Longest byte key, bytes.
    pub const MAX_KEY_BYTES: usize = 65_536;
    /// Most keys, numbers and byte keys together.
    pub const MAX_KEYS: usize = 1 << 28;

    /// A table that takes `capacity` keys of one kind without growing. Memory comes with the first key.
    ///
    /// # Errors
    /// [`TableError::Capacity`] beyond 2^28, [`TableError::OutOfMemory`].
    pub fn with_capacity(capacity: usize) -> Result<Self, TableError> {
        Ok(Self {
            core: Core::new(capacity, SeededHasher::new())?,
        })
    }

    /// Sets the value of a byte key; returns the value it had.
    ///
    /// # Errors
    /// [`TableError`]; nothing has changed then.
    pub fn insert_bytes(&self, key: &[u8], value: u32) -> Result<Option<u32>, TableError> {
        self.core.insert_bytes(key, value)
    }

    /// Sets the value of a number; returns the value it had.
    ///
    /// # Errors
    /// [`TableError`]; nothing has changed then.
    pub fn insert_u64(&self, key: u64, value: u32) -> Result<Option<u32>, TableError> {
        self.core.insert_u64(key, value)
    }

    /// Removes a byte key; returns the value it had.
    pub fn remove_bytes(&self, key: &[u8]) -> Option<u32> {
        self.core.remove_bytes(key)
    }

    /// Removes a number; returns the value it had.
    pub fn remove_u64(&self, key: u64) -> Option<u32> {
        self.core.remove_u64(key)
    }

    /// Value of a byte key. Two lines of memory and a compare of the bytes.
    #[inline]
    pub fn get_bytes(&self, key: &[u8], guard: &Guard<'_>) -> Option<u32> {
        some(self.core.get_bytes(key, guard))
    }

    /// Value of a number. One line of memory.
    #[inline]
    pub fn get_u64(&self, key: u64, guard: &Guard<'_>) -> Option<u32> {
        some(self.core.get_u64(key, guard))
    }

    /// Writes one value per key to `out`, `0xFFFF_FFFF` for none; returns how many keys were found.
    ///
    /// # Panics
    /// When `out` is shorter than `keys`.
    #[inline]
    pub fn get_many_u64(&self, keys: &[u64], out: &mut [u32], guard: &Guard<'_>) -> usize {
        self.core.get_many(keys, out, guard)
    }

    /// As [`get_many_u64`](Self::get_many_u64); the keys are the same numbers in 32 bits.
    ///
    /// # Panics
    /// When `out` is shorter than `keys`.
    #[inline]
    pub fn get_many_u32(&self, keys: &[u32], out: &mut [u32], guard: &Guard<'_>) -> usize {
        self.core.get_many(keys, out, guard)
    }

    /// As [`get_many_u64`](Self::get_many_u64), for byte keys. A key outside the limits is not found.
    ///
    /// # Panics
    /// When `out` is shorter than `keys`.
    #[inline]
    pub fn get_many_bytes(&self, keys: &[&[u8]], out: &mut [u32], guard: &Guard<'_>) -> usize {
        self.core.get_many_bytes(keys, out, guard)
    }

    /// Keys. A moment's truth when a writer is at work.
    pub fn len(&self) -> usize {
        self.core.live.load(Ordering::Relaxed)
    }

    /// True when there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of the current generation, bytes: reserved, not necessarily touched.
    pub fn memory_bytes(&self) -> usize {
        self.core.memory.load(Ordering::Relaxed) + size_of::<Self>()
    }
}

fn some(value: u32) -> Option<u32> {
    (value != NONE).then_some(value)
}

impl<H: KeyHasher> Core<H> {
    fn new(capacity: usize, hasher: H) -> Result<Self, TableError> {
        if capacity > FingerprintedIdTable::MAX_KEYS {
            return Err(TableError::Capacity {
                limit: FingerprintedIdTable::MAX_KEYS,
            });
        }
        let (numbers, keys) = (Numbers::new(0)?, Keys::empty()?);
        let memory = numbers.memory_bytes() + keys.memory_bytes();
        Ok(Self {
            hasher,
            numbers: Snapshot::new_in(Domain::global(), numbers),
            keys: Snapshot::new_in(Domain::global(), keys),
            capacity,
            counts: Mutex::new(Counts::default()),
            live: AtomicUsize::new(0),
            memory: AtomicUsize::new(memory),
        })
    }

    /// Room for the next generation of a half: twice what lives, and no less than was asked for at first.
    fn next_capacity(&self, live: usize) -> usize {
        (live * 2)
            .clamp(16, FingerprintedIdTable::MAX_KEYS)
            .max(self.capacity)
    }

    fn insert_u64(&self, key: u64, value: u32) -> Result<Option<u32>, TableError> {
        if value == NONE {
            return Err(TableError::ValueReserved);
        }
        let mut counts = self.counts.lock();
        let hash = self.hasher.number(key);
        let mut numbers = self.numbers.write();
        loop {
            // Before anything is changed: a key that is new must be within the limit.
            if self.live.load(Ordering::Relaxed) >= FingerprintedIdTable::MAX_KEYS
                && numbers.find(numbers.home(hash), key) == NONE
            {
                return Err(TableError::Capacity {
                    limit: FingerprintedIdTable::MAX_KEYS,
                });
            }
            match numbers.insert(hash, key, value) {
                Inserted::Before(before) => {
                    if before == NONE {
                        counts.numbers += 1;
                        self.live
                            .store(counts.numbers + counts.keys, Ordering::Relaxed);
                    }
                    return Ok(some(before));
                }
                Inserted::Full => {
                    let next = numbers.rebuilt(self.next_capacity(counts.numbers), &self.hasher)?;
                    self.account(numbers.memory_bytes(), next.memory_bytes());
                    numbers.publish(next);
                }
            }
        }
    }

    fn insert_bytes(&self, key: &[u8], value: u32) -> Result<Option<u32>, TableError> {
        check(key)?;
        if value == NONE {
            return Err(TableError::ValueReserved);
        }
        let mut counts = self.counts.lock();
        let hash = self.hasher.bytes(key);
        let mut keys = self.keys.write();
        loop {
            if self.live.load(Ordering::Relaxed) >= FingerprintedIdTable::MAX_KEYS
                && keys.find(keys.home(hash), hash, key) == NONE
            {
                return Err(TableError::Capacity {
                    limit: FingerprintedIdTable::MAX_KEYS,
                });
            }
            match keys.insert(hash, key, value) {
                Inserted::Before(before) => {
                    if before == NONE {
                        counts.keys += 1;
                        self.live
                            .store(counts.numbers + counts.keys, Ordering::Relaxed);
                    }
                    return Ok(some(before));
                }
                Inserted::Full => {
                    let capacity = self.next_capacity(counts.keys);
                    let next = keys.rebuilt(capacity, Keys::words_of(key), &self.hasher)?;
                    self.account(keys.memory_bytes(), next.memory_bytes());
                    keys.publish(next);
                }
            }
        }
    }

    fn remove_u64(&self, key: u64) -> Option<u32> {
        let mut counts = self.counts.lock();
        let before = some(self.numbers.write().remove(self.hasher.number(key), key))?;
        counts.numbers -= 1;
        self.live
            .store(counts.numbers + counts.keys, Ordering::Relaxed);
        Some(before)
    }

    fn remove_bytes(&self, key: &[u8]) -> Option<u32> {
        check(key).ok()?;
        let mut counts = self.counts.lock();
        let before = some(self.keys.write().remove(self.hasher.bytes(key), key))?;
        counts.keys -= 1;
        self.live
            .store(counts.numbers + counts.keys, Ordering::Relaxed);
        Some(before)
    }

    /// The writer replaces one generation by another.
    fn account(&self, old: usize, new: usize) {
        let memory = self.memory.load(Ordering::Relaxed) - old + new;
        self.memory.store(memory, Ordering::Relaxed);
    }

    #[inline]
    fn get_u64(&self, key: u64, guard: &Guard<'_>) -> u32 {
        let numbers = self.numbers.load(guard);
        numbers.find(numbers.home(self.hasher.number(key)), key)
    }

    #[inline]
    fn get_bytes(&self, key: &[u8], guard: &Guard<'_>) -> u32 {
        let keys = self.keys.load(guard);
        let hash = self.hasher.bytes(key);
        keys.find(keys.home(hash), hash, key)
    }

    #[inline]
    fn get_many<K: Copy + Into<u64>>(
        &self,
        keys: &[K],
        out: &mut [u32],
        guard: &Guard<'_>,
    ) -> usize {
        assert!(out.len() >= keys.len(), "one place in `out` for each key");
        let numbers = self.numbers.load(guard);
        let mut homes = [0; PIPELINE];
        let mut found = 0;
        for (keys, out) in keys.chunks(PIPELINE).zip(out.chunks_mut(PIPELINE)) {
            for (home, key) in homes.iter_mut().zip(keys) {
                *home = numbers.home(self.hasher.number((*key).into()));
                prefetch(numbers.line(*home));
            }
            for ((home, key), out) in homes.iter().zip(keys).zip(out) {
                *out = numbers.find(*home, (*key).into());
                found += usize::from(*out != NONE);
            }
        }
        found
    }

    #[inline]
    fn get_many_bytes(&self, keys: &[&[u8]], out: &mut [u32], guard: &Guard<'_>) -> usize {
        assert!(out.len() >= keys.len(), "one place in `out` for each key");
        let table = self.keys.load(guard);
        let (mut hashes, mut homes) = ([0; PIPELINE], [0; PIPELINE]);
        let mut found = 0;
        for (keys, out) in keys.chunks(PIPELINE).zip(out.chunks_mut(PIPELINE)) {
            for ((hash, home), key) in hashes.iter_mut().zip(&mut homes).zip(keys) {
                *hash = self.hasher.bytes(key);
                *home = table.home(*hash);
                prefetch(table.line(*home));
            }
            for (hash, home) in hashes.iter().zip(&homes).take(keys.len()) {
                prefetch(table.likely_record(*home, *hash));
            }
            for (((hash, home), key), out) in hashes.iter().zip(&homes).zip(keys).zip(out) {
                *out = table.find(*home, *hash, key);
                found += usize::from(*out != NONE);
            }
        }
        found
    }
}

fn check(key: &[u8]) -> Result<(), TableError> {
    let limit = FingerprintedIdTable::MAX_KEY_BYTES;
    match key.len() {
        0 => Err(TableError::KeyEmpty),
        length if length > limit => Err(TableError::KeyTooLong { length, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an attacker dreams of.
    #[derive(Debug)]
    struct Constant;

    impl KeyHasher for Constant {
        fn number(&self, _: u64) -> u64 {
            0x1234_5678_9abc_def0
        }
        fn bytes(&self, _: &[u8]) -> u64 {
            0x1234_5678_9abc_def0
        }
    }

    #[test]
    fn colliding_keys_get_their_own_answers() {
        let table = Core::new(0, Constant).unwrap();
        let reader = Domain::global().register();
        let text = |number: u64| alloc::format!("key-{number}");
        for number in 0..2_000 {
            table.insert_u64(number * 7, number as u32).unwrap();
            table
                .insert_bytes(text(number).as_bytes(), !number as u32 - 1)
                .unwrap();
        }
        for number in (0..2_000).step_by(3) {
            assert_eq!(table.remove_u64(number * 7), Some(number as u32));
            assert_eq!(
                table.remove_bytes(text(number).as_bytes()),
                Some(!number as u32 - 1)
            );
        }
        let guard = reader.pin();
        for number in 0..2_000 {
            let there = number % 3 != 0;
            assert_eq!(
                some(table.get_u64(number * 7, &guard)),
                there.then_some(number as u32)
            );
            assert_eq!(table.get_u64(number * 7 + 1, &guard), NONE);
            assert_eq!(
                some(table.get_bytes(text(number).as_bytes(), &guard)),
                there.then_some(!number as u32 - 1)
            );
            assert_eq!(
                table.get_bytes(text(number + 2_000).as_bytes(), &guard),
                NONE
            );
        }
        let keys: Vec<u64> = (0..14_000).collect();
        let mut out = alloc::vec![0; keys.len()];
        assert_eq!(table.get_many(&keys, &mut out, &guard), 1_333);
        for (key, value) in keys.iter().zip(out) {
            let there = key % 7 == 0 && key / 7 % 3 != 0;
            assert_eq!(some(value), there.then_some((key / 7) as u32));
        }
    }

    #[test]
    fn churn_does_not_grow_the_table() {
        let table = FingerprintedIdTable::with_capacity(100).unwrap();
        for round in 0..100_000_u64 {
            table.insert_u64(round, 1).unwrap();
            table.insert_bytes(&round.to_le_bytes(), 1).unwrap();
            if round >= 50 {
                table.remove_u64(round - 50);
                table.remove_bytes(&(round - 50).to_le_bytes());
            }
        }
        assert_eq!(table.len(), 100);
        assert!(table.memory_bytes() < 40_000, "{}", table.memory_bytes());
    }
}
