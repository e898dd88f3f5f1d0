//! A thread of the mesh as the others see it, and the lanes that end there.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use linkmesh_routing::{Pulse, Seen};
use linkmesh_tables::{Doorbell, Lane};
use napi::Status as NapiStatus;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::engine::lock;
use crate::heartbeat::Housekeeper;
use crate::loop_probe::{LoopProbe, Used};

/// Runs the thread's `onWake` callback. Weak: it never keeps the thread's loop alive.
pub(crate) type Wake = ThreadsafeFunction<(), (), (), NapiStatus, false, true>;

/// A lane with its two ends.
#[derive(Debug)]
pub(crate) struct LaneLink {
    /// The same at both ends, never reused within a mesh.
    pub(crate) id: u32,
    pub(crate) from: Arc<Peer>,
    pub(crate) to: Arc<Peer>,
    pub(crate) memory: Lane,
}

impl LaneLink {
    /// True when the receiver has released all that was committed.
    pub(crate) fn is_read(&self) -> bool {
        self.memory.head() == self.memory.tail()
    }
}

pub(crate) struct Peer {
    pub(crate) id: u32,
    /// Id of the node that this is instead of a thread.
    node: Option<Box<str>>,
    alive: AtomicBool,
    doorbell: Doorbell,
    /// Set before the bell is rung for anything that is not in a lane: grants, changes, ended threads.
    notice: AtomicBool,
    wake: Mutex<Option<Arc<Wake>>>,
    probe: Mutex<Option<LoopProbe>>,
    incoming: Mutex<Vec<Arc<LaneLink>>>,
    incoming_version: AtomicU32,
    /// What its event loop is asked and answers.
    pub(crate) pulse: Pulse,
    housekeeper: Arc<Housekeeper>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id)
            .field("alive", &self.alive())
            .finish_non_exhaustive()
    }
}

impl Peer {
    pub(crate) fn new(id: u32, housekeeper: &Arc<Housekeeper>) -> Self {
        Self {
            id,
            node: None,
            alive: AtomicBool::new(true),
            doorbell: Doorbell::new(),
            notice: AtomicBool::new(false),
            wake: Mutex::new(None),
            probe: Mutex::new(None),
            incoming: Mutex::new(Vec::new()),
            incoming_version: AtomicU32::new(0),
            pulse: Pulse::default(),
            housekeeper: Arc::clone(housekeeper),
        }
    }

    /// A connected node: its lanes are read by the engine, which is called and needs no bell.
    pub(crate) fn of_node(id: u32, node: &str, housekeeper: &Arc<Housekeeper>) -> Self {
        Self {
            node: Some(node.into()),
            ..Self::new(id, housekeeper)
        }
    }

    /// Id of the node, unless this is a thread of this process.
    #[inline(always)]
    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    pub(crate) fn alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// The thread leaves. What it had taken from its lanes was written before, by itself, and is visible to
    /// whoever sees it dead (Release here, Acquire in [`alive`](Self::alive)).
    pub(crate) fn end(&self) {
        lock(&self.wake).take();
        lock(&self.probe).take();
        self.alive.store(false, Ordering::Release);
        // Ids of ended threads are remembered for ever; their lanes, a megabyte each, are not.
        lock(&self.incoming).clear();
    }

    /// The calling thread can be woken from now on, and seen to be at work.
    pub(crate) fn set_wake(&self, wake: Wake) {
        *lock(&self.wake) = Some(Arc::new(wake));
        *lock(&self.probe) = LoopProbe::here();
    }

    /// There is something outside the lanes; wakes the thread if it sleeps.
    pub(crate) fn signal(&self) {
        self.notice.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// There is something in a lane; wakes the thread if it sleeps. One wake per sleep, however many call.
    #[inline(always)]
    pub(crate) fn ring(&self) {
        if self.doorbell.ring() {
            self.wake_for_work();
        }
    }

    /// Wakes the thread for an answer to the heartbeat, if it sleeps.
    pub(crate) fn ping(&self) {
        if self.doorbell.ring() {
            self.wake();
        }
    }

    /// A loop of JavaScript that can be asked: a thread that is there and polls.
    pub(crate) fn has_loop(&self) -> bool {
        self.node.is_none() && self.alive() && lock(&self.wake).is_some()
    }

    /// It waits for a wake and nobody has given one.
    pub(crate) fn is_asleep(&self) -> bool {
        self.doorbell.is_armed()
    }

    /// What can be seen of its loop without asking it.
    pub(crate) fn seen(&self) -> Seen {
        if !self.is_asleep() {
            return Seen::Awake;
        }
        match lock(&self.probe).as_mut().map(LoopProbe::look) {
            Some(Used::Much) => Seen::Elsewhere,
            Some(Used::Some) => Seen::Stirring,
            Some(Used::Nothing) | None => Seen::Asleep,
        }
    }

    /// Whoever has to be woken for work and does not come is blocked: the question is asked with the wake.
    #[cold]
    fn wake_for_work(&self) {
        if let Some(now_us) = self.housekeeper.now() {
            self.pulse.ask(now_us);
            self.housekeeper.stir();
        }
        self.wake();
    }

    /// This thread is awake and will look into its inbox before it sleeps again: nobody has to wake it. A wake costs its
    /// sender a system call and this thread a callback.
    #[inline(always)]
    pub(crate) fn stay_awake(&self) {
        if self.doorbell.is_armed() {
            self.doorbell.disarm();
        }
    }

    #[cold]
    fn wake(&self) {
        // Cloned out of the lock: the call itself may take the function's own lock.
        let wake = lock(&self.wake).clone();
        if let Some(wake) = wake {
            // A thread that is closing refuses; it has nothing left to wake for.
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// True when the thread may sleep: the bell is armed and nothing came before it was.
    pub(crate) fn arm(&self, lanes: &[Arc<LaneLink>], known: u32) -> bool {
        self.doorbell.arm();
        let idle = lanes.iter().all(|lane| lane.is_read())
            && self.incoming_version.load(Ordering::SeqCst) == known
            && !self.notice.load(Ordering::SeqCst);
        if !idle {
            self.doorbell.disarm();
            self.notice.store(false, Ordering::SeqCst);
        }
        idle
    }

    // --- lanes that end here ------------------------------------------------------------------------------

    pub(crate) fn add_incoming(&self, lane: Arc<LaneLink>) {
        let mut incoming = lock(&self.incoming);
        incoming.push(lane);
        // SeqCst: `arm` decides by this whether a lane it does not know may hold bytes.
        self.incoming_version.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn incoming_version(&self) -> u32 {
        self.incoming_version.load(Ordering::Acquire)
    }

    /// Lanes may have become useless: their threads look again.
    pub(crate) fn lanes_changed(&self) {
        self.incoming_version.fetch_add(1, Ordering::SeqCst);
    }

    /// The lanes that end here, without those of ended threads that were read to the end.
    pub(crate) fn incoming(&self) -> (u32, Vec<Arc<LaneLink>>) {
        let mut incoming = lock(&self.incoming);
        incoming.retain(|lane| lane.from.alive() || !lane.is_read());
        (
            self.incoming_version.load(Ordering::Acquire),
            incoming.clone(),
        )
    }
}
