//! One connection: its QUIC state, its streams, and how far it has got in being trusted.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{Connection, ConnectionHandle, Dir, FinishError, VarInt, WriteError};

use super::admission::Source;
use super::application::Reading;
use super::authenticator::{Channel, PeerIdentity, Side};
use super::close::CloseReason;
use super::control::Control;
use super::io::StreamError;
use super::notices::Notices;
use super::peer::{Direction, PeerInfo, PeerSlot, StreamId, TargetId};
use super::send_window::SendWindow;
use crate::pool::{Health, Silence};

/// How far a connection has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// TLS is under way.
    Handshake,
    /// TLS is done; proofs cross.
    Proving,
    /// A joining node's one exchange.
    Joining,
    /// Both proofs held: the application knows the peer.
    Open,
    /// Said goodbye: streams are finished, the last bytes are being delivered.
    Draining,
    /// QUIC is closing; the table keeps the entry until the peer has had time to notice.
    Closed,
}

/// What the engine keeps of one stream of the application.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts, each with two values"
)]
pub(super) struct StreamState {
    pub(super) id: StreamId,
    /// How its bytes are handed over.
    pub(super) reading: Reading,
    /// Whether the kind byte has been taken off (always, for one that this side opened).
    pub(super) announced: bool,
    /// The application wants nothing more for the moment.
    pub(super) paused: bool,
    /// The peer's direction is still open.
    pub(super) receiving: bool,
    /// Our direction is still open.
    pub(super) sending: bool,
    /// It is the engine's own: the application knows nothing of it.
    pub(super) own: bool,
    /// The kind byte that no window was open for yet.
    kind: Option<u8>,
}

/// One connection.
///
/// `Connection` alone is 6 KB: this is always boxed and never moved.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) handle: ConnectionHandle,
    pub(super) slot: PeerSlot,
    pub(super) side: Side,
    pub(super) phase: Phase,
    pub(super) target: Option<TargetId>,
    /// Few per connection, so a scan beats hashing.
    pub(super) streams: Vec<StreamState>,
    pub(super) control: Control,
    /// Notices on their way, in either direction.
    pub(super) notices: Option<Box<Notices>>,
    /// Streams that this side has opened, and that it has taken from the peer, of each direction.
    pub(super) opened: [u64; 2],
    pub(super) taken: [u64; 2],
    /// Where it came from, as [`Admission`](super::admission::Admission) counts.
    pub(super) source: Source,
    /// Bytes that may be sent to an address that has not shown yet that somebody receives there. `None`: it has.
    pub(super) allowance: Option<usize>,
    /// Who said goodbye first closes the connection.
    pub(super) left_first: bool,
    /// What proofs are bound to, until both are through.
    pub(super) channel: Option<Box<Channel>>,
    pub(super) identity: Option<PeerIdentity>,
    /// Set once both sides are proved: from then on the application knows of the peer.
    pub(super) info: Option<Arc<PeerInfo>>,
    /// Watched where there is another address to go to.
    /// Of the path, where somebody looks.
    pub(super) health: Option<Health>,
    pub(super) silence: Silence,
    /// When the handshake, or the draining, has taken too long.
    pub(super) give_up_at: Option<Instant>,
    /// The earliest entry for this connection in the timer heap.
    pub(super) armed: Option<Instant>,
    pub(super) send_window: SendWindow,
    /// Whether it is in the list of connections to be served at the end of the turn.
    pub(super) dirty: bool,
    /// Whether streams were resumed and are to be read without waiting for a packet.
    pub(super) resumed: bool,
    /// Why it ended, as soon as that is known.
    pub(super) reason: Option<CloseReason>,
}

fn write_error(error: &WriteError) -> StreamError {
    match error {
        WriteError::Stopped(code) => StreamError::Stopped(code.into_inner()),
        WriteError::Blocked | WriteError::ClosedStream => StreamError::Closed,
    }
}

/// A code as QUIC can carry it: cut to 62 bits.
pub(super) fn code(value: u64) -> VarInt {
    VarInt::from_u64(value & ((1 << 62) - 1)).expect("cut to 62 bits")
}

impl Link {
    pub(super) fn stream_mut(&mut self, id: StreamId) -> Option<&mut StreamState> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    pub(super) fn open(
        &mut self,
        kind: u8,
        direction: Direction,
        priority: i32,
    ) -> Result<StreamId, StreamError> {
        if !matches!(self.phase, Phase::Open) {
            return Err(StreamError::Gone);
        }
        let dir = match direction {
            Direction::Bidirectional => Dir::Bi,
            Direction::Unidirectional => Dir::Uni,
        };
        let id = self
            .connection
            .streams()
            .open(dir)
            .ok_or(StreamError::Limit)?;
        self.opened[dir as usize] += 1;
        let mut stream = self.connection.send_stream(id);
        // A stream that has just been opened is there.
        let _ = stream.set_priority(priority);
        let kind = match stream.write(&[kind]) {
            Ok(_) => None,
            Err(WriteError::Blocked) => Some(kind),
            Err(error) => return Err(write_error(&error)),
        };
        let id = StreamId::from(id);
        self.streams.push(StreamState {
            id,
            reading: Reading::Ordered,
            announced: true,
            paused: false,
            receiving: id.is_bidirectional(),
            sending: true,
            own: false,
            kind,
        });
        Ok(id)
    }

    /// Takes note of a stream that the peer opened.
    pub(super) fn accept(&mut self, id: StreamId) {
        self.taken[usize::from(!id.is_bidirectional())] += 1;
        self.streams.push(StreamState {
            id,
            reading: Reading::Ordered,
            announced: false,
            paused: false,
            receiving: true,
            sending: id.is_bidirectional(),
            own: false,
            kind: None,
        });
    }

    /// The QUIC id of a stream of the application whose own direction is open, its kind byte written.
    fn sending(&mut self, id: StreamId) -> Result<Option<quinn_proto::StreamId>, StreamError> {
        let Some(position) = self.streams.iter().position(|stream| stream.id == id) else {
            return Err(StreamError::Closed);
        };
        let state = &mut self.streams[position];
        if !state.sending {
            return Err(StreamError::Closed);
        }
        let id = id.proto();
        if let Some(kind) = state.kind {
            match self.connection.send_stream(id).write(&[kind]) {
                Ok(_) => state.kind = None,
                Err(WriteError::Blocked) => return Ok(None),
                Err(error) => return Err(write_error(&error)),
            }
        }
        Ok(Some(id))
    }

    /// A write was blocked. Whether it is worth another attempt, because more may be under way now.
    fn widen(&mut self) -> bool {
        let (round_trip, shortest) = (self.connection.rtt(), self.connection.min_rtt());
        let wider = self.send_window.widen(round_trip, shortest);
        if let Some(bytes) = wider {
            self.connection.set_send_window(bytes);
        }
        wider.is_some()
    }

    pub(super) fn write(&mut self, stream: StreamId, bytes: &[u8]) -> Result<usize, StreamError> {
        let Some(id) = self.sending(stream)? else {
            return Ok(0);
        };
        let mut written = 0;
        // Until it is blocked, not until it is short: only a blocked write is told when it may go on.
        while written < bytes.len() {
            let mut stream = self.connection.send_stream(id);
            match stream.write(&bytes[written..]) {
                Ok(count) => {
                    written += count;
                    self.send_window.take(count);
                }
                Err(WriteError::Blocked) if self.widen() => {}
                Err(WriteError::Blocked) => break,
                Err(error) => return Err(write_error(&error)),
            }
        }
        Ok(written)
    }

    pub(super) fn write_block(
        &mut self,
        stream: StreamId,
        block: &mut Bytes,
    ) -> Result<usize, StreamError> {
        let Some(id) = self.sending(stream)? else {
            return Ok(0);
        };
        let mut written = 0;
        while !block.is_empty() {
            let mut stream = self.connection.send_stream(id);
            // quinn-proto takes what it accepted off the front of the block.
            match stream.write_chunks(std::slice::from_mut(block)) {
                Ok(accepted) => {
                    written += accepted.bytes;
                    self.send_window.take(accepted.bytes);
                }
                Err(WriteError::Blocked) if self.widen() => {}
                Err(WriteError::Blocked) => break,
                Err(error) => return Err(write_error(&error)),
            }
        }
        Ok(written)
    }

    pub(super) fn finish(&mut self, stream: StreamId) -> Result<(), StreamError> {
        let id = self.sending(stream)?.unwrap_or(stream.proto());
        match self.connection.send_stream(id).finish() {
            Ok(()) => {}
            Err(FinishError::Stopped(code)) => return Err(StreamError::Stopped(code.into_inner())),
            Err(FinishError::ClosedStream) => return Err(StreamError::Closed),
        }
        self.end(stream, true);
        Ok(())
    }

    pub(super) fn reset(&mut self, stream: StreamId, value: u64) {
        let known = self.stream_mut(stream).is_some_and(|state| state.sending);
        if known {
            // Closed already is as good as reset.
            let _ = self
                .connection
                .send_stream(stream.proto())
                .reset(code(value));
            self.end(stream, true);
        }
    }

    pub(super) fn stop(&mut self, stream: StreamId, value: u64) {
        let known = self.stream_mut(stream).is_some_and(|state| state.receiving);
        if known {
            let _ = self
                .connection
                .recv_stream(stream.proto())
                .stop(code(value));
            self.end(stream, false);
        }
    }

    /// One direction of a stream is over; the entry goes with the second.
    pub(super) fn end(&mut self, id: StreamId, ours: bool) {
        let Some(position) = self.streams.iter().position(|stream| stream.id == id) else {
            return;
        };
        let state = &mut self.streams[position];
        if ours {
            state.sending = false;
        } else {
            state.receiving = false;
        }
        if !state.sending && !state.receiving {
            self.streams.swap_remove(position);
        }
    }
}
