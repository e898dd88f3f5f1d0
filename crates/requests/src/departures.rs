//! Frames to one node: over streams, or over the ring of a node on this host while there is one.

use crate::FRAME_STREAMS;
use crate::frame::{BACK, HEADER_BYTES, Header, MOVED};

/// Bytes that are collected for one way before lanes are left to wait.
pub const COLLECT_BYTES: usize = 256 << 10;

/// The ring takes nothing more, ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOver;

/// Where the bytes go.
pub trait Ways {
    /// Appends to a stream; how much it took.
    fn stream(&mut self, index: usize, bytes: &[u8]) -> usize;
    /// Appends to the ring and publishes it; how much it took.
    ///
    /// # Errors
    /// [`RingOver`]; nothing was taken then.
    fn ring(&mut self, bytes: &[u8]) -> Result<usize, RingOver>;
}

/// Bytes that a way has not taken yet.
#[derive(Debug, Default)]
pub struct Collected {
    bytes: Vec<u8>,
    taken: usize,
}

impl Collected {
    /// Where bytes are appended.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.taken
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn took(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(COLLECT_BYTES);
            self.taken = 0;
        }
    }

    /// Hands over what `way` takes. True when nothing is left.
    pub fn flush(&mut self, way: impl FnOnce(&[u8]) -> usize) -> bool {
        if self.waiting() > 0 {
            let taken = way(self.rest());
            self.took(taken);
            // A way that always leaves something must not make this grow for ever.
            if self.taken >= COLLECT_BYTES {
                self.bytes.drain(..self.taken);
                self.taken = 0;
            }
        }
        self.waiting() == 0
    }
}

/// Bytes for the ring. The frame in whose middle the ring stands is kept whole: should the ring end there, it goes over its
/// stream.
#[derive(Debug, Default)]
struct ForRing {
    collected: Collected,
    /// Where the first frame begins that was not taken to its end.
    frame: usize,
}

impl ForRing {
    fn flush(
        &mut self,
        way: impl FnOnce(&[u8]) -> Result<usize, RingOver>,
    ) -> Result<bool, RingOver> {
        let Collected { bytes, taken } = &mut self.collected;
        if bytes.len() > *taken {
            *taken += way(&bytes[*taken..])?;
            if *taken == bytes.len() {
                self.frame = 0;
                self.collected.took(0);
                return Ok(true);
            }
            while let Some(end) = frame_end(bytes, self.frame).filter(|end| *end <= *taken) {
                self.frame = end;
            }
            if self.frame >= COLLECT_BYTES {
                bytes.drain(..self.frame);
                *taken -= self.frame;
                self.frame = 0;
            }
        }
        Ok(self.collected.waiting() == 0)
    }

    /// Whole frames that the ring has not taken to their end.
    fn leave(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.collected).bytes;
        bytes[std::mem::take(&mut self.frame)..].to_vec()
    }
}

/// Where the frame at `start` ends.
fn frame_end(bytes: &[u8], start: usize) -> Option<usize> {
    let header = bytes.get(start..)?.first_chunk::<HEADER_BYTES>()?;
    Some(start + Header::from_wire(header).length() as usize)
}

/// The sending end of one node.
#[derive(Debug, Default)]
pub struct Departures {
    streams: [Collected; FRAME_STREAMS],
    ring: ForRing,
    over_ring: bool,
}

impl Departures {
    /// Where frames of a request go: always the same way, so that a cancellation cannot overtake it.
    pub fn bytes(&mut self, id: u32) -> &mut Vec<u8> {
        if self.over_ring {
            self.ring.collected.bytes()
        } else {
            self.streams[id as usize % FRAME_STREAMS].bytes()
        }
    }

    /// True while every way takes more.
    pub fn takes(&self) -> bool {
        self.ring.collected.waiting() < COLLECT_BYTES
            && self
                .streams
                .iter()
                .all(|stream| stream.waiting() < COLLECT_BYTES)
    }

    /// True while something waits.
    pub fn is_waiting(&self) -> bool {
        self.ring.collected.waiting() > 0 || self.streams.iter().any(|stream| stream.waiting() > 0)
    }

    /// True while frames go over the ring.
    pub fn uses_ring(&self) -> bool {
        self.over_ring
    }

    /// From here on frames go over the ring.
    pub fn move_to_ring(&mut self) {
        self.over_ring = true;
        self.mark(MOVED);
    }

    /// The ring has ended: what it has not taken, and all that follows, goes over the streams.
    pub fn come_back(&mut self) {
        if !std::mem::take(&mut self.over_ring) {
            return;
        }
        self.mark(BACK);
        let left = self.ring.leave();
        let mut start = 0;
        while let Some(end) = frame_end(&left, start) {
            let frame = &left[start..end];
            let id = frame
                .first_chunk()
                .map_or(0, |header| Header::from_wire(header).id());
            self.bytes(id).extend_from_slice(frame);
            start = end;
        }
    }

    fn mark(&mut self, kind: u32) {
        for stream in &mut self.streams {
            stream
                .bytes()
                .extend_from_slice(&Header::way(kind).to_wire());
        }
    }

    /// Hands over what was collected. True when everything went.
    pub fn flush(&mut self, ways: &mut impl Ways) -> bool {
        if self.over_ring && self.ring.flush(|bytes| ways.ring(bytes)).is_err() {
            self.come_back();
        }
        let mut all = self.ring.collected.waiting() == 0;
        for (index, stream) in self.streams.iter_mut().enumerate() {
            all &= stream.flush(|bytes| ways.stream(index, bytes));
        }
        all
    }
}
