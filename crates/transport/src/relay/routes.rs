//! The ends' side: which virtual address is which session of which relay.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::packet::RelayId;
use super::virtual_address;
use crate::core::PeerSlot;

/// Ways over relays that one node may have.
pub const MAX_ROUTES: usize = 4096;

/// One way over a relay, while it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub(super) SocketAddr);

impl RouteId {
    /// By which QUIC knows it.
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: SocketAddr,
    /// The connection to the relay and the id of the session there; none while there is none.
    session: Option<(PeerSlot, RelayId)>,
}

#[derive(Debug, Default)]
pub(super) struct Routes {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_id: HashMap<RelayId, u32>,
}

impl Routes {
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// A new way, without a session yet.
    pub(super) fn add(&mut self, salt: u32) -> Option<RouteId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.entries.len() < MAX_ROUTES => {
                self.entries.push(None);
                self.entries.len() as u32 - 1
            }
            None => return None,
        };
        let address = virtual_address::make(index, salt);
        self.entries[index as usize] = Some(Entry {
            address,
            session: None,
        });
        Some(RouteId(address))
    }

    fn entry(&mut self, route: RouteId) -> Option<(u32, &mut Entry)> {
        let index = virtual_address::index(&route.0)?;
        let entry = self.entries.get_mut(index as usize)?.as_mut()?;
        (entry.address == route.0).then_some((index, entry))
    }

    /// Packets of this way go over this session from now on; over none with `None`.
    pub(super) fn set(&mut self, route: RouteId, session: Option<(PeerSlot, RelayId)>) {
        let Some((index, entry)) = self.entry(route) else {
            return;
        };
        let before = std::mem::replace(&mut entry.session, session);
        if let Some((_, id)) = before {
            self.by_id.remove(&id);
        }
        if let Some((_, id)) = session {
            self.by_id.insert(id, index);
        }
    }

    pub(super) fn remove(&mut self, route: RouteId) {
        self.set(route, None);
        if let Some((index, _)) = self.entry(route) {
            self.entries[index as usize] = None;
            self.free.push(index);
        }
    }

    /// Where packets to this virtual address go.
    pub(super) fn outgoing(&self, address: &SocketAddr) -> Option<(PeerSlot, RelayId)> {
        let index = virtual_address::index(address)?;
        let entry = self.entries.get(index as usize)?.as_ref()?;
        entry.session.filter(|_| entry.address == *address)
    }

    /// From where packets with this id come, and over which relay.
    pub(super) fn incoming(&self, id: RelayId) -> Option<(SocketAddr, PeerSlot)> {
        let index = *self.by_id.get(&id)?;
        let entry = self.entries.get(index as usize)?.as_ref()?;
        Some((entry.address, entry.session?.0))
    }
}
