//! The names of things: peers, streams, targets.

use std::net::SocketAddr;

use super::authenticator::{NodeId, PeerIdentity, Side};

/// One connection to a peer while it lasts. Slots are reused under another generation, so that a stale one is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerSlot {
    /// The place in the table, in its low bits the engine thread: dense, small, good for indexing arrays.
    pub index: u32,
    /// How often the place has been used.
    pub generation: u32,
}

/// One stream of a connection, as QUIC numbers it (RFC 9000 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    /// Whether both sides send on it.
    pub fn is_bidirectional(self) -> bool {
        self.0 & 2 == 0
    }

    pub(crate) fn proto(self) -> quinn_proto::StreamId {
        quinn_proto::VarInt::from_u64(self.0)
            .expect("made from a stream id")
            .into()
    }
}

impl From<quinn_proto::StreamId> for StreamId {
    fn from(id: quinn_proto::StreamId) -> Self {
        Self(id.into())
    }
}

/// Which directions a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both sides send.
    Bidirectional,
    /// Only the opener sends.
    Unidirectional,
}

/// A node that is to be reached and kept, see [`Target`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u64);

/// Whom to dial, where, and how persistently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it may be, best first (at most 16). A failed attempt goes on to the next one. None yet, when the node is expected:
    /// [`Io::readdress`](super::Io::readdress) adds some.
    pub addresses: Vec<SocketAddr>,
    /// Who must answer. Another node there is refused with [`CloseReason::WrongNode`](super::CloseReason).
    pub expected: Option<NodeId>,
    /// How many connections to keep, 1 to 4.
    pub connections: u8,
    /// Whether to dial again, with jittered back-off, after a failure or a loss.
    pub persistent: bool,
}

impl Target {
    /// One persistent connection to whoever answers there.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            addresses: vec![address],
            expected: None,
            connections: 1,
            persistent: true,
        }
    }
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who it is, proved.
    pub identity: PeerIdentity,
    /// Where it was when it connected. It may migrate.
    pub address: SocketAddr,
    /// Which end of the connection this process is.
    pub side: Side,
    /// The target that the connection was dialled for.
    pub target: Option<TargetId>,
    /// The feature bits that both sides have.
    pub features: u64,
}
