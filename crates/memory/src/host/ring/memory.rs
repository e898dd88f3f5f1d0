//! The memory under a ring.

use std::sync::atomic::Ordering;

/// A word of a ring's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Free-running position after the last published byte; the producer stores it.
    Tail,
    /// Free-running position of the first byte that is not released; the consumer stores it.
    Head,
    /// Not 0 while the consumer sleeps; both exchange it.
    Asleep,
}

/// Three words and `capacity` bytes that another process may change at any time.
///
/// Nothing here is unsafe to call: an implementation checks its own bounds.
pub trait RingMemory {
    /// Bytes of the ring: a power of two, at least 16, constant.
    fn capacity(&self) -> u32;

    /// Loads a header word.
    fn load(&self, word: Word, order: Ordering) -> u32;

    /// Stores a header word.
    fn store(&self, word: Word, value: u32, order: Ordering);

    /// Exchanges a header word.
    fn swap(&self, word: Word, value: u32, order: Ordering) -> u32;

    /// A sequentially consistent fence.
    fn fence(&self);

    /// Copies `bytes` to the ring at `at`, word by word.
    ///
    /// # Panics
    /// Unless `at + bytes.len() <= capacity`.
    fn write(&self, at: u32, bytes: &[u8]);

    /// Copies from the ring at `at` into `bytes`, word by word. Torn and nonsensical content is possible.
    ///
    /// # Panics
    /// Unless `at + bytes.len() <= capacity`.
    fn read(&self, at: u32, bytes: &mut [u8]);
}
