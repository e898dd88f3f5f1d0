//! The bytes of a ring: a power of two of them, read and written in pieces that may wrap.

use alloc::{boxed::Box, vec::Vec};

use super::record::RingError;
use crate::sync::UnsafeCell;

/// Bytes shared by a producer and a consumer that never touch the same ones at the same time.
pub(super) struct Storage {
    bytes: Box<[UnsafeCell<u8>]>,
}

// SAFETY: callers of `read` and `write` promise that no two threads access one byte at the same time.
unsafe impl Sync for Storage {}

impl Storage {
    /// `capacity` must be a power of two.
    pub(super) fn new(capacity: usize) -> Result<Self, RingError> {
        debug_assert!(capacity.is_power_of_two());
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(capacity)
            .map_err(|_| RingError::OutOfMemory)?;
        bytes.extend((0..capacity).map(|_| UnsafeCell::new(0)));
        Ok(Self {
            bytes: bytes.into_boxed_slice(),
        })
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Copies `from` to position `at`.
    ///
    /// # Safety
    /// Nobody else may access these bytes meanwhile. `from` is not longer than the capacity.
    #[inline]
    pub(super) unsafe fn write(&self, at: usize, from: &[u8]) {
        let (first, second) = from.split_at(
            from.len()
                .min(self.capacity() - (at & (self.capacity() - 1))),
        );
        for (start, piece) in [(at & (self.capacity() - 1), first), (0, second)] {
            #[cfg(not(loom))]
            if !piece.is_empty() {
                // SAFETY: start + piece.len() ≤ capacity by the split; the cells are contiguous bytes
                // (`repr(transparent)`); exclusive access is the caller's promise.
                unsafe {
                    let to = self.bytes.as_ptr().cast::<u8>().cast_mut().add(start);
                    core::ptr::copy_nonoverlapping(piece.as_ptr(), to, piece.len());
                }
            }
            #[cfg(loom)]
            for (offset, byte) in piece.iter().enumerate() {
                // SAFETY: exclusive access is the caller's promise; loom checks it here.
                self.bytes[start + offset].with_mut(|cell| unsafe { *cell = *byte });
            }
        }
    }

    /// Copies from position `at` to `out`.
    ///
    /// # Safety
    /// Nobody may write these bytes meanwhile. `out` is not longer than the capacity.
    #[inline]
    pub(super) unsafe fn read(&self, at: usize, out: &mut [u8]) {
        let whole = out
            .len()
            .min(self.capacity() - (at & (self.capacity() - 1)));
        let (first, second) = out.split_at_mut(whole);
        for (start, piece) in [(at & (self.capacity() - 1), first), (0, second)] {
            #[cfg(not(loom))]
            if !piece.is_empty() {
                // SAFETY: as in `write`.
                unsafe {
                    let from = self.bytes.as_ptr().cast::<u8>().add(start);
                    core::ptr::copy_nonoverlapping(from, piece.as_mut_ptr(), piece.len());
                }
            }
            #[cfg(loom)]
            for (offset, byte) in piece.iter_mut().enumerate() {
                // SAFETY: no writer is the caller's promise; loom checks it here.
                *byte = self.bytes[start + offset].with(|cell| unsafe { *cell });
            }
        }
    }
}

impl core::fmt::Debug for Storage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Storage")
            .field("capacity", &self.capacity())
            .finish()
    }
}
