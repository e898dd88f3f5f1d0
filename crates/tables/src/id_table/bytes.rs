//! One generation of the byte keys' half: eight references with fingerprints to a line, and the keys in an arena.

use super::{NONE, TableError, hash::KeyHasher, numbers::Inserted};
use crate::lines::{Lines, Zeroed, home};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

const SLOTS: usize = 8;
/// Keys to a line, on average, in a full generation.
const LOAD: usize = 5;

/// One line of entries `fingerprint << 32 | record`; 0 is free. Entries fill from the front and stay.
#[derive(Debug)]
#[repr(C, align(64))]
struct Bucket {
    entries: [AtomicU64; SLOTS],
}

// SAFETY: integers.
unsafe impl Zeroed for Bucket {}

/// A word of the arena. Records are `value, length, bytes…`, padded to a word, and are named by their first word.
/// Only the value ever changes once the record has been published.
#[derive(Debug)]
#[repr(transparent)]
struct Word(AtomicU32);

// SAFETY: an integer.
unsafe impl Zeroed for Word {}

const HEADER_WORDS: usize = 2;
/// Most words: a reference has 32 bits.
const MAX_WORDS: usize = u32::MAX as usize;
/// Room for keys that a growing generation adds, words.
const SPARE_WORDS: usize = 1024;

#[derive(Debug)]
pub(super) struct Keys {
    buckets: Lines<Bucket>,
    arena: Lines<Word>,
    /// Slots filled, removed keys included. Only writers use it, and the next two.
    filled: AtomicUsize,
    /// Words used; word 0 is nobody's, so no entry is 0.
    words: AtomicUsize,
    /// Words of removed keys.
    dead_words: AtomicUsize,
    limit: usize,
}

impl Keys {
    /// Room for `capacity` keys that take `words` together.
    fn new(capacity: usize, words: usize) -> Result<Self, TableError> {
        if words > MAX_WORDS {
            return Err(TableError::KeyBytes {
                limit: MAX_WORDS * 4,
            });
        }
        let count = capacity / LOAD + 1;
        Ok(Self {
            buckets: Lines::new(count).ok_or(TableError::OutOfMemory)?,
            arena: Lines::new(words + 1).ok_or(TableError::OutOfMemory)?,
            filled: AtomicUsize::new(0),
            words: AtomicUsize::new(1),
            dead_words: AtomicUsize::new(0),
            // Fewer than there are entries, so that a search ends.
            limit: count * LOAD,
        })
    }

    pub(super) fn empty() -> Result<Self, TableError> {
        Self::new(0, 0)
    }

    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> usize {
        home(hash, self.buckets.len())
    }

    #[inline(always)]
    pub(super) fn line(&self, index: usize) -> *const u8 {
        self.buckets.as_ptr().wrapping_add(index).cast()
    }

    /// The record that `hash` most likely means, to be asked for early. Its first line if nothing fits.
    #[inline(always)]
    pub(super) fn likely_record(&self, start: usize, hash: u64) -> *const u8 {
        let mut record = 0;
        for entry in &self.buckets[start].entries {
            let entry = entry.load(Ordering::Relaxed);
            if entry >> 32 == hash & 0xFFFF_FFFF {
                record = entry as u32 as usize;
            }
        }
        self.arena.as_ptr().wrapping_add(record).cast()
    }

    /// The value of `key`, or [`NONE`]. Wait-free.
    #[inline(always)]
    pub(super) fn find(&self, start: usize, hash: u64, key: &[u8]) -> u32 {
        match self.record(start, hash, key) {
            // Acquire: what the writer did before it set the value is visible to who got it.
            Ok(record) => self.arena[record].0.load(Ordering::Acquire),
            Err(_) => NONE,
        }
    }

    /// The record of `key`, or the free entry (line, slot) where the search ended.
    #[inline(always)]
    fn record(&self, start: usize, hash: u64, key: &[u8]) -> Result<usize, (usize, usize)> {
        let mut index = start;
        loop {
            for (slot, entry) in self.buckets[index].entries.iter().enumerate() {
                // Acquire pairs with the Release in `insert`: the record is whole.
                let entry = entry.load(Ordering::Acquire);
                if entry == 0 {
                    return Err((index, slot));
                }
                // A fingerprint only saves looking at the key; the bytes decide.
                if entry >> 32 == hash & 0xFFFF_FFFF && self.key(entry as u32 as usize) == key {
                    return Ok(entry as u32 as usize);
                }
            }
            index = if index + 1 == self.buckets.len() {
                0
            } else {
                index + 1
            };
        }
    }

    /// Bytes of a published record.
    #[inline(always)]
    fn key(&self, record: usize) -> &[u8] {
        let length = self.arena[record + 1].0.load(Ordering::Relaxed) as usize;
        let words = &self.arena[record + HEADER_WORDS..][..length.div_ceil(4)];
        // SAFETY: `length` bytes inside `words`. They were written before the entry was published (Release) that gave us
        // `record` (Acquire), and are not written again in this generation, so a plain slice of them is sound.
        unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), length) }
    }

    /// Words that a key takes.
    pub(super) fn words_of(key: &[u8]) -> usize {
        HEADER_WORDS + key.len().div_ceil(4)
    }

    /// Sets the value of `key`. One writer at a time.
    pub(super) fn insert(&self, hash: u64, key: &[u8], value: u32) -> Inserted {
        let (index, slot) = match self.record(self.home(hash), hash, key) {
            Ok(record) => {
                let before = self.arena[record].0.swap(value, Ordering::AcqRel);
                if before == NONE {
                    self.dead_words
                        .fetch_sub(Self::words_of(key), Ordering::Relaxed);
                }
                return Inserted::Before(before);
            }
            Err(free) => free,
        };
        let (filled, record) = (
            self.filled.load(Ordering::Relaxed),
            self.words.load(Ordering::Relaxed),
        );
        let end = record + Self::words_of(key);
        if filled == self.limit || end > self.arena.len() {
            return Inserted::Full;
        }
        self.filled.store(filled + 1, Ordering::Relaxed);
        self.words.store(end, Ordering::Relaxed);
        // Relaxed stores: nobody knows of the record yet.
        self.arena[record].0.store(value, Ordering::Relaxed);
        self.arena[record + 1]
            .0
            .store(key.len() as u32, Ordering::Relaxed);
        for (word, bytes) in self.arena[record + HEADER_WORDS..end]
            .iter()
            .zip(key.chunks(4))
        {
            let mut padded = [0; 4];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.0.store(u32::from_ne_bytes(padded), Ordering::Relaxed);
        }
        // Release: a reader that finds the entry sees the whole record.
        self.buckets[index].entries[slot].store(hash << 32 | record as u64, Ordering::Release);
        Inserted::Before(NONE)
    }

    /// Empties the value of `key` and returns it, or [`NONE`]. One writer at a time.
    pub(super) fn remove(&self, hash: u64, key: &[u8]) -> u32 {
        let Ok(record) = self.record(self.home(hash), hash, key) else {
            return NONE;
        };
        let before = self.arena[record].0.swap(NONE, Ordering::AcqRel);
        if before != NONE {
            self.dead_words
                .fetch_add(Self::words_of(key), Ordering::Relaxed);
        }
        before
    }

    /// The same keys, without those removed, in a generation with room for `capacity` keys and `more` words.
    pub(super) fn rebuilt(
        &self,
        capacity: usize,
        more: usize,
        hasher: &impl KeyHasher,
    ) -> Result<Self, TableError> {
        let live = self.words.load(Ordering::Relaxed) - self.dead_words.load(Ordering::Relaxed);
        let least = live + more;
        let next = Self::new(
            capacity,
            (least + live + SPARE_WORDS).min(MAX_WORDS).max(least),
        )?;
        for bucket in self.buckets.iter() {
            for entry in &bucket.entries {
                let record = entry.load(Ordering::Relaxed) as u32 as usize;
                if record != 0 {
                    let value = self.arena[record].0.load(Ordering::Relaxed);
                    if value != NONE {
                        let key = self.key(record);
                        let inserted = next.insert(hasher.bytes(key), key, value);
                        debug_assert!(
                            matches!(inserted, Inserted::Before(NONE)),
                            "room for the live keys"
                        );
                    }
                }
            }
        }
        Ok(next)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buckets.bytes() + self.arena.bytes()
    }
}
