//! What runs on the engine of a node: requests, memory, locators and relays, each with kinds of streams of its own.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkmesh_memory::endpoint::Endpoint;
use linkmesh_transport::address::{self, Locators};
use linkmesh_transport::core::{
    Application, CloseReason, Io, NodeId, PeerInfo, PeerSlot, Reading, StreamId, Target, TargetId,
};
use linkmesh_transport::relay::{self, Keeper, Relays, Wanted};

use crate::memory::Arrivals;
use crate::remote::{Bridge, FRAMES, REGISTRY};
use crate::state::Failure;
use crate::transport::Refusal;
use crate::transport::publisher::Wake;

/// Kinds of streams that remote memory has.
const MEMORY_FIRST: u8 = 0x10;
const MEMORY_LAST: u8 = 0x1f;

/// Who waits for a target to be connected.
#[derive(Debug)]
struct Waiting {
    /// For whoever gives up.
    number: u64,
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
    pub(super) relays: Relays,
    keeper: Keeper,
    /// Ways over relays are one engine thread's, and here there are several: no peer's relay is used.
    has_relays: bool,
    /// Told when other relays serve than before: then this node's record is another one.
    announce: Option<Sender<Wake>>,
    /// Of the relays, as it was told of last.
    announced: u64,
    waiting: Vec<Waiting>,
    next_waiting: u64,
}

impl NodeApp {
    pub(crate) fn new(
        bridge: Bridge,
        memory: Endpoint,
        locators: Locators,
        relays: Relays,
        keeper: Keeper,
    ) -> Self {
        Self {
            bridge,
            memory,
            arrivals: Arrivals::default(),
            locators,
            announced: relays.epoch(),
            relays,
            has_relays: true,
            keeper,
            announce: None,
            waiting: Vec::new(),
            next_waiting: 0,
        }
    }

    /// Dials a target. Tells `tell` when it is connected and its services are known here, or that it is given up. The number is
    /// for [`give_up`](Self::give_up).
    ///
    /// # Errors
    /// As [`Io::connect`].
    pub(super) fn connect(
        &mut self,
        io: &mut Io<'_>,
        target: Target,
        tell: Sender<Result<PeerSlot, Failure>>,
    ) -> Result<u64, &'static str> {
        let target = io.connect(target)?;
        Ok(self.when_connected(target, tell))
    }

    /// As [`connect`](Self::connect), for a node that is known by its id, over relays where that is needed.
    ///
    /// # Errors
    /// As [`Io::connect`].
    pub(super) fn keep(
        &mut self,
        io: &mut Io<'_>,
        wanted: Wanted,
        tell: Sender<Result<PeerSlot, Failure>>,
    ) -> Result<u64, &'static str> {
        let target = self.keeper.keep(io, &mut self.relays, wanted)?;
        if let Some(peer) = self.keeper.peer(target) {
            // Whoever waits may have given up.
            drop(tell.send(Ok(peer)));
        }
        Ok(self.when_connected(target, tell))
    }

    fn when_connected(&mut self, target: TargetId, tell: Sender<Result<PeerSlot, Failure>>) -> u64 {
        let number = self.next_waiting;
        self.next_waiting += 1;
        self.waiting.push(Waiting {
            number,
            target,
            peer: None,
            tell,
        });
        number
    }

    /// Nobody waits for this any more. A target that nobody waits for and that never was connected is not dialled any more.
    pub(super) fn give_up(&mut self, io: &mut Io<'_>, number: u64) {
        let at = self.waiting.iter().position(|one| one.number == number);
        let Some(Waiting { target, .. }) = at.map(|at| self.waiting.swap_remove(at)) else {
            return;
        };
        let others = self.waiting.iter().any(|one| one.target == target);
        if !others && self.keeper.peer(target).is_none() {
            self.keeper.forget(io, &mut self.relays, target);
        }
    }

    /// Neither uses relays nor serves as one. To be called before the first connection.
    pub(super) fn leave_relays_alone(&mut self) {
        self.has_relays = false;
    }

    /// Relays may have said something: what is kept goes by it, and others are told.
    fn follow_relays(&mut self, io: &mut Io<'_>) {
        self.keeper.poll(io, &mut self.relays);
        if std::mem::replace(&mut self.announced, self.relays.epoch()) != self.relays.epoch()
            && let Some(announce) = &self.announce
        {
            // The node is closing if nobody listens.
            let _ = announce.send(Wake::Relays);
        }
    }

    /// From here on relays that come and go are told.
    pub(super) fn announce_to(&mut self, announce: Sender<Wake>) {
        let _ = announce.send(Wake::Relays);
        self.announce = Some(announce);
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
        if self.has_relays {
            self.relays.connected(io, peer, info);
        }
        self.keeper.connected(io, peer, info);
        self.follow_relays(io);
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
        self.relays.disconnected(io, peer);
        self.keeper.disconnected(io, peer);
        self.follow_relays(io);
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
            relay::KIND if self.has_relays => self.relays.opened(peer, stream),
            _ => Reading::Refuse,
        }
    }

    fn received(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, bytes: &[u8]) {
        if self.memory.owns(peer, stream) {
            self.memory.received(io, peer, stream, bytes);
        } else if self.locators.owns(peer, stream) {
            self.locators.received(io, peer, stream, bytes);
        } else if self.relays.owns(peer, stream) {
            self.relays.received(io, peer, stream, bytes);
            self.follow_relays(io);
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
        } else if self.relays.owns(peer, stream) {
            self.relays.writable(io, peer);
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
        self.relays.writable(io, peer);
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
        } else if self.relays.owns(peer, stream) {
            self.relays.stopped(peer);
        }
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
        self.relays.timeout(io);
        self.keeper.timeout(io, &mut self.relays);
        self.follow_relays(io);
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.bridge.deadline(),
            self.memory.deadline(),
            self.locators.deadline(),
            self.relays.deadline(),
            self.keeper.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }
}
