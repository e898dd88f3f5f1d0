//! One thread's membership in a mesh.

use std::cell::Cell;
use std::sync::Arc;

use linkmesh_metrics::Metric;
use linkmesh_registry::RegistryError;
use linkmesh_routing::Caller;

use crate::engine::Engine;
use crate::memory::Operations;
use crate::peer::{LaneLink, Peer};
use crate::state::Slots;

/// Polls in a row that look for packets after something was sent to a node: about a millisecond of turns.
const DRIVES: u32 = 512;

#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) engine: Arc<Engine>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) caller: Caller,
    pub(crate) metrics: Slots<Metric>,
    /// From the first use of remote memory on.
    pub(crate) memory: Option<Box<Operations>>,
    /// The thread that opened the mesh: when it leaves, the mesh ends.
    opener: bool,
    /// Lanes this thread sends into or receives from, by lane id.
    lanes: Vec<Option<Arc<LaneLink>>>,
    incoming: Vec<Arc<LaneLink>>,
    incoming_version: u32,
    /// Polls of the inbox in which this thread still looks for packets itself, instead of waiting for another thread to.
    drives: Cell<u32>,
    /// Of which engine thread: that of the node it talked to last.
    drive_shard: Cell<u8>,
    /// Where the next poll starts, so that a busy lane cannot starve the others.
    turn: usize,
}

impl Joined {
    /// # Errors
    /// `LimitExceeded` when there is no memory.
    pub(crate) fn new(
        engine: Arc<Engine>,
        peer: Arc<Peer>,
        opener: bool,
    ) -> Result<Self, RegistryError> {
        let caller = engine.router.caller(peer.id)?;
        Ok(Self {
            engine,
            peer,
            caller,
            metrics: Slots::new(),
            memory: None,
            opener,
            lanes: Vec::new(),
            incoming: Vec::new(),
            incoming_version: 0,
            drives: Cell::new(0),
            drive_shard: Cell::new(0),
            turn: 0,
        })
    }

    pub(crate) fn leave(mut self) {
        if let Some(memory) = self.memory.take() {
            memory.leave();
        }
        if let Some(node) = self.engine.node() {
            node.release_imported_by(self.peer.id);
            node.revoke_brought_by(self.peer.id);
        }
        self.engine.thread_ended(&self.peer);
        if let Some(node) = self.engine.node() {
            node.with(|app, io| app.bridge.publish(io));
        }
        if self.opener {
            self.engine.close();
        }
    }

    pub(crate) fn remember(&mut self, lane: &Arc<LaneLink>) {
        let index = lane.id as usize;
        if self.lanes.len() <= index {
            self.lanes.resize(index + 1, None);
        }
        self.lanes[index] = Some(Arc::clone(lane));
    }

    #[inline(always)]
    pub(crate) fn lane(&self, id: u32) -> Option<&LaneLink> {
        self.lanes.get(id as usize)?.as_deref()
    }

    pub(crate) fn lane_shared(&self, id: u32) -> Option<&Arc<LaneLink>> {
        self.lanes.get(id as usize)?.as_ref()
    }

    /// Writes (lane, head, tail) of lanes with unread bytes to `out`; how many.
    #[inline(always)]
    pub(crate) fn poll(&mut self, mut out: impl FnMut(usize, u32, u32, u32), most: usize) -> usize {
        if self.peer.incoming_version() != self.incoming_version {
            self.refresh();
        }
        let mut found = 0;
        let count = self.incoming.len();
        for step in 0..count {
            let lane = &self.incoming[(self.turn + step) % count];
            let (head, tail) = (lane.memory.head(), lane.memory.tail());
            if head != tail {
                out(found, lane.id, head, tail);
                found += 1;
                if found == most {
                    break;
                }
            }
        }
        self.turn = self.turn.wrapping_add(1);
        if found == 0 {
            // The thread that would write may be waiting for this core: a poll that kept it would only see
            // the end of its own window.
            std::thread::yield_now();
        }
        found
    }

    /// Answers the heartbeat, in each turn of this thread's loop and before it sleeps.
    #[inline(always)]
    pub(crate) fn beat(&self) {
        if self.peer.pulse.is_asked() {
            self.answer();
        }
    }

    #[cold]
    fn answer(&self) {
        if self.peer.pulse.answer(self.engine.now()) {
            self.engine.loop_changed(&self.peer);
        }
    }

    /// Carries what was committed to the lane of a node, in this very call, and looks for the answer from now on.
    #[cold]
    pub(crate) fn send_to_node(&self, thread: u32) {
        if let Some(node) = self.engine.node() {
            let shard = self.drive_shard.get();
            let carried = node.with_shard(shard, |app, io| app.bridge.pump(io, thread));
            self.drive_shard.set(carried.flatten().unwrap_or(shard));
            self.drives.set(DRIVES);
        }
    }

    /// Looks for packets, while an answer from a node may be on its way.
    #[inline(always)]
    pub(crate) fn drive(&self) {
        if self.drives.get() > 0 {
            self.drive_once();
        }
    }

    #[cold]
    fn drive_once(&self) {
        self.drives.set(self.drives.get() - 1);
        if let Some(node) = self.engine.node() {
            node.drive(self.drive_shard.get());
            if self.drives.get() == 0 {
                node.release();
            }
        }
    }

    /// The thread is about to sleep: another one looks for packets from here on.
    #[inline(always)]
    pub(crate) fn stop_driving(&self) {
        if self.drives.replace(0) > 0
            && let Some(node) = self.engine.node()
        {
            node.release();
        }
    }

    #[cold]
    fn refresh(&mut self) {
        let (version, incoming) = self.peer.incoming();
        // A lane to or from an ended thread carries nothing more; what of an incoming one is still unread is kept.
        for lane in &mut self.lanes {
            if lane
                .as_ref()
                .is_some_and(|lane| !lane.from.alive() || !lane.to.alive())
            {
                *lane = None;
            }
        }
        for lane in &incoming {
            self.remember(lane);
        }
        self.incoming = incoming;
        self.incoming_version = version;
    }

    pub(crate) fn arm(&self) -> bool {
        if !self.peer.arm(&self.incoming, self.incoming_version) {
            return false;
        }
        let sleeps = (self.memory.as_ref()).is_none_or(|memory| memory.sleep(&self.peer));
        if !sleeps {
            self.peer.stay_awake();
        }
        sleeps
    }
}
