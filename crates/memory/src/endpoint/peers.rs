//! The streams of each connected peer, for both halves.

use linkmesh_transport::core::{Io, NodeId, PeerSlot, StreamError, StreamId};

use super::{LANES, nearby::Invitation};
use crate::{bulk::MessageReader, grant::Refusals, outgoing::Outgoing, server::ServerConnection};

/// Which half of the endpoint a transfer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// We export.
    Server,
    /// We import.
    Client,
}

/// The control stream of one half's transfers.
#[derive(Debug)]
pub(super) struct TransferControl {
    pub(super) stream: StreamId,
    pub(super) reader: MessageReader,
    pub(super) output: Outgoing,
}

impl TransferControl {
    pub(super) fn new(stream: StreamId) -> Self {
        Self {
            stream,
            reader: MessageReader::default(),
            output: Outgoing::default(),
        }
    }
}

/// A stream that carries a part of a transfer, ours or the peer's.
#[derive(Clone, Copy, Debug)]
pub(super) struct BulkStream {
    pub(super) stream: StreamId,
    pub(super) half: Half,
}

/// The half of a peer that imports from us.
#[derive(Debug)]
pub(super) struct ServerSide {
    pub(super) connection: ServerConnection,
    pub(super) control: StreamId,
    /// In the order in which the peer opened them.
    pub(super) lanes: Vec<StreamId>,
    pub(super) paused: [bool; LANES],
    pub(super) transfers: Option<TransferControl>,
}

/// The half of a peer that we import from.
#[derive(Debug)]
pub(super) struct ClientSide {
    /// Place of the client.
    pub(super) client: u32,
    pub(super) control: StreamId,
    /// Opened when first needed.
    pub(super) lanes: [Option<StreamId>; LANES],
    pub(super) transfers: Option<TransferControl>,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) slot: PeerSlot,
    pub(super) node: NodeId,
    pub(super) refusals: Refusals,
    pub(super) server: Option<ServerSide>,
    pub(super) client: Option<ClientSide>,
    /// Until all of it is there.
    pub(super) invitation: Option<Invitation>,
    /// Streams of transfers that are not over, a few at most.
    pub(super) bulk: Vec<BulkStream>,
}

/// Whose stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    ServerControl,
    ServerLane(usize),
    ClientControl,
    ClientLane(usize),
    Invitation,
    /// The control stream of a half's transfers.
    Transfers(Half),
    /// A stream that carries a part of one.
    Bulk(Half),
}

impl Peer {
    #[inline]
    pub(super) fn owner(&self, stream: StreamId) -> Option<Owner> {
        if let Some(server) = &self.server {
            if let Some(lane) = server.lanes.iter().position(|lane| *lane == stream) {
                return Some(Owner::ServerLane(lane));
            }
            if server.control == stream {
                return Some(Owner::ServerControl);
            }
        }
        if let Some(invitation) = &self.invitation
            && invitation.stream == stream
        {
            return Some(Owner::Invitation);
        }
        if let Some(bulk) = self.bulk.iter().find(|bulk| bulk.stream == stream) {
            return Some(Owner::Bulk(bulk.half));
        }
        let is_control = |control: &Option<TransferControl>| {
            control
                .as_ref()
                .is_some_and(|control| control.stream == stream)
        };
        if self
            .server
            .as_ref()
            .is_some_and(|server| is_control(&server.transfers))
        {
            return Some(Owner::Transfers(Half::Server));
        }
        let client = self.client.as_ref()?;
        if is_control(&client.transfers) {
            return Some(Owner::Transfers(Half::Client));
        }
        if let Some(lane) = client.lanes.iter().position(|lane| *lane == Some(stream)) {
            return Some(Owner::ClientLane(lane));
        }
        (client.control == stream).then_some(Owner::ClientControl)
    }
}

/// By the engine's slot index.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Option<Peer>>,
}

impl Peers {
    pub(super) fn insert(&mut self, slot: PeerSlot, node: NodeId) {
        let at = slot.index as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at] = Some(Peer {
            slot,
            node,
            refusals: Refusals::default(),
            server: None,
            client: None,
            invitation: None,
            bulk: Vec::new(),
        });
    }

    #[inline]
    pub(super) fn get(&mut self, slot: PeerSlot) -> Option<&mut Peer> {
        self.slots
            .get_mut(slot.index as usize)?
            .as_mut()
            .filter(|peer| peer.slot == slot)
    }

    pub(super) fn remove(&mut self, slot: PeerSlot) -> Option<Peer> {
        self.get(slot)?;
        self.slots[slot.index as usize].take()
    }

    /// A connection to `node` that no client uses yet.
    pub(super) fn of_node(&self, node: &NodeId) -> Option<PeerSlot> {
        self.iter()
            .find(|peer| peer.node == *node && peer.client.is_none())
            .map(|peer| peer.slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.slots.iter_mut().flatten()
    }
}

/// Lets the stream take what it takes now. The engine calls `writable` when it takes more.
///
/// # Errors
/// The stream does not take anything any more.
#[inline]
pub(super) fn send(
    io: &mut Io<'_>,
    peer: PeerSlot,
    stream: StreamId,
    output: &mut Outgoing,
) -> Result<(), StreamError> {
    if !output.is_empty() {
        let count = io.write(peer, stream, output.as_slice())?;
        output.consume(count);
    }
    Ok(())
}
