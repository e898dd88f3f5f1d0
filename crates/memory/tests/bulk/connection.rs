//! A connection without a network: streams are byte vectors, what was delivered of them is a set.

use std::collections::VecDeque;

use bytes::Bytes;
use linkmesh_memory::bulk::{Dead, RangeSet, StreamKind, Wire};

/// One direction's stream of the simulated connection.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Stream {
    pub(crate) from_client: bool,
    pub(crate) kind: StreamKind,
    pub(crate) sent: Vec<u8>,
    pub(crate) delivered: RangeSet,
    /// Bytes that it may take until more is allowed.
    pub(crate) credit: usize,
    pub(crate) stalled: bool,
    pub(crate) announced: bool,
    pub(crate) finished: bool,
    pub(crate) reset: bool,
    pub(crate) stopped: bool,
    pub(crate) closed: bool,
}

#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) streams: Vec<Stream>,
    pub(crate) control: [VecDeque<u8>; 2],
    /// Streams that one side may have open at a time.
    pub(crate) limit: usize,
    pub(crate) refused_open: [bool; 2],
    /// Flips a bit in this many writes to framed streams.
    pub(crate) damage: u32,
    pub(crate) sent_bytes: u64,
}

pub(crate) struct Side<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) client: bool,
}

impl Wire for Side<'_> {
    type Stream = usize;

    fn open(&mut self, kind: StreamKind) -> Option<usize> {
        let connection = &mut *self.connection;
        let open = connection
            .streams
            .iter()
            .filter(|stream| stream.from_client == self.client && !stream.closed);
        if open.count() >= connection.limit {
            connection.refused_open[usize::from(self.client)] = true;
            return None;
        }
        connection.streams.push(Stream {
            from_client: self.client,
            kind,
            sent: Vec::new(),
            delivered: RangeSet::new(),
            credit: 10_000,
            stalled: false,
            announced: false,
            finished: false,
            reset: false,
            stopped: false,
            closed: false,
        });
        Some(connection.streams.len() - 1)
    }

    fn write(&mut self, stream: usize, block: &mut Bytes) -> Result<(), Dead> {
        let connection = &mut *self.connection;
        let stream = &mut connection.streams[stream];
        if stream.stopped || stream.reset {
            return Err(Dead);
        }
        let mut taken = block.split_to(block.len().min(stream.credit)).to_vec();
        stream.credit -= taken.len();
        stream.stalled = !block.is_empty();
        if stream.kind == StreamKind::Blocks && connection.damage > 0 && taken.len() > 1000 {
            // In the middle of a block, behind all heads.
            let at = taken.len() / 2;
            taken[at] ^= 0x40;
            connection.damage -= 1;
        }
        connection.sent_bytes += taken.len() as u64;
        stream.sent.extend_from_slice(&taken);
        Ok(())
    }

    fn finish(&mut self, stream: usize) {
        self.connection.streams[stream].finished = true;
    }

    fn reset(&mut self, stream: usize) {
        self.connection.streams[stream].reset = true;
    }

    fn stop(&mut self, stream: usize) {
        // Streams of the hostile test have no other end.
        if let Some(stream) = self.connection.streams.get_mut(stream) {
            stream.stopped = true;
        }
    }

    fn control(&mut self, message: &[u8]) {
        self.connection.control[usize::from(self.client)].extend(message);
    }
}
