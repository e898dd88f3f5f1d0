//! Where the two rings of a channel lie in its memory.
//!
//! First page: the words of ring 0 (acceptor to connector) and of ring 1 (back), each on 128 bytes of its own, because x86
//! fetches lines in pairs. Then the bytes of ring 0, then those of ring 1.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering, fence},
};

use super::{
    mapping::{Mapping, PAGE},
    ring::{RingMemory, Word},
};
use crate::region::copy::{copy_in, copy_out};

/// Smallest and largest ring, bytes; the limits of a lane between threads.
pub(super) const MIN_RING_BYTES: u32 = 4 << 10;
pub(super) const MAX_RING_BYTES: u32 = 64 << 20;

const LINE: usize = 128;
const WORDS: usize = 3;
const _: () = assert!(2 * WORDS * LINE <= PAGE);

/// Which way frames go in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    FromAcceptor = 0,
    FromConnector = 1,
}

/// True for a ring size that a channel may have.
pub(super) fn is_ring_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (MIN_RING_BYTES..=MAX_RING_BYTES).contains(&bytes)
}

/// Bytes of the memory of a channel.
pub(super) fn channel_bytes(ring_bytes: u32) -> usize {
    PAGE + 2 * ring_bytes as usize
}

/// One of the two rings.
#[derive(Debug)]
pub(super) struct MappedRing {
    mapping: Arc<Mapping>,
    direction: Direction,
    capacity: u32,
}

impl MappedRing {
    /// # Panics
    /// Unless `mapping` holds a channel with rings of `capacity`.
    pub(super) fn new(mapping: Arc<Mapping>, direction: Direction, capacity: u32) -> Self {
        assert!(is_ring_size(capacity) && mapping.len() >= channel_bytes(capacity));
        Self {
            mapping,
            direction,
            capacity,
        }
    }

    /// First byte of the ring, 64-byte aligned, `capacity` bytes, valid while this value lives.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        let offset = PAGE + self.direction as usize * self.capacity as usize;
        // SAFETY: inside the mapping: `new` has checked its length.
        unsafe { self.mapping.as_ptr().add(offset) }
    }

    #[inline]
    fn word(&self, word: Word) -> &AtomicU32 {
        let line = self.direction as usize * WORDS + word as usize;
        // SAFETY: inside the first page, aligned, lives as long as self; all processes access it by atomics.
        unsafe { AtomicU32::from_ptr(self.mapping.as_ptr().add(line * LINE).cast()) }
    }

    fn check(&self, at: u32, length: usize) {
        assert!(
            at as usize + length <= self.capacity as usize,
            "a ring of {} bytes has no {length} bytes at {at}",
            self.capacity
        );
    }
}

impl RingMemory for MappedRing {
    #[inline]
    fn capacity(&self) -> u32 {
        self.capacity
    }

    #[inline]
    fn load(&self, word: Word, order: Ordering) -> u32 {
        self.word(word).load(order)
    }

    #[inline]
    fn store(&self, word: Word, value: u32, order: Ordering) {
        self.word(word).store(value, order);
    }

    #[inline]
    fn swap(&self, word: Word, value: u32, order: Ordering) -> u32 {
        self.word(word).swap(value, order)
    }

    #[inline]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    #[inline]
    fn write(&self, at: u32, bytes: &[u8]) {
        self.check(at, bytes.len());
        // SAFETY: inside the ring by the check above; processes access it by atomics.
        unsafe { copy_in(bytes, self.as_ptr().add(at as usize)) };
    }

    #[inline]
    fn read(&self, at: u32, bytes: &mut [u8]) {
        self.check(at, bytes.len());
        // SAFETY: as in `write`.
        unsafe { copy_out(self.as_ptr().add(at as usize), bytes) };
    }
}
