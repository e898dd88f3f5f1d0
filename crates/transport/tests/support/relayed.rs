//! An application that echoes bytes, takes part in relaying, and keeps nodes connected.

use std::time::{Duration, Instant};

use bytes::Bytes;
use linkmesh_transport::core::{
    Application, CloseReason, Io, Limits, NodeId, PeerInfo, PeerSlot, Reading, StreamId, TargetId,
};
use linkmesh_transport::relay::{KIND, Keeper, RelayOptions, Relays};

use super::echo::Echo;

/// A node that falls silent is noticed after three seconds.
pub fn limits() -> Limits {
    Limits {
        idle_timeout: Duration::from_secs(3),
        keep_alive: Some(Duration::from_millis(800)),
        ..Limits::default()
    }
}

pub struct Relayed {
    pub echo: Echo,
    pub relays: Relays,
    pub keeper: Keeper,
}

impl Relayed {
    pub fn new(options: RelayOptions) -> Self {
        Self {
            echo: Echo::default(),
            relays: Relays::new(options),
            keeper: Keeper::new(7),
        }
    }

    pub fn peer_of(&self, node: &NodeId) -> Option<PeerSlot> {
        self.relays.peer(node)
    }

    fn keep(&mut self, io: &mut Io<'_>) {
        self.keeper.poll(io, &mut self.relays);
    }
}

impl Application for Relayed {
    fn connected(&mut self, io: &mut Io<'_>, peer: PeerSlot, info: &PeerInfo) {
        self.relays.connected(io, peer, info);
        self.keeper.connected(io, peer, info);
        self.keep(io);
        self.echo.connected(io, peer, info);
    }

    fn disconnected(&mut self, io: &mut Io<'_>, peer: PeerSlot, reason: &CloseReason) {
        self.relays.disconnected(io, peer);
        self.keeper.disconnected(io, peer);
        self.keep(io);
        self.echo.disconnected(io, peer, reason);
    }

    fn opened(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, kind: u8) -> Reading {
        match kind {
            KIND => self.relays.opened(peer, stream),
            _ => self.echo.opened(io, peer, stream, kind),
        }
    }

    fn received(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, bytes: &[u8]) {
        if self.relays.owns(peer, stream) {
            self.relays.received(io, peer, stream, bytes);
            self.keep(io);
        } else {
            self.echo.received(io, peer, stream, bytes);
        }
    }

    fn received_at(
        &mut self,
        io: &mut Io<'_>,
        peer: PeerSlot,
        stream: StreamId,
        offset: u64,
        bytes: Bytes,
    ) {
        self.echo.received_at(io, peer, stream, offset, bytes);
    }

    fn finished(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        if !self.relays.owns(peer, stream) {
            self.echo.finished(io, peer, stream);
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        if self.relays.owns(peer, stream) {
            self.relays.writable(io, peer);
        } else {
            self.echo.writable(io, peer, stream);
        }
    }

    fn timeout(&mut self, io: &mut Io<'_>) {
        self.relays.timeout(io);
        self.keeper.timeout(io, &mut self.relays);
        self.keep(io);
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.relays.deadline(), self.keeper.deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn unreachable(
        &mut self,
        io: &mut Io<'_>,
        target: TargetId,
        reason: &CloseReason,
        retry_in: Option<Duration>,
    ) {
        if retry_in.is_none() {
            self.keeper.given_up(io, &mut self.relays, target);
        }
        self.echo.unreachable(io, target, reason, retry_in);
    }
}
