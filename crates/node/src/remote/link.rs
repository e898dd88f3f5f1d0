//! What is kept of one connected node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use linkmesh_registry::exchange::{Publisher, Subscriber};
use linkmesh_requests::{Arrivals, Collected, Departures, FRAME_STREAMS, RingOver, Ways};
use linkmesh_transport::core::{Direction, Io, PeerSlot, StreamError, StreamId};

use crate::peer::{LaneLink, Peer};
use crate::remote::outlet::{Outlet, PAUSE_BYTES};
use crate::remote::ring::Ring;
use crate::remote::{FRAMES, REGISTRY};

/// Where the registry stands among the streams that have something to send.
const REGISTRY_PRIORITY: i32 = 1;

/// One connection to a node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) slot: PeerSlot,
    /// Id of the node, 64 hex digits.
    pub(super) node: String,
    /// Of which run of the node's process.
    pub(super) boot_epoch: [u8; 16],
    /// As which thread it appears here.
    pub(super) peer: Arc<Peer>,
    /// Its instances are in the registry. Of several connections to a node, only those of the first are.
    pub(super) active: bool,
    pub(super) arrivals: Arrivals<StreamId>,
    pub(super) departures: Departures,
    streams: [StreamId; FRAME_STREAMS],
    /// Shared with the node, when it runs on this host.
    pub(super) ring: Option<Box<Ring>>,
    /// The ring has ended, and until then the end of its process is looked for.
    pub(super) suspected: Option<Instant>,
    pub(super) registry: Collected,
    registry_stream: StreamId,
    pub(super) registry_in: Vec<u8>,
    pub(super) publisher: Publisher,
    pub(super) subscriber: Subscriber,
    /// Handles here by handles there, and the other way round.
    pub(super) near: HashMap<u32, u32>,
    pub(super) far: HashMap<u32, u32>,
    /// Lanes to threads of this process, by thread.
    pub(super) outlets: HashMap<u32, Outlet>,
    /// Lanes from threads of this process.
    lanes: Vec<Arc<LaneLink>>,
    lanes_version: Option<u32>,
    paused: bool,
    /// Frames wait for room in a lane: nobody says when there is some.
    blocked: bool,
}

impl Link {
    /// Opens the streams of a node that has just connected.
    pub(super) fn open(
        io: &mut Io<'_>,
        slot: PeerSlot,
        node: String,
        boot_epoch: [u8; 16],
        peer: Arc<Peer>,
        active: bool,
    ) -> Result<Self, StreamError> {
        let mut open = |kind, priority| io.open(slot, kind, Direction::Unidirectional, priority);
        let mut frames = || open(FRAMES, 0);
        let streams = [frames()?, frames()?, frames()?, frames()?];
        Ok(Self {
            registry_stream: open(REGISTRY, REGISTRY_PRIORITY)?,
            slot,
            node,
            boot_epoch,
            peer,
            active,
            arrivals: Arrivals::default(),
            departures: Departures::default(),
            streams,
            ring: None,
            suspected: None,
            registry: Collected::default(),
            registry_in: Vec::new(),
            publisher: Publisher::new(),
            subscriber: Subscriber::new(),
            near: HashMap::new(),
            far: HashMap::new(),
            outlets: HashMap::new(),
            lanes: Vec::new(),
            lanes_version: None,
            paused: false,
            blocked: false,
        })
    }

    /// From here on frames go over the ring.
    pub(super) fn use_ring(&mut self, ring: Ring) {
        self.ring = Some(Box::new(ring));
        self.departures.move_to_ring();
    }

    /// Hands what was collected to QUIC and to the ring. True when everything went.
    pub(super) fn flush(&mut self, io: &mut Io<'_>) -> bool {
        let slot = self.slot;
        let stream = self.registry_stream;
        // A stream that is gone takes its node with it: `disconnected` follows.
        let registry = self
            .registry
            .flush(|bytes| io.write(slot, stream, bytes).unwrap_or(0));
        let mut ways = ToNode {
            io,
            slot,
            streams: &self.streams,
            ring: self.ring.as_deref_mut(),
        };
        self.departures.flush(&mut ways) && registry
    }

    /// Lanes that end at this node, those of ended threads left out once they are read. Given back by
    /// [`keep_lanes`](Self::keep_lanes).
    pub(super) fn take_lanes(&mut self) -> Vec<Arc<LaneLink>> {
        let version = self.peer.incoming_version();
        if self.lanes_version != Some(version) {
            let (version, lanes) = self.peer.incoming();
            self.lanes = lanes;
            self.lanes_version = Some(version);
            self.outlets.retain(|_, outlet| outlet.is_open());
        }
        std::mem::take(&mut self.lanes)
    }

    pub(super) fn keep_lanes(&mut self, lanes: Vec<Arc<LaneLink>>) {
        self.lanes = lanes;
    }

    /// Whether lanes hold frames: those that found no room on the way.
    pub(super) fn has_left(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.is_read())
    }

    /// Publishes what came in this turn, and stops reading from a node whose frames nobody takes.
    pub(super) fn settle(&mut self, io: &mut Io<'_>) {
        let mut waiting = 0;
        for outlet in self.outlets.values_mut() {
            outlet.flush();
            waiting = waiting.max(outlet.queued());
        }
        self.blocked = waiting > 0;
        if !self.paused && waiting > PAUSE_BYTES {
            self.paused = true;
            for stream in self.arrivals.ids() {
                io.pause(self.slot, stream);
            }
        } else if self.paused && waiting < PAUSE_BYTES / 2 {
            self.paused = false;
            for stream in self.arrivals.ids() {
                io.resume(self.slot, stream);
            }
        }
    }

    /// True while frames come over the ring and somebody takes them.
    #[inline]
    pub(super) fn reads_ring(&self) -> bool {
        self.ring.is_some() && !self.paused && self.arrivals.reads_ring()
    }

    /// True while frames wait for room that nobody tells of: in a lane, or in the ring.
    pub(super) fn is_waiting(&self) -> bool {
        self.blocked || self.departures.uses_ring() && self.departures.is_waiting()
    }
}

/// The ways to a node, for one flush.
struct ToNode<'a, 'io> {
    io: &'a mut Io<'io>,
    slot: PeerSlot,
    streams: &'a [StreamId; FRAME_STREAMS],
    ring: Option<&'a mut Ring>,
}

impl Ways for ToNode<'_, '_> {
    fn stream(&mut self, index: usize, bytes: &[u8]) -> usize {
        self.io
            .write(self.slot, self.streams[index], bytes)
            .unwrap_or(0)
    }

    fn ring(&mut self, bytes: &[u8]) -> Result<usize, RingOver> {
        self.ring.as_mut().ok_or(RingOver)?.write(bytes)
    }
}
