//! The sending end of a lane from a node to a thread of this process.

use std::collections::VecDeque;
use std::ptr;
use std::sync::Arc;

use crate::peer::LaneLink;
use linkmesh_requests::frame::{HEADER_BYTES, PAD};

/// Bytes that may wait for room in a lane before requests for its thread are refused.
pub(crate) const REFUSE_BYTES: usize = 16 << 20;
/// Bytes that may wait before the node is not read any more.
pub(crate) const PAUSE_BYTES: usize = 32 << 20;

/// Writes frames into a lane; those for which it has no room wait here, in order.
#[derive(Debug)]
pub(crate) struct Outlet {
    lane: Arc<LaneLink>,
    tail: u32,
    queue: VecDeque<Box<[u8]>>,
    queued: usize,
    /// Something was written and not published.
    dirty: bool,
}

impl Outlet {
    pub(crate) fn new(lane: Arc<LaneLink>) -> Self {
        let tail = lane.memory.tail();
        Self {
            lane,
            tail,
            queue: VecDeque::new(),
            queued: 0,
            dirty: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lane.to.alive()
    }

    /// Bytes that wait for room.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Largest frame that goes through the lane itself.
    pub(crate) fn largest(&self) -> usize {
        self.lane.memory.capacity() as usize / 4
    }

    /// Writes a frame of a header, a body and padding to `length` bytes, a multiple of 8 and at most [`largest`](Self::largest).
    pub(crate) fn push(&mut self, header: &[u8; HEADER_BYTES], body: &[u8], length: usize) {
        debug_assert!(length.is_multiple_of(8) && length >= HEADER_BYTES + body.len());
        if self.queue.is_empty()
            && let Some(at) = self.reserve(length)
        {
            // SAFETY: `reserve` gave `length` bytes at `at` that are the producer's, and this is the only producer.
            unsafe {
                let start = self.lane.memory.as_ptr().add(at);
                ptr::copy_nonoverlapping(header.as_ptr(), start, HEADER_BYTES);
                ptr::copy_nonoverlapping(body.as_ptr(), start.add(HEADER_BYTES), body.len());
            }
            return;
        }
        let mut frame = vec![0; length].into_boxed_slice();
        frame[..HEADER_BYTES].copy_from_slice(header);
        frame[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(body);
        self.queued += length;
        self.queue.push_back(frame);
    }

    /// Publishes what was written and moves in what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(frame) = self.queue.front() {
            let length = frame.len();
            let Some(at) = self.reserve(length) else {
                break;
            };
            let frame = self.queue.pop_front().expect("looked at above");
            // SAFETY: as in `push`.
            unsafe {
                ptr::copy_nonoverlapping(frame.as_ptr(), self.lane.memory.as_ptr().add(at), length);
            }
            self.queued -= length;
        }
        if std::mem::take(&mut self.dirty) && self.lane.memory.commit(self.tail).is_ok() {
            self.lane.to.ring();
        }
    }

    /// Where a frame of `length` bytes goes, contiguous.
    fn reserve(&mut self, length: usize) -> Option<usize> {
        let memory = &self.lane.memory;
        let capacity = memory.capacity() as usize;
        let used = self.tail.wrapping_sub(memory.head()) as usize;
        let mut at = self.tail as usize & (capacity - 1);
        let to_end = capacity - at;
        let needed = if length <= to_end {
            length
        } else {
            to_end + length
        };
        if needed > capacity - used {
            return None;
        }
        if length > to_end {
            let pad = [(to_end as u32).to_ne_bytes(), PAD.to_ne_bytes()];
            // SAFETY: the rest of the ring is the producer's, as checked above, and is at least 8 bytes, because frames
            // and the capacity are multiples of 8.
            unsafe { ptr::copy_nonoverlapping(pad.as_ptr().cast(), memory.as_ptr().add(at), 8) };
            self.tail = self.tail.wrapping_add(to_end as u32);
            at = 0;
        }
        self.tail = self.tail.wrapping_add(length as u32);
        self.dirty = true;
        Some(at)
    }
}
