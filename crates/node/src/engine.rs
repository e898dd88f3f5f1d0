//! One engine per mesh and process: the router, its clock, its threads and the lanes between them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use linkmesh_metrics::MetricRegistry;
use linkmesh_registry::Status;
use linkmesh_routing::{Grant, Router, RouterOptions, Watch};
use linkmesh_tables::epoch::Guard;
use linkmesh_tables::{Lane, Snapshot};
use serde::Deserialize;

use crate::heartbeat::Housekeeper;
use crate::peer::{LaneLink, Peer};
use crate::state::Failure;
use crate::transport::Node;

/// Longest name of a mesh or zone.
const MAX_NAME_BYTES: usize = 256;
/// Threads of one mesh over its whole life: fewer than [`FIRST_NODE_THREAD`].
const MAX_THREADS: u32 = FIRST_NODE_THREAD - 1;
/// From here on a thread number stands for a connected node. Threads below it are told to other nodes in 12 bits.
pub(crate) const FIRST_NODE_THREAD: u32 = 1 << 12;
/// Connections to nodes of one mesh over its whole life: their thread numbers have 20 bits.
const MAX_NODES: u32 = (1 << 20) - FIRST_NODE_THREAD;
/// Lanes between them.
const MAX_LANES: usize = 65_536;
/// Bytes of one lane: room for some thousand small frames in flight.
pub(crate) const LANE_BYTES: usize = 1 << 20;
/// Longest sleep of the housekeeper: bounds how late a ticket lease is noticed.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// `MeshOptions` of the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MeshOptions {
    name: String,
    seed: Option<f64>,
    #[serde(default)]
    manual_clock: bool,
    #[serde(default)]
    zone: String,
}

static ENGINES: Mutex<BTreeMap<String, Arc<Engine>>> = Mutex::new(BTreeMap::new());

/// Locks, and goes on after a panic elsewhere: every update under these locks is a single statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
enum Clock {
    Monotonic(Instant),
    Manual(AtomicU64),
}

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) name: String,
    pub(crate) seed: u32,
    pub(crate) router: Router,
    clock: Clock,
    closed: AtomicBool,
    next_thread: AtomicU32,
    next_node: AtomicU32,
    /// Set while the mesh is a node among others.
    node: RwLock<Option<Arc<Node>>>,
    /// Indexed by thread id; ids are never reused, so a dead thread stays to be asked about.
    pub(crate) peers: Snapshot<Vec<Option<Arc<Peer>>>>,
    lanes: Mutex<Vec<Arc<LaneLink>>>,
    next_lane: AtomicU32,
    pub(crate) blobs: crate::blobs::Blobs,
    /// Series of the users' own.
    pub(crate) metrics: MetricRegistry,
    /// Dead letters and audit trail.
    pub(crate) journals: crate::journal::Journals,
    pub(crate) housekeeper: Arc<Housekeeper>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Makes the mesh of that name.
    pub(crate) fn open(options: &str) -> Result<Arc<Self>, Failure> {
        let options: MeshOptions = serde_json::from_str(options).map_err(|error| {
            Failure::new(Status::InvalidArgument, error.to_string()).field("options")
        })?;
        let seed = match options.seed {
            None => std::collections::hash_map::RandomState::new().hash_one_seed(),
            Some(seed) if seed.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&seed) => {
                seed as u32
            }
            Some(_) => {
                return Err(Failure::new(
                    Status::InvalidArgument,
                    "the seed is a whole number from 0 to 4294967295",
                )
                .field("options.seed")
                .limit(f64::from(u32::MAX)));
            }
        };
        for (field, text, least) in [
            ("options.name", &options.name, 1),
            ("options.zone", &options.zone, 0),
        ] {
            if text.len() < least || text.len() > MAX_NAME_BYTES {
                return Err(Failure::new(
                    Status::InvalidArgument,
                    format!("{field} has {least} to {MAX_NAME_BYTES} bytes"),
                )
                .field(field)
                .limit(MAX_NAME_BYTES as f64));
            }
        }
        let mut engines = lock(&ENGINES);
        if engines.contains_key(&options.name) {
            return Err(Failure::new(
                Status::Duplicate,
                format!(
                    "a mesh named '{}' is open in this process: attach to it, or close it first",
                    options.name
                ),
            )
            .field("options.name"));
        }
        let router = Router::new(RouterOptions {
            name: options.name.clone(),
            zone: options.zone,
            seed,
        })?;
        let start = Instant::now();
        let engine = Arc::new(Self {
            name: options.name.clone(),
            seed,
            router,
            clock: if options.manual_clock {
                Clock::Manual(AtomicU64::new(0))
            } else {
                Clock::Monotonic(start)
            },
            closed: AtomicBool::new(false),
            next_thread: AtomicU32::new(1),
            next_node: AtomicU32::new(0),
            node: RwLock::new(None),
            peers: Snapshot::new(Vec::new()),
            lanes: Mutex::new(Vec::new()),
            next_lane: AtomicU32::new(1),
            blobs: crate::blobs::Blobs::default(),
            metrics: MetricRegistry::new(),
            journals: crate::journal::Journals::default(),
            housekeeper: Arc::new(Housekeeper::new((!options.manual_clock).then_some(start))),
            thread: Mutex::new(None),
        });
        if matches!(engine.clock, Clock::Monotonic(_)) {
            let weak = Arc::clone(&engine);
            let thread = std::thread::Builder::new()
                .name("linkmesh".to_owned())
                .spawn(move || weak.keep_house())
                .map_err(|error| {
                    Failure::new(Status::Internal, format!("no housekeeping thread: {error}"))
                })?;
            *lock(&engine.thread) = Some(thread);
        }
        engines.insert(options.name, Arc::clone(&engine));
        Ok(engine)
    }

    pub(crate) fn find(name: &str) -> Result<Arc<Self>, Failure> {
        lock(&ENGINES).get(name).cloned().ok_or_else(|| {
            Failure::new(
                Status::NotFound,
                format!("no mesh named '{name}' is open in this process"),
            )
            .field("name")
        })
    }

    /// Ends the mesh for every thread. The name is free at once; calls in other threads answer `Closed`.
    pub(crate) fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        lock(&ENGINES).remove(&self.name);
        // Joins the engine's threads, so that none of them outlives the addon. Threads that have not left yet hold the node.
        if let Some(node) = self.take_node() {
            node.end();
        }
        self.housekeeper.end();
        if let Some(thread) = lock(&self.thread).take() {
            // It holds no lock while it waits and ends at the flag, so this is short. Its own panic is no
            // reason to take the process down.
            drop(thread.join());
        }
        self.journals.close();
        self.wake_all();
    }

    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Microseconds since the mesh was opened.
    #[inline(always)]
    /// Whether time moves only when somebody moves it.
    pub(crate) fn is_manual(&self) -> bool {
        matches!(self.clock, Clock::Manual(_))
    }

    pub(crate) fn now(&self) -> u64 {
        match &self.clock {
            Clock::Monotonic(start) => start.elapsed().as_micros() as u64,
            Clock::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn advance(&self, microseconds: f64) -> Result<(), Failure> {
        let Clock::Manual(now) = &self.clock else {
            return Err(Failure::new(
                Status::InvalidArgument,
                "this mesh runs on the real clock; open it with manualClock",
            )
            .field("mesh"));
        };
        if !(microseconds.is_finite() && microseconds.abs() <= 1e15) {
            return Err(Failure::new(
                Status::InvalidArgument,
                "the step is a finite number of microseconds",
            )
            .field("microseconds")
            .limit(1e15));
        }
        // A step back is allowed: that is what tests of clocks need.
        let then = now
            .load(Ordering::Relaxed)
            .saturating_add_signed(microseconds as i64);
        now.store(then, Ordering::Relaxed);
        self.tick();
        Ok(())
    }

    /// What is due by now: leases, waits that timed out, tickets that nobody completed.
    #[cold]
    pub(crate) fn tick(&self) {
        for thread in self.router.tick(self.now()) {
            self.signal_slow(thread);
        }
    }

    /// Something with a deadline was added: look again how long to sleep.
    pub(crate) fn deadline_moved(&self) {
        self.housekeeper.ring();
    }

    fn keep_house(&self) {
        let mut watch = Watch::default();
        loop {
            self.tick();
            let look_us = self.look_at_loops(&mut watch);
            let goes_on = self.housekeeper.sleep(|| {
                let due_us = self.router.next_deadline().unwrap_or(u64::MAX).min(look_us);
                Duration::from_micros(due_us.saturating_sub(self.now()))
                    .clamp(Duration::from_millis(1), LONGEST_NAP)
            });
            if !goes_on {
                return;
            }
        }
    }

    // --- threads ----------------------------------------------------------------------------------------

    pub(crate) fn join(&self) -> Result<Arc<Peer>, Failure> {
        if self.is_closed() {
            return Err(Failure::new(Status::Closed, "the mesh was closed"));
        }
        let id = self.next_thread.fetch_add(1, Ordering::Relaxed);
        if id > MAX_THREADS {
            return Err(
                Failure::new(Status::LimitExceeded, "too many threads joined this mesh")
                    .field("threads")
                    .limit(f64::from(MAX_THREADS)),
            );
        }
        Ok(self.add_peer(Peer::new(id, &self.housekeeper)))
    }

    /// A connected node joins as one more thread.
    pub(crate) fn join_node(&self, node: &str) -> Result<Arc<Peer>, Failure> {
        let count = self.next_node.fetch_add(1, Ordering::Relaxed);
        if count >= MAX_NODES {
            return Err(Failure::new(
                Status::LimitExceeded,
                "too many nodes were connected to this mesh",
            )
            .field("nodes")
            .limit(f64::from(MAX_NODES)));
        }
        Ok(self.add_peer(Peer::of_node(
            FIRST_NODE_THREAD + count,
            node,
            &self.housekeeper,
        )))
    }

    fn add_peer(&self, peer: Peer) -> Arc<Peer> {
        let peer = Arc::new(peer);
        let index = peer.id as usize;
        self.peers.update(|peers| {
            let mut peers = peers.clone();
            peers.resize((index + 1).max(peers.len()), None);
            peers[index] = Some(Arc::clone(&peer));
            peers
        });
        peer
    }

    // --- nodes ------------------------------------------------------------------------------------------

    /// This mesh as a node. The lock is held by writers only while a node opens or closes.
    #[inline]
    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        self.node
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_node(&self, node: &Arc<Node>) -> Result<(), Failure> {
        let mut place = self.node.write().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed() {
            return Err(Failure::new(Status::Closed, "the mesh was closed"));
        }
        if place.is_some() {
            return Err(
                Failure::new(Status::Duplicate, "this mesh is a node already").field("mesh"),
            );
        }
        *place = Some(Arc::clone(node));
        Ok(())
    }

    pub(crate) fn take_node(&self) -> Option<Arc<Node>> {
        self.node
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// A thread here has changed the registry: the other threads and nodes are told. Not for the engine's own thread,
    /// which holds what this asks for.
    pub(crate) fn registry_changed(&self) {
        self.wake_all();
        if let Some(node) = self.node() {
            node.with(|app, io| app.bridge.publish(io));
        }
    }

    /// The thread is gone: its instances die, its tickets end, its lanes stay readable for those who ask
    /// what was taken.
    pub(crate) fn thread_ended(&self, peer: &Peer) {
        peer.end();
        self.router.thread_ended(peer.id, self.now());
        lock(&self.lanes).retain(|lane| {
            let (from, to) = (lane.from.id == peer.id, lane.to.id == peer.id);
            // Whoever is left at the other end lets the lane go, too.
            if from {
                lane.to.lanes_changed();
            }
            if to {
                lane.from.lanes_changed();
            }
            !from && !to
        });
        self.wake_all();
    }

    /// Tells every thread that the registry or the threads have changed.
    pub(crate) fn wake_all(&self) {
        let reader = linkmesh_tables::epoch::Domain::global().register();
        let guard = reader.pin();
        for peer in self.peers.load(&guard).iter().flatten() {
            peer.signal();
        }
    }

    #[inline]
    pub(crate) fn signal(&self, guard: &Guard<'_>, thread: u32) {
        if let Some(Some(peer)) = self.peers.load(guard).get(thread as usize) {
            peer.signal();
        }
    }

    fn signal_slow(&self, thread: u32) {
        let reader = linkmesh_tables::epoch::Domain::global().register();
        self.signal(&reader.pin(), thread);
    }

    pub(crate) fn grants(&self, thread: u32, most: usize) -> Vec<Grant> {
        let mut grants = Vec::new();
        self.router.take_grants(thread, most, &mut grants);
        grants
    }

    // --- lanes ------------------------------------------------------------------------------------------

    pub(crate) fn open_lane(
        &self,
        guard: &Guard<'_>,
        from: &Arc<Peer>,
        to: u32,
    ) -> Result<Arc<LaneLink>, Failure> {
        let Some(Some(peer)) = self.peers.load(guard).get(to as usize).cloned() else {
            return Err(
                Failure::new(Status::NotFound, format!("no thread {to} in this mesh"))
                    .field("toThread"),
            );
        };
        if !peer.alive() {
            return Err(
                Failure::new(Status::Closed, format!("thread {to} has ended")).field("toThread"),
            );
        }
        let mut lanes = lock(&self.lanes);
        if let Some(lane) = lanes
            .iter()
            .find(|lane| lane.from.id == from.id && lane.to.id == to)
        {
            return Ok(Arc::clone(lane));
        }
        if lanes.len() >= MAX_LANES {
            return Err(Failure::new(Status::LimitExceeded, "too many lanes")
                .field("lanes")
                .limit(MAX_LANES as f64));
        }
        let memory = Lane::new(LANE_BYTES).map_err(|error| {
            Failure::new(Status::LimitExceeded, error.to_string()).field("lane")
        })?;
        let id = self.next_lane.fetch_add(1, Ordering::Relaxed);
        let lane = Arc::new(LaneLink {
            id,
            from: Arc::clone(from),
            to: Arc::clone(&peer),
            memory,
        });
        lanes.push(Arc::clone(&lane));
        peer.add_incoming(Arc::clone(&lane));
        Ok(lane)
    }
}

/// A seed from the operating system without a dependency: the standard library keeps one per map.
trait HashOneSeed {
    fn hash_one_seed(&self) -> u32;
}

impl<B: std::hash::BuildHasher> HashOneSeed for B {
    fn hash_one_seed(&self) -> u32 {
        self.hash_one(0u8) as u32
    }
}
