//! A whole state that arrives in parts, beside the one that is in use: until it is complete, nothing of it counts.

use bytes::Bytes;

use super::{Position, state::State};

#[derive(Debug)]
pub(super) struct Incoming {
    position: Position,
    total: u64,
    bytes: Vec<u8>,
}

impl Incoming {
    pub(super) fn new(position: Position, total: u64) -> Self {
        Self {
            position,
            total,
            bytes: Vec::with_capacity(total as usize),
        }
    }

    /// Whether a part belongs to this state.
    pub(super) fn is_of(&self, position: Position, total: u64) -> bool {
        self.position == position && self.total == total
    }

    /// What is there: the state's position, and bytes of it.
    pub(super) fn received(&self) -> (Position, u64) {
        (self.position, self.bytes.len() as u64)
    }

    /// Takes the next part. One that does not come next is dropped; it is sent again.
    pub(super) fn take(&mut self, offset: u64, part: &Bytes) {
        let end = offset.saturating_add(part.len() as u64);
        if offset == self.bytes.len() as u64 && end <= self.total {
            self.bytes.extend_from_slice(part);
        }
    }

    /// The state, once it is whole and makes sense for a region of `length` bytes.
    pub(super) fn complete(&self, length: u64) -> Option<State> {
        if self.bytes.len() as u64 != self.total {
            return None;
        }
        let state = State::decode(&self.bytes, length).ok()?;
        (state.position() == self.position).then_some(state)
    }
}
