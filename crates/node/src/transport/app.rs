//! What runs on the engine of a node: requests and memory, each with kinds of streams of its own.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use linkmesh_transport::core::{
    Application, CloseReason, Io, PeerInfo, PeerSlot, Reading, StreamId, TargetId,
};

use crate::remote::{Bridge, FRAMES, REGISTRY};
use crate::state::Failure;
use crate::transport::Refusal;

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
    waiting: Vec<Waiting>,
}

impl NodeApp {
    pub(crate) fn new(bridge: Bridge) -> Self {
        Self {
            bridge,
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
        for waiting in &mut self.waiting {
            if Some(waiting.target) == info.target {
                waiting.peer = Some(peer);
            }
        }
    }

    fn disconnected(&mut self, _io: &mut Io<'_>, peer: PeerSlot, _reason: &CloseReason) {
        self.bridge.disconnected(peer);
        for waiting in &mut self.waiting {
            if waiting.peer == Some(peer) {
                waiting.peer = None;
            }
        }
    }

    fn opened(&mut self, _io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, kind: u8) -> Reading {
        match kind {
            FRAMES | REGISTRY => self.bridge.opened(peer, stream, kind),
            _ => Reading::Refuse,
        }
    }

    fn received(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, bytes: &[u8]) {
        if self.bridge.received(io, peer, stream, bytes) {
            self.introduced(peer);
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, peer: PeerSlot, _stream: StreamId) {
        self.bridge.writable(io, peer);
    }

    fn settled(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        self.bridge.settled(io, peer);
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

    fn timeout(&mut self, io: &mut Io<'_>) {
        self.bridge.timeout(io);
    }

    fn deadline(&self) -> Option<Instant> {
        self.bridge.deadline()
    }
}
