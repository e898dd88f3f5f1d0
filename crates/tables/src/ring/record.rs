//! The face of a ring of byte records, and why it refuses.

/// Smallest capacity of a byte ring, bytes.
pub(super) const MIN_BYTES: usize = 64;
/// Largest capacity of a byte ring, bytes.
pub(super) const MAX_BYTES: usize = 1 << 28;
/// Largest capacity of a ring of values, slots.
pub(super) const MAX_SLOTS: usize = 1 << 26;

/// Why a ring refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// A capacity outside the limits.
    Capacity {
        /// What was asked for.
        capacity: usize,
        /// The smallest there is.
        min: usize,
        /// The largest there is.
        max: usize,
    },
    /// The allocator has no memory for this capacity.
    OutOfMemory,
    /// No room now.
    Full,
    /// The record would not fit an empty ring.
    RecordTooLong {
        /// Its length, bytes.
        length: usize,
        /// The longest this ring takes, bytes.
        limit: usize,
    },
    /// The next record is longer than the buffer; it stays in the ring.
    BufferTooSmall {
        /// Its length, bytes.
        needed: usize,
    },
    /// A second producer or consumer is at work in a ring that was made for one.
    Busy,
}

impl core::fmt::Display for RingError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Capacity { capacity, min, max } => {
                write!(f, "ring capacity {capacity} is not in {min}..={max}")
            }
            Self::OutOfMemory => f.write_str("no memory for the ring"),
            Self::Full => f.write_str("the ring has no room for this record now"),
            Self::RecordTooLong { length, limit } => {
                write!(
                    f,
                    "a record of {length} bytes; this ring takes at most {limit}"
                )
            }
            Self::BufferTooSmall { needed } => write!(
                f,
                "the next record has {needed} bytes, the buffer has fewer"
            ),
            Self::Busy => f.write_str(
                "a second thread on one side of a ring for one producer and one consumer",
            ),
        }
    }
}

impl core::error::Error for RingError {}

/// A bounded queue of byte records. Empty records are records.
pub trait RecordRing: Send + Sync {
    /// Appends a copy of `record`.
    ///
    /// # Errors
    /// [`RingError::Full`], [`RingError::RecordTooLong`], [`RingError::Busy`].
    fn push(&self, record: &[u8]) -> Result<(), RingError>;

    /// Moves the oldest record into `out` and returns its length; `None` when there is none.
    ///
    /// # Errors
    /// [`RingError::BufferTooSmall`] (the record stays), [`RingError::Busy`].
    fn pop(&self, out: &mut [u8]) -> Result<Option<usize>, RingError>;

    /// Bytes in the ring, headers included. A moment's truth when others are at work.
    fn used_bytes(&self) -> usize;

    /// Room of the ring, bytes. A record takes its length and [`HEADER_BYTES`](ByteRing::HEADER_BYTES).
    fn capacity_bytes(&self) -> usize;

    /// Records in the ring. A moment's truth when others are at work.
    fn len(&self) -> usize;

    /// True when there is no record.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(doc)]
use super::ByteRing;

/// A capacity rounded up to a power of two, or why not.
pub(super) fn round_capacity(capacity: usize, min: usize, max: usize) -> Result<usize, RingError> {
    if !(min..=max).contains(&capacity) {
        return Err(RingError::Capacity { capacity, min, max });
    }
    Ok(capacity.next_power_of_two())
}
