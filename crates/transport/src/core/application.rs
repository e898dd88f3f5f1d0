//! The layer above: what the engine tells it, and when.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::authenticator::NodeId;
use super::close::CloseReason;
use super::io::Io;
use super::peer::{PeerInfo, PeerSlot, StreamId, TargetId};

/// How the bytes of a stream are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// In order, by [`Application::received`].
    Ordered,
    /// As they come, each once, with their offset, by [`Application::received_at`]: for placing bulk data straight where
    /// it belongs. A stream that was read unordered cannot become ordered again.
    Unordered,
    /// Not at all: the stream is stopped and, if it has a way back, reset.
    Refuse,
}

/// What runs on the engine: a state machine that is told of peers and bytes and answers through [`Io`].
///
/// # Calls
/// All calls come from the one thread that drives the engine at the time (see `engine::Lease`), never two at once, and
/// must not block: everything between two packets happens inside them. What is written through `io` leaves when the turn
/// ends, together with the acknowledgements, in as few packets as it needs.
///
/// # Streams
/// The first byte of each stream is its kind, chosen by the application that opens it, sent and taken off by the engine.
/// Kinds from 0xf0 on are the engine's own.
/// Limits apply before anything is stored: a peer can have [`Limits::streams`](super::Limits::streams) streams open per
/// direction.
pub trait Application: Send {
    /// A peer is there: TLS is done, both proofs hold and both sides have said so. Streams may be opened from here on.
    fn connected(&mut self, io: &mut Io<'_>, peer: PeerSlot, info: &PeerInfo);

    /// A peer is gone with all its streams; `peer` is not valid any more. A reconnect gives a new slot with the same node
    /// id. Called once for each `connected`.
    fn disconnected(&mut self, io: &mut Io<'_>, peer: PeerSlot, reason: &CloseReason);

    /// The peer opened a stream of this kind. The answer says how to read it.
    fn opened(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, kind: u8) -> Reading;

    /// The next bytes of an ordered stream.
    fn received(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, bytes: &[u8]);

    /// Some bytes of an unordered stream; `offset` counts from the byte after the kind.
    fn received_at(
        &mut self,
        io: &mut Io<'_>,
        peer: PeerSlot,
        stream: StreamId,
        offset: u64,
        bytes: Bytes,
    ) {
        let _ = (io, peer, stream, offset, bytes);
    }

    /// The peer has finished its direction: everything it sent has been handed over.
    fn finished(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        let _ = (io, peer, stream);
    }

    /// The peer abandoned its direction; bytes may be missing.
    fn reset(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, code: u64) {
        let _ = (io, peer, stream, code);
    }

    /// The peer does not want our direction any more. Further writes answer [`StreamError::Stopped`](super::StreamError).
    fn stopped(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, code: u64) {
        let _ = (io, peer, stream, code);
    }

    /// Everything that was written to a stream that we finished has been acknowledged.
    fn delivered(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        let _ = (io, peer, stream);
    }

    /// A stream whose last write was cut short takes bytes again.
    fn writable(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        let _ = (io, peer, stream);
    }

    /// The peer lets more streams be opened after [`StreamError::Limit`](super::StreamError).
    fn streams_available(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        let _ = (io, peer);
    }

    /// All that a peer sent in this turn has been handed over: the place to write the collected replies in one go.
    fn settled(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        let _ = (io, peer);
    }

    /// An attempt to reach a target failed. With `retry_in` another one follows by itself; without, the target is given
    /// up and forgotten.
    fn unreachable(
        &mut self,
        io: &mut Io<'_>,
        target: TargetId,
        reason: &CloseReason,
        retry_in: Option<Duration>,
    ) {
        let _ = (io, target, reason, retry_in);
    }

    /// The list of revoked nodes has changed, and `is_revoked` answers by the new one. Connections of those on it have been
    /// closed (`disconnected` follows); this is the place to take back what was given to them or by them.
    fn revocations_changed(&mut self, io: &mut Io<'_>, is_revoked: &dyn Fn(&NodeId) -> bool) {
        let _ = (io, is_revoked);
    }

    /// The engine closes gracefully, or the peer does: the last chance to write. What is written here is still delivered.
    fn closing(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        let _ = (io, peer);
    }

    /// Called in each turn of the loop, also when no packet came: the place to look at queues that other threads fill. A few
    /// nanoseconds when they are empty; what it writes leaves at once. `io.now()` may be some microseconds old here.
    fn poll(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// Called right before the driving thread goes to sleep. `false` means that there is something to `poll` after all;
    /// after `true`, whoever fills a queue wakes the engine (`engine::EngineWaker`) or has it looked at (`engine::EnginePoller`).
    fn before_sleep(&mut self) -> bool {
        true
    }

    /// The time that [`deadline`](Self::deadline) named has come.
    fn timeout(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// When `timeout` is to be called next. Asked after each turn: keep it a field.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}
