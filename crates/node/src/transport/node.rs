//! A mesh's node: its identity, its engine, its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use linkmesh_memory::client::ClientOptions;
use linkmesh_memory::endpoint::{Endpoint, EndpointOptions};
use linkmesh_memory::session::SessionLimits;
use linkmesh_metrics::Collector;
use linkmesh_registry::Status;
use linkmesh_transport::address::{
    GlobalAddress, LocatorLimits, LocatorOptions, Locators, Translation, TranslationLimits,
};
use linkmesh_transport::core::{Io, PeerSlot, Side};
use linkmesh_transport::engine::{Engine as Quic, EngineOptions, LatencyMode, Lease};
use linkmesh_transport::identity::{
    Clock, IdentityError, IdentityOptions, Joining, NodeIdentity, Upkeeper, exchange, random_bytes,
};
use linkmesh_transport::relay::{Keeper, Quota, RelayOptions, Relays};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::memory::{Queues, Regions, Remotes};
use crate::remote::{Bridge, JsClock};
use crate::state::Failure;
use crate::transport::address::{resolve, written};
use crate::transport::address_metrics::AddressTotals;
use crate::transport::metrics::{collect_engine, collect_peers, sum_peers};
use crate::transport::near::Near;
use crate::transport::publisher::Publisher;
use crate::transport::{NodeApp, Refusal};

/// Bytes of a name.
const MAX_NAME_BYTES: usize = 64;
/// A node that is silent for so long is gone; one that is there says so more often.
const IDLE: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_millis(800);
/// Looks into the rings of neighbours in one turn of the event loop, at least and at most: about one microsecond, and six.
const LEAST_LOOKS: u32 = 16;
const MOST_LOOKS: u32 = 128;
/// Turns of the event loop in which only rings are looked at, to one that looks for packets as well.
const SOCKET_EVERY: u32 = 8;
/// How long an engine that is dropped may take to say goodbye.
const HASTE: Duration = Duration::from_millis(50);

/// `NodeOptions` of the contract, with the first node to join for a process that has no identity yet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NodeOptions {
    listen: Vec<String>,
    data: String,
    network: String,
    latency_mode: Latency,
    same_host: bool,
    mtu: u16,
    engine_threads: u8,
    /// Serves as a relay, for no more than this.
    relay: Option<Relay>,
    name: String,
    join: Vec<NodeTarget>,
    pub(super) now_ms: f64,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Latency {
    Spin,
    Adaptive,
    Block,
}

/// `RelayOptions` of the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Relay {
    sessions: u32,
    packets_per_second: u32,
    bytes_per_second: u32,
}

impl Relay {
    fn options(&self) -> RelayOptions {
        RelayOptions {
            serve: true,
            quota: Quota {
                sessions: self.sessions as usize,
                packets_per_second: self.packets_per_second,
                bytes_per_second: self.bytes_per_second,
            },
        }
    }
}

/// `NodeTarget` of the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NodeTarget {
    address: String,
    #[serde(default)]
    token: Option<String>,
    timeout_ms: f64,
}

impl NodeTarget {
    fn timeout(&self) -> Duration {
        let seconds = self.timeout_ms / 1e3;
        // NaN is no comparison's friend: it becomes the shortest.
        let seconds = if seconds > 0.001 {
            seconds.min(86_400.0)
        } else {
            0.001
        };
        Duration::from_secs_f64(seconds)
    }
}

/// `NodeInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeInfo {
    node_id: String,
    address: String,
    name: String,
    network: String,
    listening: Vec<String>,
    latency_mode: Latency,
    engine_threads: u8,
}

/// `PeerInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerInfo {
    node_id: String,
    name: String,
    address: String,
    thread: u32,
    side: &'static str,
    via: &'static str,
    /// Which relay is in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
    rtt_us: f64,
    lost_packets: u64,
    sent_packets: u64,
    congestion_window: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// One per mesh that was opened with `listen` or `join`.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) identity: Arc<NodeIdentity>,
    /// What this process exports.
    pub(crate) regions: Regions,
    /// What it has imported.
    pub(crate) remotes: Remotes,
    /// Completion queues of its threads.
    pub(crate) queues: Queues,
    /// Keeps certificates fresh while the node lives.
    _upkeeper: Upkeeper,
    pub(crate) info: NodeInfo,
    /// From addresses to connections, without the engine's lock.
    pub(super) translation: Arc<Translation>,
    /// Where it listens, and what says so to others.
    listening: Option<SocketAddr>,
    publisher: OnceLock<Publisher>,
    /// How often the next turn of an event loop looks into the rings.
    ring_looks: AtomicU32,
    /// Turns that looked into rings. Relaxed: only counts.
    ring_drives: AtomicU32,
    /// `None` once it was closed. Readers hold it for the length of a call.
    quic: RwLock<Option<Quic<NodeApp>>>,
}

impl Node {
    /// Opens the identity, or makes it, or gets it from the node to join; then listens. Takes up to a second: call it off
    /// the JavaScript thread.
    pub(super) fn open(
        engine: &Arc<Engine>,
        options: &NodeOptions,
        clock: JsClock,
    ) -> Result<Self, Failure> {
        let identity = identity(options)?;
        let listen = match options.listen.as_slice() {
            [] => None,
            [one] => Some(resolve(one, "options.listen")?[0]),
            _ => {
                return Err(Failure::new(
                    Status::LimitExceeded,
                    "a node listens on one address; [::] is every one of this machine",
                )
                .field("options.listen")
                .limit(1.0));
            }
        };
        let mut start = EngineOptions::new(listen, identity.clone());
        start.latency = match options.latency_mode {
            Latency::Spin => LatencyMode::Spin,
            Latency::Adaptive => LatencyMode::Adaptive,
            Latency::Block => LatencyMode::Block,
        };
        // A node that is killed says nothing: its instances are to be gone soon, not when a network would give up.
        start.limits.mtu = options.mtu;
        start.threads = options.engine_threads;
        if start.threads > 1 && options.relay.is_some() {
            return Err(Failure::new(
                Status::InvalidArgument,
                "a relay has one engine thread: options.relay and options.engineThreads exclude each other",
            )
            .field("options.engineThreads")
            .limit(1.0));
        }
        start.limits.idle_timeout = IDLE;
        start.limits.keep_alive = Some(KEEP_ALIVE);
        let node_id = identity.node_id().to_string();
        let near = Near::open(options.same_host);
        let translation = Translation::new(TranslationLimits::default(), Instant::now());
        let translation = Arc::new(translation.map_err(|error| {
            Failure::new(Status::LimitExceeded, error.to_string()).field("options")
        })?);
        let (engine, me) = (Arc::clone(engine), node_id.clone());
        let bridge = Bridge::new(engine, me, clock, near.neighbours.clone());
        let mut memory = endpoint(&identity);
        near.join(&mut memory);
        let locators = Locators::new(LocatorOptions {
            network: identity.network(),
            node: identity.node_id(),
            clock: Clock::system(),
            limits: LocatorLimits::default(),
            translation: Arc::clone(&translation),
        });
        let relays = Relays::new(
            options
                .relay
                .as_ref()
                .map(Relay::options)
                .unwrap_or_default(),
        );
        let keeper = Keeper::new(u64::from_le_bytes(random_bytes()));
        let mut app = NodeApp::new(bridge, memory, locators, relays, keeper);
        if start.threads > 1 {
            app.leave_relays_alone();
        }
        let quic = Quic::start(&start, app).map_err(|error| error.refusal("options.listen"))?;
        near.poll_by(quic.poller());
        let engine_threads = quic.shards() as u8;
        let listening = listen.map(|_| quic.local_address());
        Ok(Self {
            info: NodeInfo {
                node_id,
                address: GlobalAddress::of_node(&identity.network(), &identity.node_id())
                    .to_string(),
                name: options.name.clone(),
                network: identity.network_name().clone(),
                listening: listening.map(written).into_iter().collect(),
                latency_mode: options.latency_mode,
                engine_threads,
            },
            _upkeeper: Upkeeper::start(Arc::clone(&identity))
                .map_err(|error| error.refusal("options.data"))?,
            ring_drives: AtomicU32::new(0),
            ring_looks: AtomicU32::new(LEAST_LOOKS),
            identity,
            regions: Regions::default(),
            remotes: Remotes::default(),
            queues: Queues::default(),
            translation,
            listening,
            publisher: OnceLock::new(),
            quic: RwLock::new(Some(quic)),
        })
    }

    /// From here on others can learn where this node is.
    pub(super) fn publish(self: &Arc<Self>) -> Result<(), Failure> {
        let publisher = Publisher::start(self, self.listening)
            .map_err(|error| Failure::new(Status::Internal, error.to_string()))?;
        // Once per node: there is none yet.
        let _ = self.publisher.set(publisher);
        Ok(())
    }

    fn quic(&self) -> RwLockReadGuard<'_, Option<Quic<NodeApp>>> {
        self.quic.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the application, and sends what it wrote. `None` when the node is closed.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut NodeApp, &mut Io<'_>) -> R) -> Option<R> {
        self.with_shard(0, call)
    }

    /// As [`with`](Self::with), in place of the engine thread with this number: what is written to its peers leaves at once.
    pub(crate) fn with_shard<R>(
        &self,
        shard: u8,
        call: impl FnOnce(&mut NodeApp, &mut Io<'_>) -> R,
    ) -> Option<R> {
        let quic = self.quic();
        quic.as_ref()
            .map(|quic| quic.with_shard(shard.into(), call))
    }

    /// Whether peers belong to one engine thread or another.
    #[inline]
    pub(crate) fn is_sharded(&self) -> bool {
        self.info.engine_threads > 1
    }

    /// Lets the caller drive in place of the engine thread `shard`. `None` when the node is closed.
    #[inline]
    pub(crate) fn lease<R>(
        &self,
        shard: u8,
        drive: impl FnOnce(&mut Lease<'_, NodeApp>) -> R,
    ) -> Option<R> {
        let quic = self.quic();
        quic.as_ref()
            .map(|quic| drive(&mut quic.lease_shard(shard.into())))
    }

    /// Looks for packets once, in place of the background thread `shard`.
    #[inline]
    pub(crate) fn drive(&self, shard: u8) {
        if let Some(quic) = self.quic().as_ref() {
            let mut lease = quic.lease_shard(shard.into());
            // A look into a ring is a load; asking the kernel for packets costs as much as ten of them.
            if lease.application().bridge.expects_ring() {
                // Relaxed: a guess, which every thread may improve.
                let most = self.ring_looks.load(Ordering::Relaxed);
                for look in 0..most {
                    lease.poll();
                    if lease.application().bridge.has_moved() {
                        if look > 0 {
                            // It came while this thread was looking, so the other side has a core of its own: looking on
                            // takes less time than a turn of the event loop.
                            self.ring_looks.store(MOST_LOOKS, Ordering::Relaxed);
                        }
                        return;
                    }
                    std::hint::spin_loop();
                }
                // Nobody is as fast as that now, or whoever is waits for this very core.
                self.ring_looks
                    .store((most - most / 4).max(LEAST_LOOKS), Ordering::Relaxed);
                if !self
                    .ring_drives
                    .fetch_add(1, Ordering::Relaxed)
                    .is_multiple_of(SOCKET_EVERY)
                {
                    return;
                }
            }
            lease.turn();
        }
    }

    /// The calling thread will not drive in the next moments.
    pub(crate) fn release(&self) {
        if let Some(quic) = self.quic().as_ref() {
            quic.release();
        }
    }

    /// A token for one more node.
    pub(super) fn invite(&self, ttl_ms: f64) -> Result<String, Failure> {
        let seconds = (ttl_ms / 1_000.0).ceil().max(1.0) as u64;
        let token = self
            .identity
            .invite("", seconds)
            .map_err(|error| error.refusal("options.ttlMs"))?;
        Ok(token.to_text().as_str().to_owned())
    }

    /// Reaches a node and keeps it; returns when its services are known here.
    pub(super) fn connect(&self, target: &NodeTarget) -> Result<PeerInfo, Failure> {
        let peer = if target.address.starts_with("quic://") {
            let addresses = resolve(&target.address, "address")?;
            self.dial(addresses, target.timeout(), &target.address)?
        } else {
            self.reach(&target.address, target.timeout())?
        };
        self.with(|app, io| peer_info(app, io, peer))
            .flatten()
            .ok_or_else(|| {
                Failure::new(Status::NodeLost, "the node left as soon as it was there")
                    .field("address")
            })
    }

    pub(super) fn peers(&self) -> Vec<PeerInfo> {
        self.with(|app, io| {
            let slots: Vec<PeerSlot> = app.bridge.nodes().map(|(slot, _, _)| slot).collect();
            slots
                .into_iter()
                .filter_map(|slot| peer_info(app, io, slot))
                .collect()
        })
        .unwrap_or_default()
    }

    /// Adds what the engine and its connections have counted to a scrape. Holds each engine thread for at most some
    /// hundred microseconds.
    pub(crate) fn collect_metrics(&self, out: &mut Collector) {
        let Some((stats, peers)) = self.quic().as_ref().map(|quic| {
            let mut peers = BTreeMap::new();
            quic.with(|_, io| sum_peers(io, &mut peers));
            (quic.stats(), peers)
        }) else {
            return;
        };
        collect_engine(out, &stats);
        collect_peers(out, &peers);
        if let Some(totals) = self.with(AddressTotals::of) {
            totals.collect(out, self.translation.stats());
        }
    }

    /// Says goodbye to the peers, waits until they have what was written, and ends the threads.
    pub(crate) fn close(&self, grace: Duration) {
        let quic = self
            .quic
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(quic) = quic {
            // What cannot be delivered within the grace is lost, and its callers are told so.
            quic.close(grace);
        }
    }
}

impl Node {
    /// Closes without waiting for anybody.
    pub(crate) fn end(&self) {
        self.close(HASTE);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

fn peer_info(app: &NodeApp, io: &Io<'_>, slot: PeerSlot) -> Option<PeerInfo> {
    let (_, thread, _) = app.bridge.nodes().find(|(one, _, _)| *one == slot)?;
    let info = io.info(slot)?;
    let stats = io.stats(slot)?;
    let way = app.way(io, slot)?;
    Some(PeerInfo {
        node_id: info.identity.node_id.to_string(),
        name: info.identity.name.clone(),
        address: written(way.address),
        thread,
        side: match info.side {
            Side::Client => "client",
            Side::Server => "server",
        },
        via: if app.bridge.is_near(slot) {
            "shared-memory"
        } else {
            "quic"
        },
        relay: way.relay.map(|relay| relay.to_string()),
        rtt_us: stats.rtt.as_secs_f64() * 1e6,
        lost_packets: stats.lost_packets,
        sent_packets: stats.sent_packets,
        congestion_window: stats.cwnd,
        bytes_in: stats.bytes_received,
        bytes_out: stats.bytes_sent,
    })
}

/// Remote memory of this node.
fn endpoint(identity: &Arc<NodeIdentity>) -> Endpoint {
    Endpoint::new(EndpointOptions {
        node: identity.node_id(),
        boot_epoch: u128::from_le_bytes(random_bytes()),
        random: Box::new(|| u128::from_le_bytes(random_bytes())),
        unix_ms: Box::new(unix_ms),
        verifier: identity.clone(),
        sessions: SessionLimits::default(),
        client: ClientOptions::default(),
    })
}

/// The wall clock at `at`, which is close to now.
pub(super) fn unix_ms(at: Instant) -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = since.saturating_sub(at.elapsed());
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// What is stored; else what a token opens; else, for a node that listens, a network of its own.
fn identity(options: &NodeOptions) -> Result<Arc<NodeIdentity>, Failure> {
    if options.name.len() > MAX_NAME_BYTES {
        return Err(
            Failure::new(Status::LimitExceeded, "the name of a node is too long")
                .field("options.nodeName")
                .limit(MAX_NAME_BYTES as f64),
        );
    }
    let stored = || {
        let mut stored = IdentityOptions::new(&options.data);
        stored.name.clone_from(&options.name);
        stored
    };
    match NodeIdentity::open(stored()) {
        Err(IdentityError::NotFound { .. }) => {}
        Ok(identity) => return Ok(identity),
        Err(error) => return Err(error.refusal("options.data")),
    }
    if let Some(target) = options.join.first() {
        let Some(token) = &target.token else {
            return Err(Failure::new(
                Status::Denied,
                format!(
                    "{} has no identity yet: join with the token of the other side's mesh.invite()",
                    options.data
                ),
            )
            .field("options.join[0].token"));
        };
        let joining = Joining::new(token, stored())
            .map_err(|error| error.refusal("options.join[0].token"))?;
        resolve(&target.address, "options.join[0].address")?;
        return exchange::join(&target.address, joining, target.timeout())
            .map_err(|error| error.refusal("options.join[0]"));
    }
    NodeIdentity::open_or_create(stored(), &options.network)
        .map_err(|error| error.refusal("options.data"))
}
