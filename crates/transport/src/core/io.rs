//! What the application can do while it is called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Core;
use super::application::Reading;
use super::link::{Link, StreamState};
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
/// turn ends, or in the next turn of the engine thread that the peer belongs to.
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

    /// Which engine thread a peer's packets come to.
    pub fn shard(&self, peer: PeerSlot) -> u8 {
        self.core.shard.of(peer.index.into())
    }

    /// Looks at a connection, on whichever engine thread it is.
    fn look<R>(&self, peer: PeerSlot, look: impl FnOnce(&Link) -> R) -> Option<R> {
        let look = |core: &Core| core.links.get(peer).map(look);
        if self.core.shard.owns(peer.index.into()) {
            look(self.core)
        } else {
            self.core.group.upgrade()?.look(self.shard(peer), look)?
        }
    }

    /// Acts on the core that `number` (of a peer or a target) belongs to. `None` when there is no such core.
    #[inline]
    fn act<R>(&mut self, number: u64, act: impl FnOnce(&mut Core) -> R) -> Option<R> {
        if self.core.shard.owns(number) {
            Some(act(self.core))
        } else {
            let shard = self.core.shard.of(number);
            self.core.group.upgrade()?.elsewhere(shard, act)
        }
    }

    /// Acts on a connection, which is served when the turn ends.
    #[inline]
    fn touch<R>(
        &mut self,
        peer: PeerSlot,
        act: impl FnOnce(&mut Link) -> Result<R, StreamError>,
    ) -> Result<R, StreamError> {
        self.act(peer.index.into(), |core| {
            act(core.links.touch(peer).ok_or(StreamError::Gone)?)
        })
        .ok_or(StreamError::Gone)?
    }

    /// Who a peer is. `None` when it is gone.
    pub fn info(&self, peer: PeerSlot) -> Option<Arc<PeerInfo>> {
        self.look(peer, |link| link.info.clone())?
    }

    /// All connected peers, whichever thread they belong to.
    pub fn peers(&self) -> Vec<(PeerSlot, Arc<PeerInfo>)> {
        let of = |core: &Core| {
            let known = core.links.iter();
            let known = known.filter_map(|link| Some((link.slot, link.info.clone()?)));
            known.collect::<Vec<_>>()
        };
        let mut all = of(self.core);
        if let Some(group) = self.core.group.upgrade() {
            let others = (0..group.shards()).filter(|shard| *shard != self.core.shard.shard());
            all.extend(others.filter_map(|shard| group.look(shard, of)).flatten());
        }
        all
    }

    /// The smoothed round-trip time to a peer.
    pub fn rtt(&self, peer: PeerSlot) -> Option<Duration> {
        self.look(peer, |link| link.connection.rtt())
    }

    /// Where a peer is now (it may have migrated since it connected).
    pub fn address(&self, peer: PeerSlot) -> Option<SocketAddr> {
        self.look(peer, |link| link.connection.remote_address())
    }

    /// What the connection has counted. Costs a copy of about 500 bytes.
    pub fn stats(&self, peer: PeerSlot) -> Option<PeerStats> {
        self.look(peer, |link| PeerStats::of(&link.connection))
    }

    /// 32 secret bytes that both ends of this connection, and nobody else, can compute from `label` (RFC 8446 §7.5): for
    /// tying another channel between the same two processes to this one.
    pub fn export_secret(&self, peer: PeerSlot, label: &[u8]) -> Option<[u8; 32]> {
        self.look(peer, |link| {
            let mut secret = [0; 32];
            link.connection
                .crypto_session()
                .export_keying_material(&mut secret, label, b"")
                .ok()?;
            Some(secret)
        })?
    }

    /// How good the path to a peer is, from 0 to 1, as of the last second. 1 where nobody watches: the
    /// side that was dialled.
    pub fn health(&self, peer: PeerSlot) -> Option<f32> {
        self.look(peer, |link| link.health.as_ref().map_or(1.0, Health::score))
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
        self.touch(peer, |link| link.open(kind, direction, priority))
    }

    /// Changes what is kept of a stream, if there is one.
    fn change(&mut self, peer: PeerSlot, stream: StreamId, change: impl FnOnce(&mut StreamState)) {
        self.act(peer.index.into(), |core| {
            let link = core.links.get_mut(peer)?;
            link.stream_mut(stream).map(change)
        });
    }

    /// How to read what comes on a stream, for one that this side opened (ordered otherwise).
    pub fn read_unordered(&mut self, peer: PeerSlot, stream: StreamId) {
        self.change(peer, stream, |state| state.reading = Reading::Unordered);
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
        self.touch(peer, |link| link.write(stream, bytes))
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
        self.touch(peer, |link| link.write_block(stream, block))
    }

    /// Ends our direction: the peer learns that nothing more comes, and `Application::delivered` that it has everything.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(&mut self, peer: PeerSlot, stream: StreamId) -> Result<(), StreamError> {
        self.touch(peer, |link| link.finish(stream))
    }

    /// Abandons our direction: what has not arrived may never arrive.
    pub fn reset(&mut self, peer: PeerSlot, stream: StreamId, code: u64) {
        // A peer that is gone has nothing to reset.
        let _ = self.touch(peer, |link| {
            link.reset(stream, code);
            Ok(())
        });
    }

    /// Asks the peer to stop sending; what has not been handed over is dropped.
    pub fn stop(&mut self, peer: PeerSlot, stream: StreamId, code: u64) {
        // As in `reset`.
        let _ = self.touch(peer, |link| {
            link.stop(stream, code);
            Ok(())
        });
    }

    /// Hands nothing more of this stream over until [`resume`](Self::resume). The peer is slowed by the window.
    pub fn pause(&mut self, peer: PeerSlot, stream: StreamId) {
        self.change(peer, stream, |state| state.paused = true);
    }

    /// Hands the bytes of a paused stream over again, from the next turn on.
    pub fn resume(&mut self, peer: PeerSlot, stream: StreamId) {
        self.act(peer.index.into(), |core| core.resume(peer, stream));
    }

    /// What goes over relays, and what is relayed for others, of this engine thread alone.
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
        let now = self.now;
        self.act(peer.index.into(), |core| core.close_peer(now, peer, code));
    }

    /// Starts to reach and keep a node. `Application::connected` comes with this id in its `target`.
    ///
    /// # Errors
    /// The name of the limit: `targets`, `addresses` (1 to 16; none at first where a node is expected) or `connections` (1 to 4).
    pub fn connect(&mut self, target: Target) -> Result<TargetId, &'static str> {
        let now = self.now;
        let shard = self.core.group.upgrade().map(|group| group.next_dial());
        let shard = shard.unwrap_or(self.core.shard.shard());
        let connected = self.act(shard.into(), |core| core.connect(now, target));
        connected.unwrap_or(Err("targets"))
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
        let now = self.now;
        let done = self.act(target.0, |core| core.readdress(now, target, addresses));
        done.unwrap_or(Ok(()))
    }

    /// Connects a target by another of its addresses, and leaves `peer` once the new connection stands. False when an attempt
    /// is under way already.
    pub fn move_to(&mut self, peer: PeerSlot, address: SocketAddr) -> bool {
        let now = self.now;
        let begun = self.act(peer.index.into(), |core| core.move_to(now, peer, address));
        begun.unwrap_or(false)
    }

    /// Gives a target up: no further dialling. Connections it has are closed gracefully.
    pub fn forget(&mut self, target: TargetId) {
        let now = self.now;
        self.act(target.0, |core| core.forget(now, target));
    }
}
