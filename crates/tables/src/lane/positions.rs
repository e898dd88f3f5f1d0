//! A single-producer single-consumer byte lane: memory and two positions.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;

use crate::sync::{AtomicU32, CachePadded, Ordering};

/// A byte ring that another language writes and reads in place.
///
/// Positions are free-running: a position's byte is at `position & (capacity - 1)`, and the capacity divides 2^32.
/// Bytes in `[head, tail)` are the consumer's, all others the producer's. The producer fills its bytes and calls
/// [`commit`](Self::commit); the consumer reads up to [`tail`](Self::tail) and calls [`release`](Self::release).
///
/// Only one thread at a time may call `commit`, and one `release`. A second one breaks the order of the frames, never
/// memory: the lane itself does not touch the bytes.
#[derive(Debug)]
pub struct Lane {
    buffer: NonNull<u8>,
    capacity: u32,
    tail: CachePadded<AtomicU32>,
    head: CachePadded<AtomicU32>,
}

/// Why a lane refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneError {
    /// Not a power of two, or outside 4 KiB..=64 MiB.
    Capacity {
        /// What was asked for.
        capacity: usize,
    },
    /// The allocator has no memory for this capacity.
    OutOfMemory,
    /// The tail runs backwards or over bytes that the consumer has not released.
    TailOutOfRange {
        /// What was committed.
        tail: u32,
        /// The last good tail.
        current: u32,
        /// How many bytes it may advance.
        room: u32,
    },
    /// The head runs backwards or past the tail.
    HeadOutOfRange {
        /// What was released.
        head: u32,
        /// The last good head.
        current: u32,
        /// How many bytes it may advance.
        filled: u32,
    },
}

impl core::fmt::Display for LaneError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Capacity { capacity } => {
                write!(
                    f,
                    "lane capacity {capacity} is not a power of two in {}..={}",
                    Lane::MIN_BYTES,
                    Lane::MAX_BYTES
                )
            }
            Self::OutOfMemory => f.write_str("no memory for the lane"),
            Self::TailOutOfRange {
                tail,
                current,
                room,
            } => {
                write!(f, "tail {tail} is not within {room} bytes after {current}")
            }
            Self::HeadOutOfRange {
                head,
                current,
                filled,
            } => {
                write!(
                    f,
                    "head {head} is not within {filled} bytes after {current}"
                )
            }
        }
    }
}

impl core::error::Error for LaneError {}

// SAFETY: the buffer is plain memory that the lane owns; the lane never accesses it, and whoever does (through
// `as_ptr`) answers for it. The positions are atomics.
unsafe impl Send for Lane {}
// SAFETY: as above.
unsafe impl Sync for Lane {}

impl Lane {
    /// Smallest capacity, bytes.
    pub const MIN_BYTES: usize = 4 << 10;
    /// Largest capacity, bytes.
    pub const MAX_BYTES: usize = 64 << 20;
    const ALIGN: usize = 64;

    /// An empty lane. `capacity`: a power of two, 4 KiB..=64 MiB. The memory is zeroed and committed on first use.
    ///
    /// # Errors
    /// [`LaneError::Capacity`], [`LaneError::OutOfMemory`].
    pub fn new(capacity: usize) -> Result<Self, LaneError> {
        if !capacity.is_power_of_two() || !(Self::MIN_BYTES..=Self::MAX_BYTES).contains(&capacity) {
            return Err(LaneError::Capacity { capacity });
        }
        // SAFETY: the layout has a size greater than 0.
        let buffer = NonNull::new(unsafe { alloc_zeroed(Self::layout(capacity)) })
            .ok_or(LaneError::OutOfMemory)?;
        Ok(Self {
            buffer,
            capacity: capacity as u32,
            tail: CachePadded(AtomicU32::new(0)),
            head: CachePadded(AtomicU32::new(0)),
        })
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, Self::ALIGN)
            .expect("at most 64 MiB, aligned to a power of two")
    }

    /// First byte of the buffer: 64-byte aligned, [`capacity`](Self::capacity) bytes, valid while the lane lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.buffer.as_ptr()
    }

    /// Size of the buffer, bytes.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Gives the bytes up to `tail` to the consumer. Returns the head, so that the producer knows its room.
    ///
    /// # Errors
    /// [`LaneError::TailOutOfRange`].
    #[inline]
    pub fn commit(&self, tail: u32) -> Result<u32, LaneError> {
        // Acquire pairs with `release`: the consumer's reads of the bytes that we now may overwrite are over.
        let head = self.head.load(Ordering::Acquire);
        // Relaxed: only the producer stores it.
        let current = self.tail.load(Ordering::Relaxed);
        let room = self.capacity.saturating_sub(current.wrapping_sub(head));
        if tail.wrapping_sub(current) > room {
            return Err(LaneError::TailOutOfRange {
                tail,
                current,
                room,
            });
        }
        // Release: the frames are whole before the consumer sees the tail.
        self.tail.store(tail, Ordering::Release);
        Ok(head)
    }

    /// Position after the last committed byte. Everything before it is whole.
    #[inline]
    pub fn tail(&self) -> u32 {
        self.tail.load(Ordering::Acquire)
    }

    /// Position of the first byte that is not yet released.
    #[inline]
    pub fn head(&self) -> u32 {
        self.head.load(Ordering::Acquire)
    }

    /// Gives the bytes before `head` back to the producer.
    ///
    /// # Errors
    /// [`LaneError::HeadOutOfRange`].
    #[inline]
    pub fn release(&self, head: u32) -> Result<(), LaneError> {
        // Relaxed: only the consumer stores it.
        let current = self.head.load(Ordering::Relaxed);
        let filled = self.tail.load(Ordering::Acquire).wrapping_sub(current);
        if head.wrapping_sub(current) > filled {
            return Err(LaneError::HeadOutOfRange {
                head,
                current,
                filled,
            });
        }
        // Release: our reads are over before the producer may overwrite.
        self.head.store(head, Ordering::Release);
        Ok(())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout, freed once.
        unsafe { dealloc(self.buffer.as_ptr(), Self::layout(self.capacity as usize)) };
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn refuses_odd_sizes_and_gives_aligned_zeroes() {
        for capacity in [0, 4095, 5000, 2048, 128 << 20, usize::MAX] {
            assert_eq!(
                Lane::new(capacity).unwrap_err(),
                LaneError::Capacity { capacity }
            );
        }
        let lane = Lane::new(4096).unwrap();
        assert_eq!(lane.as_ptr() as usize % 64, 0);
        // SAFETY: capacity bytes, nobody else has the lane.
        let bytes = unsafe { core::slice::from_raw_parts(lane.as_ptr(), 4096) };
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn positions_never_cross() {
        let lane = Lane::new(4096).unwrap();
        assert_eq!(lane.commit(4096), Ok(0));
        assert!(matches!(
            lane.commit(4097),
            Err(LaneError::TailOutOfRange { room: 0, .. })
        ));
        assert!(
            matches!(lane.commit(4000), Err(LaneError::TailOutOfRange { .. })),
            "backwards"
        );
        assert!(matches!(
            lane.release(4097),
            Err(LaneError::HeadOutOfRange { filled: 4096, .. })
        ));
        assert_eq!(lane.release(4000), Ok(()));
        assert!(
            matches!(lane.release(3999), Err(LaneError::HeadOutOfRange { .. })),
            "backwards"
        );
        assert_eq!(lane.commit(8096), Ok(4000));
        assert_eq!((lane.head(), lane.tail()), (4000, 8096));
    }

    #[test]
    fn positions_wrap_at_two_to_the_32() {
        let lane = Lane::new(4096).unwrap();
        lane.tail.store(u32::MAX - 99, Ordering::Relaxed);
        lane.head.store(u32::MAX - 99, Ordering::Relaxed);
        assert_eq!(lane.commit(100), Ok(u32::MAX - 99));
        assert_eq!(lane.release(100), Ok(()));
        assert_eq!(lane.commit(100 + 4096), Ok(100));
        assert!(lane.commit(100 + 4097).is_err());
    }
}
