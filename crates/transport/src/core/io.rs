//! What the application can do while it is called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Core;
use super::application::Reading;
use super::peer::{Direction, PeerInfo, PeerSlot, StreamId, Target, TargetId};
use super::stats::PeerStats;
use crate::pool::Health;
use crate::relay::{PROBE, Packets, RouteId};

/// Why a stream does not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamError {
    /// The peer is gone (or this slot is an old one).
    Gone,
    /// There is no such stream, or this direction of it is finished or reset.
    Closed,
    /// The peer asked us to stop sending, with this code.
    Stopped(u64),
    /// The peer allows no further stream now; `Application::streams_available` tells when it does.
    Limit,
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => out.write_str("the peer is gone"),
            Self::Closed => out.write_str("the stream is closed"),
            Self::Stopped(code) => write!(out, "the peer stopped the stream (code {code})"),
            Self::Limit => out.write_str("the peer takes no further stream at the moment"),
        }
    }
}

impl std::error::Error for StreamError {}

/// The engine as the application sees it during a call. Nothing here blocks or sends at once: packets are built when the
/// turn ends.
#[derive(Debug)]
pub struct Io<'a> {
    pub(super) now: Instant,
    pub(super) core: &'a mut Core,
}

impl<'a> Io<'a> {
    pub(super) fn new(now: Instant, core: &'a mut Core) -> Self {
        Self { now, core }
    }

    /// The time of this turn: the same in all its calls.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Who a peer is. `None` when it is gone.
    pub fn info(&self, peer: PeerSlot) -> Option<&Arc<PeerInfo>> {
        self.core.links.get(peer)?.info.as_ref()
    }

    /// All connected peers.
    pub fn peers(&self) -> impl Iterator<Item = (PeerSlot, &Arc<PeerInfo>)> {
        self.core
            .links
            .iter()
            .filter_map(|link| Some((link.slot, link.info.as_ref()?)))
    }

    /// The smoothed round-trip time to a peer.
    pub fn rtt(&self, peer: PeerSlot) -> Option<Duration> {
        Some(self.core.links.get(peer)?.connection.rtt())
    }

    /// Where a peer is now (it may have migrated since it connected).
    pub fn address(&self, peer: PeerSlot) -> Option<SocketAddr> {
        Some(self.core.links.get(peer)?.connection.remote_address())
    }

    /// What the connection has counted. Costs a copy of about 500 bytes.
    pub fn stats(&self, peer: PeerSlot) -> Option<PeerStats> {
        Some(PeerStats::of(&self.core.links.get(peer)?.connection))
    }

    /// 32 secret bytes that both ends of this connection, and nobody else, can compute from `label` (RFC 8446 §7.5): for
    /// tying another channel between the same two processes to this one.
    pub fn export_secret(&self, peer: PeerSlot, label: &[u8]) -> Option<[u8; 32]> {
        let mut secret = [0; 32];
        let link = self.core.links.get(peer)?;
        link.connection
            .crypto_session()
            .export_keying_material(&mut secret, label, b"")
            .ok()?;
        Some(secret)
    }

    /// How good the path to a peer is, from 0 to 1, as of the last second. 1 where nobody watches: the
    /// side that was dialled.
    pub fn health(&self, peer: PeerSlot) -> Option<f32> {
        let health = self.core.links.get(peer)?.health.as_ref();
        Some(health.map_or(1.0, Health::score))
    }

    /// Opens a stream whose kind, for [`Application::opened`](super::Application::opened) at the other side, is `kind`.
    /// Of streams with something to send, those of higher `priority` go first; equal ones take turns.
    ///
    /// # Errors
    /// [`StreamError::Gone`] or [`StreamError::Limit`].
    pub fn open(
        &mut self,
        peer: PeerSlot,
        kind: u8,
        direction: Direction,
        priority: i32,
    ) -> Result<StreamId, StreamError> {
        let link = self.core.links.touch(peer).ok_or(StreamError::Gone)?;
        link.open(kind, direction, priority)
    }

    /// How to read what comes on a stream, for one that this side opened (ordered otherwise).
    pub fn read_unordered(&mut self, peer: PeerSlot, stream: StreamId) {
        if let Some(state) = self
            .core
            .links
            .get_mut(peer)
            .and_then(|link| link.stream_mut(stream))
        {
            state.reading = Reading::Unordered;
        }
    }

    /// Appends bytes to a stream and says how many it took. Fewer than given means that a window is full: the rest is for
    /// later, after [`Application::writable`](super::Application::writable). The bytes are copied.
    ///
    /// # Errors
    /// [`StreamError::Gone`], [`StreamError::Closed`], [`StreamError::Stopped`].
    pub fn write(
        &mut self,
        peer: PeerSlot,
        stream: StreamId,
        bytes: &[u8],
    ) -> Result<usize, StreamError> {
        self.core
            .links
            .touch(peer)
            .ok_or(StreamError::Gone)?
            .write(stream, bytes)
    }

    /// Appends a block without copying it and takes off what was accepted: what is left in `block` is for later. The
    /// memory behind it must never change: it may be sent again.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_block(
        &mut self,
        peer: PeerSlot,
        stream: StreamId,
        block: &mut Bytes,
    ) -> Result<usize, StreamError> {
        self.core
            .links
            .touch(peer)
            .ok_or(StreamError::Gone)?
            .write_block(stream, block)
    }

    /// Ends our direction: the peer learns that nothing more comes, and `Application::delivered` that it has everything.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(&mut self, peer: PeerSlot, stream: StreamId) -> Result<(), StreamError> {
        self.core
            .links
            .touch(peer)
            .ok_or(StreamError::Gone)?
            .finish(stream)
    }

    /// Abandons our direction: what has not arrived may never arrive.
    pub fn reset(&mut self, peer: PeerSlot, stream: StreamId, code: u64) {
        if let Some(link) = self.core.links.touch(peer) {
            link.reset(stream, code);
        }
    }

    /// Asks the peer to stop sending; what has not been handed over is dropped.
    pub fn stop(&mut self, peer: PeerSlot, stream: StreamId, code: u64) {
        if let Some(link) = self.core.links.touch(peer) {
            link.stop(stream, code);
        }
    }

    /// Hands nothing more of this stream over until [`resume`](Self::resume). The peer is slowed by the window.
    pub fn pause(&mut self, peer: PeerSlot, stream: StreamId) {
        if let Some(state) = self
            .core
            .links
            .get_mut(peer)
            .and_then(|link| link.stream_mut(stream))
        {
            state.paused = true;
        }
    }

    /// Hands the bytes of a paused stream over again, from the next turn on.
    pub fn resume(&mut self, peer: PeerSlot, stream: StreamId) {
        self.core.resume(peer, stream);
    }

    /// What goes over relays, and what is relayed for others.
    pub fn relay(&mut self) -> &mut Packets {
        &mut self.core.relay
    }

    /// Sends a probe over a relayed way. False when it has no session.
    pub(crate) fn probe(&mut self, route: RouteId, body: &[u8; PROBE]) -> bool {
        let Core { relay, links, .. } = &mut *self.core;
        relay.probe(route, body, &|slot| super::core::real_address(links, slot))
    }

    /// Closes the connection at once. What is not acknowledged may be lost. Codes of the application's own start at 256.
    /// `disconnected` follows.
    pub fn close(&mut self, peer: PeerSlot, code: u64) {
        self.core.close_peer(self.now, peer, code);
    }

    /// Starts to reach and keep a node. `Application::connected` comes with this id in its `target`.
    ///
    /// # Errors
    /// The name of the limit: `targets`, `addresses` (1 to 16; none at first where a node is expected) or `connections` (1 to 4).
    pub fn connect(&mut self, target: Target) -> Result<TargetId, &'static str> {
        self.core.connect(self.now, target)
    }

    /// Where a target may be from now on, best first. What is new is tried at once; a connection that stands stays. None, for a
    /// target with an expected node: then nothing is dialled until there is one.
    ///
    /// # Errors
    /// `addresses`, when there are more than 16.
    pub fn readdress(
        &mut self,
        target: TargetId,
        addresses: Vec<SocketAddr>,
    ) -> Result<(), &'static str> {
        self.core.readdress(self.now, target, addresses)
    }

    /// Connects a target by another of its addresses, and leaves `peer` once the new connection stands. False when an attempt
    /// is under way already.
    pub fn move_to(&mut self, peer: PeerSlot, address: SocketAddr) -> bool {
        self.core.move_to(self.now, peer, address)
    }

    /// Gives a target up: no further dialling. Connections it has are closed gracefully.
    pub fn forget(&mut self, target: TargetId) {
        self.core.forget(self.now, target);
    }
}
