//! Between the lanes of this process and the ways to other nodes: who is connected, and when which of them is served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use linkmesh_transport::core::{Io, PeerInfo, PeerSlot, Reading, StreamId};

use crate::engine::Engine;
use crate::remote::link::Link;
use crate::remote::local::Local;
use crate::remote::ring::Neighbours;
use crate::remote::{FRAMES, JsClock, REGISTRY};
use linkmesh_requests::Malformed;

/// Between two looks whether the registry has changed without anybody saying so (leases do).
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks whether something full has room again.
pub(super) const ROOM: Duration = Duration::from_millis(1);
/// Code that closes a connection whose frames are not understood.
pub(super) const PROTOCOL: u64 = 256;
/// Code that closes a connection to a process that has ended.
pub(super) const ENDED: u64 = 257;

/// The part of the engine's application that carries requests. Called by whoever drives the engine, never two at once.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(super) local: Local,
    /// This node's id: a connection to itself carries nothing.
    me: String,
    pub(super) neighbours: Neighbours,
    /// By the slot's index.
    pub(super) links: Vec<Option<Box<Link>>>,
    /// How many have a ring.
    pub(super) rings: usize,
    /// Looks into the rings since something went through one.
    pub(super) quiet: u32,
    /// The rings ring when something comes.
    pub(super) armed: bool,
    /// Registry epoch that the other nodes were told.
    told: u32,
    next_look: Option<Instant>,
}

impl Bridge {
    pub(crate) fn new(
        engine: Arc<Engine>,
        me: String,
        clock: JsClock,
        neighbours: Neighbours,
    ) -> Self {
        Self {
            told: engine.router.registry_epoch(),
            local: Local::new(engine, clock),
            me,
            neighbours,
            links: Vec::new(),
            rings: 0,
            quiet: u32::MAX,
            armed: false,
            next_look: None,
        }
    }

    /// Thread numbers and ids of the connected nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (PeerSlot, u32, &str)> {
        self.links
            .iter()
            .flatten()
            .map(|link| (link.slot, link.peer.id, link.node.as_str()))
    }

    /// True when requests to a node go through memory that both processes share.
    pub(crate) fn is_near(&self, slot: PeerSlot) -> bool {
        find(&self.links, slot).is_some_and(|link| link.departures.uses_ring())
    }

    // --- nodes come and go --------------------------------------------------------------------------------

    pub(crate) fn connected(&mut self, io: &mut Io<'_>, slot: PeerSlot, info: &PeerInfo) {
        let node = info.identity.node_id.to_string();
        let boot_epoch = info.identity.boot_epoch;
        // A node that was started anew is not where its connections from before lead, which nobody has closed.
        for other in self.links.iter().flatten() {
            if other.node == node && other.boot_epoch != boot_epoch {
                io.close(other.slot, ENDED);
            }
        }
        let active = node != self.me && !self.nodes().any(|(_, _, other)| other == node);
        let opened = self
            .local
            .engine
            .join_node(&node)
            .ok()
            .and_then(|peer| Link::open(io, slot, node, boot_epoch, peer, active).ok());
        let Some(link) = opened else {
            io.close(slot, PROTOCOL);
            return;
        };
        let index = slot.index as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        let link = self.links[index].insert(Box::new(link));
        self.local.publish(link);
        link.flush(io);
        self.next_look.get_or_insert(io.now() + LOOK);
    }

    /// The connection is gone. Its requests end with what is true of them.
    pub(crate) fn disconnected(&mut self, io: &Io<'_>, slot: PeerSlot) {
        if find(&self.links, slot).is_none() {
            return;
        }
        let Some(mut link) = self.links[slot.index as usize].take() else {
            return;
        };
        // What the ring still holds has come before the end, and counts.
        let now_ms = self.local.ms(io.now());
        if link.reads_ring() {
            // Whatever it is, nobody is left to be told of it.
            let _ = read_ring(&self.local, &mut link, usize::MAX, now_ms);
        }
        for outlet in link.outlets.values_mut() {
            outlet.flush();
        }
        self.count_rings();
        // What came before the end is in the lanes before the thread is called ended.
        self.local.engine.thread_ended(&link.peer);
        if !link.active {
            return;
        }
        let mut others = self.links.iter_mut().flatten();
        if let Some(next) = others.find(|other| other.node == link.node) {
            self.local.activate(next);
        }
    }

    // --- streams ------------------------------------------------------------------------------------------

    pub(crate) fn opened(&mut self, slot: PeerSlot, stream: StreamId, kind: u8) -> Reading {
        let Some(link) = find_mut(&mut self.links, slot) else {
            return Reading::Refuse;
        };
        match kind {
            FRAMES if link.arrivals.open(stream) => Reading::Ordered,
            REGISTRY => Reading::Ordered,
            _ => Reading::Refuse,
        }
    }

    /// Bytes of a stream. True when they were the first that tell of the other node's services.
    pub(crate) fn received(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        stream: StreamId,
        bytes: &[u8],
    ) -> bool {
        let Some(link) = find_mut(&mut self.links, slot) else {
            return false;
        };
        let known = link.subscriber.is_started();
        let understood = match link.arrivals.index(stream) {
            Some(index) => read_stream(&self.local, link, index, bytes, self.local.ms(io.now())),
            None => self.local.learn(link, bytes),
        };
        if understood.is_err() {
            io.close(slot, PROTOCOL);
            return false;
        }
        !known && link.subscriber.is_started()
    }

    pub(crate) fn settled(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        // Packets come: they are to be looked for.
        self.quiet = u32::MAX;
        if let Some(link) = find_mut(&mut self.links, slot) {
            advance(&self.local, link, io);
            if link.is_waiting() {
                self.look_within(io.now() + ROOM);
            }
        }
    }

    pub(crate) fn writable(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        if let Some(link) = find_mut(&mut self.links, slot) {
            advance(&self.local, link, io);
        }
    }

    // --- time ---------------------------------------------------------------------------------------------

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next_look
    }

    pub(crate) fn timeout(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        if self.next_look.is_none_or(|at| at > now) {
            return;
        }
        let slots: Vec<PeerSlot> = self.nodes().map(|(slot, _, _)| slot).collect();
        self.next_look = (!slots.is_empty()).then(|| now + LOOK);
        self.publish(io);
        for slot in slots {
            self.settled(io, slot);
        }
        self.close_ended(io);
    }

    pub(super) fn look_within(&mut self, at: Instant) {
        self.next_look = Some(self.next_look.map_or(at, |next| next.min(at)));
    }

    // --- what threads of this process have done -------------------------------------------------------------

    /// Tells the other nodes what has changed here, if anything has.
    pub(crate) fn publish(&mut self, io: &mut Io<'_>) {
        let epoch = self.local.engine.router.registry_epoch();
        if std::mem::replace(&mut self.told, epoch) == epoch {
            return;
        }
        for link in self.links.iter_mut().flatten() {
            self.local.publish(link);
            advance(&self.local, link, io);
        }
    }

    /// Carries what lies in the lanes to the node that appears as `thread`.
    /// Carries what threads of this process have written for that node. Which engine thread its packets come to.
    pub(crate) fn pump(&mut self, io: &mut Io<'_>, thread: u32) -> Option<u8> {
        let mut links = self.links.iter_mut().flatten();
        let link = links.find(|link| link.peer.id == thread)?;
        carry(&self.local, link, io);
        let shard = io.shard(link.slot);
        if link.departures.uses_ring() {
            // The answer comes the same way; `has_moved` is about what has come.
            self.quiet = self.quiet.min(1);
        }
        if link.is_waiting() {
            self.look_within(io.now() + ROOM);
        }
        Some(shard)
    }
}

fn find(links: &[Option<Box<Link>>], slot: PeerSlot) -> Option<&Link> {
    links
        .get(slot.index as usize)?
        .as_deref()
        .filter(|link| link.slot == slot)
}

fn find_mut(links: &mut [Option<Box<Link>>], slot: PeerSlot) -> Option<&mut Link> {
    links
        .get_mut(slot.index as usize)?
        .as_deref_mut()
        .filter(|link| link.slot == slot)
}

/// Sends on what waits, and when all of it went, what was left in the lanes for want of room: whoever makes room does this,
/// for nobody else looks into them before a thread writes again.
pub(super) fn advance(local: &Local, link: &mut Link, io: &mut Io<'_>) {
    link.settle(io);
    if link.flush(io) && link.has_left() {
        carry(local, link, io);
    }
}

/// Until the lanes are empty, or the ways full: then [`advance`] goes on.
fn carry(local: &Local, link: &mut Link, io: &mut Io<'_>) {
    let now_ms = local.ms(io.now());
    loop {
        let all = local.carry_lanes(link, now_ms);
        link.settle(io);
        if !link.flush(io) || all {
            return;
        }
    }
}

fn read_stream(
    local: &Local,
    link: &mut Link,
    index: usize,
    bytes: &[u8],
    now_ms: f64,
) -> Result<(), Malformed> {
    // Taken out while its frames are handed on: what they cause does not read.
    let mut arrivals = std::mem::take(&mut link.arrivals);
    let mut ring = link.ring.take();
    let read = arrivals.stream(index, bytes, &mut ring, &mut |header, content| {
        local.deliver(link, header, content, now_ms)
    });
    link.arrivals = arrivals;
    link.ring = ring;
    read
}

/// Up to `most` pieces of what lies in the ring; how many there were.
pub(super) fn read_ring(
    local: &Local,
    link: &mut Link,
    most: usize,
    now_ms: f64,
) -> Result<usize, Malformed> {
    let mut arrivals = std::mem::take(&mut link.arrivals);
    let mut ring = link.ring.take();
    let read = arrivals.ring(&mut ring, most, &mut |header, content| {
        local.deliver(link, header, content, now_ms)
    });
    link.arrivals = arrivals;
    link.ring = ring;
    read
}
