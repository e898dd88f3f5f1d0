//! What runs on the engine of a node: requests, memory and locators, each with kinds of streams of its own.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkmesh_memory::endpoint::Endpoint;
use linkmesh_transport::address::{self, Locators};
use linkmesh_transport::core::{
    Application, CloseReason, Io, NodeId, PeerInfo, PeerSlot, Reading, StreamId, TargetId,
};

use crate::memory::Arrivals;
use crate::remote::{Bridge, FRAMES, REGISTRY};
use crate::state::Failure;
use crate::transport::Refusal;

/// Kinds of streams that remote memory has.
const MEMORY_FIRST: u8 = 0x10;
const MEMORY_LAST: u8 = 0x1f;

/// Who waits for a target to be connected.
#[derive(Debug)]
struct Waiting {
    target: TargetId,
    /// Its connection, once there is one; then only its registry is waited for.
    peer: Option<PeerSlot>,
    tell: Sender<Result<PeerSlot, Failure>>,
}

/// The application of one node's engine.
#[derive(Debug)]
pub(crate) struct NodeApp {
    pub(crate) bridge: Bridge,
    pub(crate) memory: Endpoint,
    pub(crate) arrivals: Arrivals,
    pub(crate) locators: Locators,
    waiting: Vec<Waiting>,
}

impl NodeApp {
    pub(crate) fn new(bridge: Bridge, memory: Endpoint, locators: Locators) -> Self {
        Self {
            bridge,
            memory,
            arrivals: Arrivals::default(),
            locators,
            waiting: Vec::new(),
        }
    }

    /// Tells `tell` when the target is connected and its services are known here, or that it is given up.
    pub(crate) fn when_connected(
        &mut self,
        target: TargetId,
        tell: Sender<Result<PeerSlot, Failure>>,
    ) {
        self.waiting.push(Waiting {
            target,
            peer: None,
            tell,
        });
    }

    /// Nobody waits for this target any more.
    pub(crate) fn forget(&mut self, target: TargetId) {
        self.waiting.retain(|waiting| waiting.target != target);
    }

    fn introduced(&mut self, peer: PeerSlot) {
        self.waiting.retain(|waiting| {
            let mine = waiting.peer == Some(peer);
            if mine {
                // Whoever waited may have given up.
                drop(waiting.tell.send(Ok(peer)));
            }
            !mine
        });
    }
}

impl Application for NodeApp {
    fn connected(&mut self, io: &mut Io<'_>, peer: PeerSlot, info: &PeerInfo) {
        self.bridge.connected(io, peer, info);
        self.memory.connected(io, peer, info);
        self.locators.connected(io, peer, info);
        for waiting in &mut self.waiting {
            if Some(waiting.target) == info.target {
                waiting.peer = Some(peer);
            }
        }
    }

    fn disconnected(&mut self, io: &mut Io<'_>, peer: PeerSlot, reason: &CloseReason) {
        self.bridge.disconnected(io, peer);
        self.memory.disconnected(io, peer, reason);
        self.arrivals.deliver(&mut self.memory, io);
        self.locators.disconnected(peer);
        for waiting in &mut self.waiting {
            if waiting.peer == Some(peer) {
                waiting.peer = None;
            }
        }
    }

    fn opened(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, kind: u8) -> Reading {
        match kind {
            FRAMES | REGISTRY => self.bridge.opened(peer, stream, kind),
            MEMORY_FIRST..=MEMORY_LAST => self.memory.opened(io, peer, stream, kind),
            address::KIND => self.locators.opened(peer, stream),
            _ => Reading::Refuse,
        }
    }

    fn received(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, bytes: &[u8]) {
        if self.memory.owns(peer, stream) {
            self.memory.received(io, peer, stream, bytes);
        } else if self.locators.owns(peer, stream) {
            self.locators.received(io, peer, stream, bytes);
        } else if self.bridge.received(io, peer, stream, bytes) {
            self.introduced(peer);
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
        if self.memory.owns(peer, stream) {
            self.memory.received_at(io, peer, stream, offset, bytes);
        }
    }

    fn delivered(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        if self.memory.owns(peer, stream) {
            self.memory.delivered(io, peer, stream);
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        if self.memory.owns(peer, stream) {
            self.memory.writable(io, peer, stream);
        } else if self.locators.owns(peer, stream) {
            self.locators.writable(io, peer);
        } else {
            self.bridge.writable(io, peer);
        }
    }

    fn settled(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        self.bridge.settled(io, peer);
        self.memory.settled(io, peer);
        self.arrivals.deliver(&mut self.memory, io);
    }

    fn poll(&mut self, io: &mut Io<'_>) {
        self.bridge.poll(io);
        self.arrivals.deliver(&mut self.memory, io);
    }

    fn before_sleep(&mut self) -> bool {
        self.bridge.before_sleep() && !self.arrivals.is_due(&self.memory)
    }

    fn streams_available(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        self.memory.streams_available(io, peer);
        self.locators.writable(io, peer);
    }

    fn finished(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        if self.memory.owns(peer, stream) {
            self.memory.finished(io, peer, stream);
        }
    }

    fn reset(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, code: u64) {
        if self.memory.owns(peer, stream) {
            self.memory.reset(io, peer, stream, code);
        }
    }

    fn stopped(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, code: u64) {
        if self.memory.owns(peer, stream) {
            self.memory.stopped(io, peer, stream, code);
        } else if self.locators.owns(peer, stream) {
            self.locators.stopped(peer);
        }
    }

    fn unreachable(
        &mut self,
        _io: &mut Io<'_>,
        target: TargetId,
        reason: &CloseReason,
        retry_in: Option<Duration>,
    ) {
        // What cannot get better by itself is told at once; the rest is tried again until whoever waits gives up.
        if retry_in.is_some() && reason.is_retryable() {
            return;
        }
        self.waiting.retain(|waiting| {
            let mine = waiting.target == target;
            if mine {
                drop(waiting.tell.send(Err(reason.refusal("address"))));
            }
            !mine
        });
    }

    fn revocations_changed(&mut self, io: &mut Io<'_>, is_revoked: &dyn Fn(&NodeId) -> bool) {
        self.memory.revocations_changed(io, is_revoked);
    }

    fn timeout(&mut self, io: &mut Io<'_>) {
        self.bridge.timeout(io);
        self.memory.timeout(io);
        self.arrivals.deliver(&mut self.memory, io);
        self.locators.timeout(io);
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.bridge.deadline(),
            self.memory.deadline(),
            self.locators.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }
}
