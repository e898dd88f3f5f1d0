//! What is to be sent on one stream of ours, and has not been taken yet: for the engine's own parts, `address` and `relay`.

use crate::core::{Direction, Io, PeerSlot, StreamError, StreamId};

/// Bytes that may wait for a peer that does not read. What comes on top is dropped: every frame sent through here can be.
const MAX_WAITING: usize = 128 << 10;
/// After the streams of requests and memory.
const PRIORITY: i32 = -1;

#[derive(Debug)]
pub(crate) struct Outbox {
    kind: u8,
    stream: Option<StreamId>,
    waiting: Vec<u8>,
    /// The peer wants nothing of it.
    stopped: bool,
}

impl Outbox {
    pub(crate) fn new(kind: u8) -> Self {
        Self {
            kind,
            stream: None,
            waiting: Vec::new(),
            stopped: false,
        }
    }

    pub(crate) fn is(&self, stream: StreamId) -> bool {
        self.stream == Some(stream)
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.waiting = Vec::new();
    }

    /// Whether the frame is on its way. The stream is opened by the first: a connection on which nothing is asked has none.
    pub(crate) fn send(
        &mut self,
        io: &mut Io<'_>,
        peer: PeerSlot,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if self.stopped || self.waiting.len() >= MAX_WAITING {
            return false;
        }
        encode(&mut self.waiting);
        self.flush(io, peer);
        true
    }

    /// Hands over what the stream takes.
    pub(crate) fn flush(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        if self.waiting.is_empty() {
            return;
        }
        if self.stream.is_none() {
            match io.open(peer, self.kind, Direction::Unidirectional, PRIORITY) {
                Ok(stream) => self.stream = Some(stream),
                // `streams_available`, or `disconnected`, follows.
                Err(StreamError::Limit | StreamError::Gone) => return,
                Err(_) => return self.stop(),
            }
        }
        let Some(stream) = self.stream else { return };
        match io.write(peer, stream, &self.waiting) {
            Ok(taken) => drop(self.waiting.drain(..taken)),
            Err(StreamError::Gone) => {}
            Err(_) => self.stop(),
        }
        if self.waiting.is_empty() && self.waiting.capacity() > 1024 {
            self.waiting = Vec::new();
        }
    }
}
