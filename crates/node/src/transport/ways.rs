//! Which ways there are: where the packets of a connection go, and over which relays others find this node.

use std::net::SocketAddr;

use linkmesh_transport::address::Endpoint;
use linkmesh_transport::core::{Io, NodeId, PeerSlot, Side};
use linkmesh_transport::relay::is_virtual;

use crate::transport::NodeApp;

/// Relays that this node's record names.
const MAX_RELAYS: usize = 4;

/// Where the packets of a connection go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// The other node's address, or the relay's.
    pub(super) address: SocketAddr,
    pub(super) relay: Option<NodeId>,
}

impl NodeApp {
    /// Where the packets of a connection go. `None` when it is gone.
    pub(super) fn way(&self, io: &Io<'_>, peer: PeerSlot) -> Option<Way> {
        let address = io.address(peer)?;
        let relay = self.relays.relay_of(&address);
        let to_relay = relay.and_then(|relay| io.address(self.relays.peer(&relay)?));
        Some(Way {
            address: to_relay.unwrap_or(address),
            relay,
        })
    }

    /// The relays that this node is connected to, and where others find them: where they say they are, or where this node
    /// reaches them.
    pub(super) fn relay_endpoints(&self, io: &Io<'_>) -> Vec<Endpoint> {
        let place = |slot: PeerSlot, relay: &NodeId| {
            let record = self.locators.record(relay);
            let said = record.and_then(|record| {
                let endpoints = &record.locator().endpoints;
                let direct = endpoints.iter().find(|one| one.relay().is_none());
                direct.map(Endpoint::address)
            });
            let dialled = || {
                let address = io.address(slot)?;
                let dialled = io.info(slot)?.side == Side::Client && !is_virtual(&address);
                dialled.then(|| SocketAddr::new(address.ip().to_canonical(), address.port()))
            };
            said.or_else(dialled)
        };
        let serving = self.relays.serving().filter_map(|(slot, relay)| {
            let address = place(slot, &relay)?;
            Some(Endpoint::Relay { relay, address })
        });
        serving.take(MAX_RELAYS).collect()
    }
}
