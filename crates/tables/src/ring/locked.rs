//! The same face over a mutex.

use alloc::{boxed::Box, collections::VecDeque};

use super::{
    ByteRing,
    record::{MAX_BYTES, MIN_BYTES, RecordRing, RingError, round_capacity},
};
use crate::sync::Mutex;

/// A bounded queue of byte records behind a mutex: same rules and same answers as [`ByteRing`], slower.
#[derive(Debug)]
pub struct LockedRing {
    state: Mutex<State>,
    capacity: usize,
}

#[derive(Debug)]
struct State {
    records: VecDeque<Box<[u8]>>,
    used: usize,
}

impl LockedRing {
    /// `capacity` bytes, rounded up to a power of two, 64..=2^28.
    ///
    /// # Errors
    /// [`RingError::Capacity`].
    pub fn new(capacity: usize) -> Result<Self, RingError> {
        let capacity = round_capacity(capacity, MIN_BYTES, MAX_BYTES)?;
        Ok(Self {
            state: Mutex::new(State {
                records: VecDeque::new(),
                used: 0,
            }),
            capacity,
        })
    }
}

impl RecordRing for LockedRing {
    fn push(&self, record: &[u8]) -> Result<(), RingError> {
        let limit = self.capacity - ByteRing::HEADER_BYTES;
        if record.len() > limit {
            return Err(RingError::RecordTooLong {
                length: record.len(),
                limit,
            });
        }
        let mut state = self.state.lock();
        if state.used + record.len() + ByteRing::HEADER_BYTES > self.capacity {
            return Err(RingError::Full);
        }
        state.used += record.len() + ByteRing::HEADER_BYTES;
        state.records.push_back(record.into());
        Ok(())
    }

    fn pop(&self, out: &mut [u8]) -> Result<Option<usize>, RingError> {
        let mut state = self.state.lock();
        let Some(record) = state.records.front() else {
            return Ok(None);
        };
        let length = record.len();
        let Some(out) = out.get_mut(..length) else {
            return Err(RingError::BufferTooSmall { needed: length });
        };
        out.copy_from_slice(record);
        state.records.pop_front();
        state.used -= length + ByteRing::HEADER_BYTES;
        Ok(Some(length))
    }

    fn used_bytes(&self) -> usize {
        self.state.lock().used
    }

    fn capacity_bytes(&self) -> usize {
        self.capacity
    }

    fn len(&self) -> usize {
        self.state.lock().records.len()
    }
}
