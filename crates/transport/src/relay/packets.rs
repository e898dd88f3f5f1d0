//! [`Packets`]: what a core does with relayed packets, as relay and as an end. Sans-IO.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use aws_lc_rs::hmac;
use bytes::{Buf, BytesMut};

use super::forwarder::{Forwarder, ForwarderStats, NoSession};
use super::packet::{self, HEADER, ID, Mark, RelayId};
use super::quota::Quota;
use super::routes::{RouteId, Routes};
use crate::core::{NodeId, PeerSlot};

/// Packets that wait to be sent on. More are dropped, as any router does.
const MAX_WAITING: usize = 1024;
/// Bytes of a probe.
pub(crate) const PROBE: usize = 64;

/// What became of a received datagram.
#[derive(Debug)]
pub(crate) enum Handled {
    /// It was for the relay, or is dropped.
    Done,
    /// It is QUIC, from this virtual address if any.
    Quic(Option<SocketAddr>),
}

/// A datagram as it came, and where the connections of peers are at the moment.
pub(crate) struct Received<'a> {
    pub(crate) now: Instant,
    pub(crate) remote: SocketAddr,
    pub(crate) datagram: &'a mut BytesMut,
    pub(crate) address_of: &'a dyn Fn(PeerSlot) -> Option<SocketAddr>,
}

/// What it has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// As a relay.
    pub forwarder: ForwarderStats,
    /// Ways over relays that this node has.
    pub routes: u64,
    /// Packets that came over them.
    pub received: u64,
    /// Packets that left over them.
    pub sent: u64,
}

/// A probe's echo has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Echo {
    pub(super) route: RouteId,
    pub(super) body: [u8; PROBE],
    pub(super) at: Instant,
}

/// Sessions that are forwarded, ways over relays, and packets on their way.
#[derive(Debug)]
pub struct Packets {
    pub(super) forwarder: Forwarder,
    pub(super) routes: Routes,
    waiting: VecDeque<(SocketAddr, BytesMut)>,
    echoes: VecDeque<Echo>,
    /// For ids and salts that nobody guesses.
    key: hmac::Key,
    counter: u64,
    shard: (u8, u8),
    received: u64,
    sent: u64,
}

impl Packets {
    pub(crate) fn new(seed: &[u8; 32], shard: (u8, u8)) -> Self {
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), b"relay ids");
        Self {
            forwarder: Forwarder::default(),
            routes: Routes::default(),
            waiting: VecDeque::new(),
            echoes: VecDeque::new(),
            key: hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()),
            counter: 0,
            shard,
            received: 0,
            sent: 0,
        }
    }

    /// What it has done.
    pub fn stats(&self) -> RelayStats {
        RelayStats {
            forwarder: self.forwarder.stats(),
            routes: self.routes.len() as u64,
            received: self.received,
            sent: self.sent,
        }
    }

    fn random(&mut self) -> [u8; 32] {
        self.counter += 1;
        let mut message = [0; 9];
        message[0] = self.shard.0;
        message[1..].copy_from_slice(&self.counter.to_le_bytes());
        let tag = hmac::sign(&self.key, &message);
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn fresh_id(&mut self) -> RelayId {
        let random = self.random();
        let mut id: [u8; ID] = random[..ID].try_into().expect("12 of 32 bytes");
        let (shard, shards) = (u16::from(self.shard.0), u16::from(self.shard.1.max(1)));
        // The first byte names the shard, as in connection ids.
        let rounds = (256 - shard).div_ceil(shards);
        id[0] = ((u16::from(id[0]) % rounds) * shards + shard) as u8;
        RelayId(id)
    }

    /// Unguessable bytes for a probe.
    pub(super) fn probe_body(&mut self) -> [u8; PROBE] {
        let mut body = [0; PROBE];
        body[..32].copy_from_slice(&self.random());
        body[32..].copy_from_slice(&self.random());
        body
    }

    /// Whether a virtual address has a session at the moment.
    pub(crate) fn leads_somewhere(&self, address: &SocketAddr) -> bool {
        self.routes.outgoing(address).is_some()
    }

    pub(super) fn set_quota(&mut self, quota: Quota) {
        self.forwarder.set_quota(quota);
    }

    /// A session between two connected members, and the id of each end.
    pub(super) fn open(
        &mut self,
        from: (PeerSlot, NodeId),
        to: (PeerSlot, NodeId),
        now: Instant,
    ) -> Result<[RelayId; 2], NoSession> {
        let ids = [self.fresh_id(), self.fresh_id()];
        self.forwarder.open(from, to, ids, now)?;
        Ok(ids)
    }

    /// A new way, without a session yet.
    pub(super) fn add_route(&mut self) -> Option<RouteId> {
        let random = self.random();
        let salt = u32::from_le_bytes([random[0], random[1], random[2], random[3]]);
        self.routes.add(salt)
    }

    /// Looks at a datagram before QUIC does.
    #[inline]
    pub(crate) fn received(&mut self, received: Received<'_>) -> Handled {
        // Hot: one compare of one byte for every datagram of a node that has nothing to do with relays.
        match packet::parse(received.datagram) {
            None => Handled::Quic(None),
            Some((mark, id)) => self.marked(received, mark, id),
        }
    }

    #[cold]
    fn marked(&mut self, received: Received<'_>, mark: Mark, id: RelayId) -> Handled {
        let Received {
            now,
            remote,
            datagram,
            address_of,
        } = received;
        if let Some((from, relay)) = self.routes.incoming(id) {
            // Only the relay knows the id, and only from where it is does it count.
            if address_of(relay) != Some(remote) {
                return Handled::Done;
            }
            self.received += 1;
            datagram.advance(HEADER);
            return match mark {
                Mark::Packet => Handled::Quic(Some(from)),
                Mark::Probe => {
                    self.echo(remote, id, datagram);
                    Handled::Done
                }
                Mark::Echo => {
                    if let Ok(body) = datagram[..].try_into()
                        && self.echoes.len() < MAX_WAITING
                    {
                        self.echoes.push_back(Echo {
                            route: RouteId(from),
                            body,
                            at: now,
                        });
                    }
                    Handled::Done
                }
            };
        }
        let Some(sender) = self.forwarder.sender(id) else {
            // Perhaps QUIC after all, with a cleared fixed bit.
            return Handled::Quic(None);
        };
        if address_of(sender) != Some(remote) {
            self.forwarder.stats.strays += 1;
            return Handled::Done;
        }
        if let Some(forward) = self.forwarder.forward(id, datagram.len(), now)
            && let Some(to) = address_of(forward.to)
        {
            datagram[1..HEADER].copy_from_slice(&forward.id.0);
            self.wait(to, datagram.split());
        }
        Handled::Done
    }

    fn wait(&mut self, to: SocketAddr, datagram: BytesMut) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((to, datagram));
        } else {
            self.forwarder.stats.overflow += 1;
        }
    }

    /// Sends a probe's bytes back the way they came, changed in nothing but the mark.
    fn echo(&mut self, relay: SocketAddr, id: RelayId, body: &[u8]) {
        if body.len() == PROBE {
            let mut out = Vec::with_capacity(HEADER + PROBE);
            packet::write(&mut out, Mark::Echo, id, body);
            self.wait(relay, out[..].into());
        }
    }

    /// Sends a probe over a way. False when it has no session.
    pub(crate) fn probe(
        &mut self,
        route: RouteId,
        body: &[u8; PROBE],
        address_of: &dyn Fn(PeerSlot) -> Option<SocketAddr>,
    ) -> bool {
        let Some((relay, id)) = self.routes.outgoing(&route.0) else {
            return false;
        };
        let Some(to) = address_of(relay) else {
            return false;
        };
        let mut out = Vec::with_capacity(HEADER + PROBE);
        packet::write(&mut out, Mark::Probe, id, body);
        self.wait(to, out[..].into());
        true
    }

    pub(super) fn poll_echo(&mut self) -> Option<Echo> {
        self.echoes.pop_front()
    }

    /// The next datagram to be sent on as it is.
    pub(crate) fn poll_waiting(&mut self) -> Option<(SocketAddr, BytesMut)> {
        self.waiting.pop_front()
    }

    /// Puts the header in front of each segment of a train for a virtual address. Where to send it; `None` when there is no
    /// way at the moment: lost is lost, QUIC sends again.
    #[cold]
    pub(crate) fn wrap(
        &mut self,
        destination: &SocketAddr,
        train: &mut Vec<u8>,
        segment: usize,
        address_of: &dyn Fn(PeerSlot) -> Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        let (relay, id) = self.routes.outgoing(destination)?;
        let to = address_of(relay)?;
        let segments = train.len().div_ceil(segment.max(1));
        let mut out = Vec::with_capacity(train.len() + segments * HEADER);
        for packet in train.chunks(segment.max(1)) {
            packet::write(&mut out, Mark::Packet, id, packet);
        }
        self.sent += segments as u64;
        *train = out;
        Some(to)
    }
}
