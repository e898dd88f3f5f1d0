//! Frames to and from one peer, a stream each way: for the engine's own parts, `address` and `relay`.

use crate::core::{Io, PeerSlot, Reading, StreamId};
use crate::outbox::Outbox;

/// One peer's streams of one kind. `R` puts the frames of what comes together.
#[derive(Debug)]
pub(crate) struct Framed<R> {
    outbox: Outbox,
    incoming: Option<(StreamId, R)>,
}

impl<R: Default> Framed<R> {
    pub(crate) fn new(kind: u8) -> Self {
        Self {
            outbox: Outbox::new(kind),
            incoming: None,
        }
    }

    /// Whether the frame is on its way.
    pub(crate) fn send(
        &mut self,
        io: &mut Io<'_>,
        peer: PeerSlot,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        self.outbox.send(io, peer, encode)
    }

    /// Hands over what the stream takes.
    pub(crate) fn flush(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        self.outbox.flush(io, peer);
    }

    /// The peer wants nothing of it.
    pub(crate) fn stop(&mut self) {
        self.outbox.stop();
    }

    /// The peer has opened a stream of this kind: it may open one.
    pub(crate) fn open(&mut self, stream: StreamId) -> Reading {
        if self.incoming.is_some() || stream.is_bidirectional() {
            return Reading::Refuse;
        }
        self.incoming = Some((stream, R::default()));
        Reading::Ordered
    }

    /// Whether a stream is one of these.
    pub(crate) fn owns(&self, stream: StreamId) -> bool {
        let incoming = self.incoming.as_ref();
        incoming.is_some_and(|(id, _)| *id == stream) || self.outbox.is(stream)
    }

    /// What reads the peer's stream, once there is one.
    pub(crate) fn reader(&mut self) -> Option<&mut R> {
        self.incoming.as_mut().map(|(_, reader)| reader)
    }
}
