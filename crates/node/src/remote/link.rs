//! What is kept of one connected node.

use std::collections::HashMap;
use std::sync::Arc;

use linkmesh_registry::exchange::{Publisher, Subscriber};
use linkmesh_transport::core::{Direction, Io, PeerSlot, StreamError, StreamId};

use crate::peer::{LaneLink, Peer};
use crate::remote::inbound::FrameReader;
use crate::remote::outlet::{Outlet, PAUSE_BYTES};
use crate::remote::{FRAME_STREAMS, FRAMES, REGISTRY};

/// Bytes that are collected for one stream before lanes are left to wait.
const COLLECT_BYTES: usize = 256 << 10;
/// Where the registry stands among the streams that have something to send.
const REGISTRY_PRIORITY: i32 = 1;

/// A stream of ours and what it has not taken yet.
#[derive(Debug)]
pub(super) struct Sender {
    stream: StreamId,
    pub(super) bytes: Vec<u8>,
    taken: usize,
}

impl Sender {
    fn open(io: &mut Io<'_>, peer: PeerSlot, kind: u8, priority: i32) -> Result<Self, StreamError> {
        Ok(Self {
            stream: io.open(peer, kind, Direction::Unidirectional, priority)?,
            bytes: Vec::new(),
            taken: 0,
        })
    }

    /// Hands over what the stream takes. True when nothing is left.
    fn flush(&mut self, io: &mut Io<'_>, peer: PeerSlot) -> bool {
        if self.taken < self.bytes.len() {
            // A stream that is gone takes its node with it: `disconnected` follows.
            let Ok(taken) = io.write(peer, self.stream, &self.bytes[self.taken..]) else {
                return false;
            };
            self.taken += taken;
        }
        let all = self.taken == self.bytes.len();
        if all {
            self.bytes.clear();
            self.bytes.shrink_to(COLLECT_BYTES);
            self.taken = 0;
        }
        all
    }
}

/// One connection to a node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) slot: PeerSlot,
    /// Id of the node, 64 hex digits.
    pub(super) node: String,
    /// As which thread it appears here.
    pub(super) peer: Arc<Peer>,
    /// Its instances are in the registry. Of several connections to a node, only those of the first are.
    pub(super) active: bool,
    pub(super) frames: [Sender; FRAME_STREAMS],
    pub(super) registry: Sender,
    pub(super) registry_in: Vec<u8>,
    pub(super) readers: Vec<(StreamId, FrameReader)>,
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
}

impl Link {
    /// Opens the streams of a node that has just connected.
    pub(super) fn open(
        io: &mut Io<'_>,
        slot: PeerSlot,
        node: String,
        peer: Arc<Peer>,
        active: bool,
    ) -> Result<Self, StreamError> {
        let mut frame = || Sender::open(io, slot, FRAMES, 0);
        let frames = [frame()?, frame()?, frame()?, frame()?];
        Ok(Self {
            registry: Sender::open(io, slot, REGISTRY, REGISTRY_PRIORITY)?,
            slot,
            node,
            peer,
            active,
            frames,
            registry_in: Vec::new(),
            readers: Vec::new(),
            publisher: Publisher::new(),
            subscriber: Subscriber::new(),
            near: HashMap::new(),
            far: HashMap::new(),
            outlets: HashMap::new(),
            lanes: Vec::new(),
            lanes_version: None,
            paused: false,
        })
    }

    /// The stream for frames of a request: always the same, so that a cancellation cannot overtake it.
    pub(super) fn sender(&mut self, id: u32) -> &mut Sender {
        &mut self.frames[id as usize % FRAME_STREAMS]
    }

    /// True while every stream takes more.
    pub(super) fn takes(&self) -> bool {
        self.frames
            .iter()
            .all(|sender| sender.bytes.len() - sender.taken < COLLECT_BYTES)
    }

    /// Hands what was collected to QUIC. True when everything went.
    pub(super) fn flush(&mut self, io: &mut Io<'_>) -> bool {
        let slot = self.slot;
        let registry = self.registry.flush(io, slot);
        self.frames
            .iter_mut()
            .fold(registry, |all, sender| sender.flush(io, slot) && all)
    }

    /// Lanes that end at this node, those of ended threads left out once they are read.
    pub(super) fn lanes(&mut self) -> Vec<Arc<LaneLink>> {
        let version = self.peer.incoming_version();
        if self.lanes_version != Some(version) {
            let (version, lanes) = self.peer.incoming();
            self.lanes = lanes;
            self.lanes_version = Some(version);
            self.outlets.retain(|_, outlet| outlet.is_open());
        }
        self.lanes.clone()
    }

    /// Publishes what came in this turn, and stops reading from a node whose frames nobody takes.
    pub(super) fn settle(&mut self, io: &mut Io<'_>) {
        let mut waiting = 0;
        for outlet in self.outlets.values_mut() {
            outlet.flush();
            waiting = waiting.max(outlet.queued());
        }
        if !self.paused && waiting > PAUSE_BYTES {
            self.paused = true;
            for (stream, _) in &self.readers {
                io.pause(self.slot, *stream);
            }
        } else if self.paused && waiting < PAUSE_BYTES / 2 {
            self.paused = false;
            for (stream, _) in &self.readers {
                io.resume(self.slot, *stream);
            }
        }
    }

    /// True while frames wait for room in a lane: nobody says when there is some.
    pub(super) fn is_waiting(&self) -> bool {
        self.outlets.values().any(|outlet| outlet.queued() > 0)
    }
}
