//! Addresses: where this node is, where others are, and how long it takes to get there.

use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use linkmesh_registry::Status;
use linkmesh_transport::address::{
    Endpoint, GlobalAddress, Locator, LocatorRefused, Reply, ResolveError, SignedLocator, Source,
};
use linkmesh_transport::core::{NodeId, PeerSlot};
use linkmesh_transport::engine::{is_own_address, reachable_at};
use linkmesh_transport::identity::{Clock, NodeIdentity};
use serde::{Deserialize, Serialize};

use crate::state::Failure;
use crate::transport::Node;
use crate::transport::address::written;

/// How long this node's own record holds. It is made anew at half of that.
const TTL_SECONDS: u32 = 3600;
/// How long other answers are waited for after the first good one: nodes that collide are known in about the same time.
const GATHER: Duration = Duration::from_millis(20);

/// `ResolveOptions` of the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ResolveOptions {
    address: String,
    timeout_ms: f64,
}

/// `PingOptions` of the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PingOptions {
    address: String,
    timeout_ms: f64,
}

/// `EndpointInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointInfo {
    kind: &'static str,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
}

/// `ResolutionInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResolutionInfo {
    address: String,
    node_id: String,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    endpoints: Vec<EndpointInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

/// `PingInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PingInfo {
    node_id: String,
    rtt_us: f64,
    path: &'static str,
    address: String,
    lost_packets: u64,
    sent_packets: u64,
}

/// An address that was found.
#[derive(Debug)]
struct Found {
    node: NodeId,
    record: Option<Arc<SignedLocator>>,
    source: Source,
}

fn timeout(milliseconds: f64) -> Duration {
    let seconds = milliseconds / 1e3;
    // NaN is no comparison's friend: it becomes the shortest.
    let seconds = if seconds > 0.001 {
        seconds.min(86_400.0)
    } else {
        0.001
    };
    Duration::from_secs_f64(seconds)
}

fn collision(address: GlobalAddress, nodes: [NodeId; 2]) -> Failure {
    let [one, other] = nodes;
    Failure::new(
        Status::Duplicate,
        format!("two nodes have the address {address}: {one} and {other}"),
    )
    .field("address")
}

fn parse(address: &str) -> Result<GlobalAddress, Failure> {
    address.parse().map_err(|error| {
        let shown: String = address.chars().take(80).collect();
        Failure::new(
            Status::InvalidArgument,
            format!("'{shown}' is no address: {error}"),
        )
        .field("address")
    })
}

impl ResolutionInfo {
    fn new(address: GlobalAddress, found: &Found, now: u64) -> Self {
        let locator = found.record.as_deref().map(SignedLocator::locator);
        Self {
            address: address.to_string(),
            node_id: found.node.to_string(),
            source: match found.source {
                Source::Own => "own",
                Source::Connected(_) => "connected",
                Source::Cache => "cache",
                Source::Peer(_) => "peer",
            },
            from: match found.source {
                Source::Peer(from) => Some(from.to_string()),
                _ => None,
            },
            endpoints: locator.map_or_else(Vec::new, |locator| {
                let endpoints = locator.endpoints.iter();
                endpoints
                    .map(|endpoint| EndpointInfo {
                        kind: if endpoint.relay().is_some() {
                            "relay"
                        } else {
                            "direct"
                        },
                        address: written(endpoint.address()),
                        relay: endpoint.relay().map(|relay| relay.to_string()),
                    })
                    .collect()
            }),
            sequence: locator.map(|locator| locator.sequence),
            expires: locator.map(|locator| locator.expires(now)),
        }
    }
}

impl Node {
    /// Where an address is.
    pub(super) fn resolve(&self, options: &ResolveOptions) -> Result<ResolutionInfo, Failure> {
        let address = parse(&options.address)?;
        let found = self.find(address, timeout(options.timeout_ms))?;
        Ok(ResolutionInfo::new(address, &found, Clock::system().now()))
    }

    /// Asks, verifies what comes, and waits a little for others who may know something else.
    fn find(&self, address: GlobalAddress, longest: Duration) -> Result<Found, Failure> {
        let until = Instant::now() + longest;
        let (tell, told) = mpsc::channel();
        self.with(|app, io| app.locators.resolve(io, address, tell))
            .ok_or_else(closed)?
            .map_err(|error| {
                let status = match error {
                    ResolveError::Network => Status::InvalidArgument,
                    ResolveError::Busy { .. } => Status::LimitExceeded,
                };
                Failure::new(status, format!("{address}: {error}")).field("address")
            })?;
        let mut found: Option<Found> = None;
        let mut refused = None;
        let mut until_others = until;
        loop {
            let wait = until_others.saturating_duration_since(Instant::now());
            match told.recv_timeout(wait) {
                Ok(Reply::Known {
                    node,
                    record,
                    source,
                }) => {
                    return Ok(Found {
                        node,
                        record,
                        source,
                    });
                }
                Ok(Reply::Collision(nodes)) => return Err(collision(address, nodes)),
                Ok(Reply::Candidate { from, record }) => match self.believe(record) {
                    Err(error) => refused = Some(error),
                    Ok(record) => {
                        let node = record.locator().node;
                        if let Some(first) = found.as_ref().filter(|first| first.node != node) {
                            return Err(collision(address, [first.node, node]));
                        }
                        found = Some(Found {
                            node,
                            record: Some(record),
                            source: Source::Peer(from),
                        });
                        until_others = until.min(Instant::now() + GATHER);
                    }
                },
                Ok(Reply::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if found.is_some() => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::new(
                        Status::DeadlineExceeded,
                        format!("nobody said where {address} is in time"),
                    )
                    .field("address"));
                }
            }
        }
        found.ok_or_else(|| {
            let why = refused.map_or_else(
                || "no peer of this node knows it".to_owned(),
                |error| format!("what a peer sent for it does not hold: {error}"),
            );
            Failure::new(
                Status::NotFound,
                format!("{address} is not known here: {why}"),
            )
            .field("address")
        })
    }

    /// Verifies a record and keeps it: that one, or a newer one that is known already.
    fn believe(&self, record: Arc<SignedLocator>) -> Result<Arc<SignedLocator>, LocatorRefused> {
        record.verify(
            &self.identity.network(),
            Clock::system().now(),
            &*self.identity,
        )?;
        let newest = self.with(|app, _| {
            // Refused is only what is older than what the next line finds.
            let _ = app.locators.install(Arc::clone(&record));
            app.locators.record(&record.locator().node).cloned()
        });
        Ok(newest.flatten().unwrap_or(record))
    }

    /// A connection to what an address names: `quic://host:port`, or a global address.
    fn reach(&self, address: &str, longest: Duration) -> Result<PeerSlot, Failure> {
        if address.starts_with("quic://") {
            return self.reach_at(address, longest);
        }
        let parsed = parse(address)?;
        let until = Instant::now() + longest;
        // The lookup that takes no lock of the engine; what it does not know is found out.
        let reader = linkmesh_tables::epoch::Domain::global().register();
        let route = self
            .translation
            .lookup(parsed.node(), Instant::now(), &reader.pin())
            .cloned();
        let network = self.identity.network();
        if let Some(route) = route.filter(|route| parsed.names(&network, &route.node)) {
            return Ok(route.peer);
        }
        let found = self.find(parsed, longest)?;
        match found.source {
            Source::Connected(peer) => return Ok(peer),
            Source::Own => {
                return Err(Failure::new(
                    Status::InvalidArgument,
                    format!("{address} is this node itself"),
                )
                .field("address"));
            }
            Source::Cache | Source::Peer(_) => {}
        }
        let addresses: Vec<SocketAddr> = found.record.as_ref().map_or_else(Vec::new, |record| {
            let endpoints = record.locator().endpoints.iter();
            endpoints
                .filter(|endpoint| endpoint.relay().is_none())
                .map(Endpoint::address)
                .collect()
        });
        let left = until.saturating_duration_since(Instant::now());
        self.dial(addresses, Some(found.node), left, address)
    }

    fn reach_at(&self, address: &str, longest: Duration) -> Result<PeerSlot, Failure> {
        let addresses = super::address::resolve(address, "address")?;
        let connected = self.with(|_, io| {
            let there = |slot: &PeerSlot| {
                io.address(*slot)
                    .is_some_and(|address| addresses.contains(&address))
            };
            io.peers().map(|(slot, _)| slot).find(there)
        });
        match connected.ok_or_else(closed)? {
            Some(peer) => Ok(peer),
            None => self.dial(addresses, None, longest, address),
        }
    }

    /// One round trip to the engine of a node.
    pub(super) fn ping(&self, options: &PingOptions) -> Result<PingInfo, Failure> {
        let until = Instant::now() + timeout(options.timeout_ms);
        let peer = self.reach(&options.address, timeout(options.timeout_ms))?;
        let gone = || {
            Failure::new(Status::NodeLost, format!("{} is gone", options.address)).field("address")
        };
        let (tell, told) = mpsc::channel();
        let id = self
            .with(|app, io| app.locators.ping(io, peer, tell))
            .ok_or_else(closed)?
            .ok_or_else(gone)?;
        let wait = until.saturating_duration_since(Instant::now());
        let rtt = told.recv_timeout(wait).map_err(|error| match error {
            RecvTimeoutError::Disconnected => gone(),
            RecvTimeoutError::Timeout => {
                self.with(|app, _| app.locators.forget_ping(id));
                Failure::new(
                    Status::DeadlineExceeded,
                    format!(
                        "no answer from {} within {} ms",
                        options.address, options.timeout_ms
                    ),
                )
                .field("address")
            }
        })?;
        self.with(|_, io| {
            let info = io.info(peer)?;
            let (stats, address) = (io.stats(peer)?, io.address(peer)?);
            Some(PingInfo {
                node_id: info.identity.node_id.to_string(),
                rtt_us: rtt.as_secs_f64() * 1e6,
                path: if is_own_address(address.ip()) {
                    "same-host"
                } else {
                    "direct"
                },
                address: written(address),
                lost_packets: stats.lost_packets,
                sent_packets: stats.sent_packets,
            })
        })
        .flatten()
        .ok_or_else(gone)
    }
}

fn closed() -> Failure {
    Failure::new(Status::Closed, "the node was closed")
}

/// Keeps this node's record fresh: signs it at the start and at half life, on a thread of its own that sleeps otherwise.
#[derive(Debug)]
pub(super) struct Publisher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    pub(super) fn start(node: &Arc<Node>, listening: SocketAddr) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (identity, node) = (Arc::clone(&node.identity), Arc::downgrade(node));
        let thread = Builder::new()
            .name("linkmesh-locator".into())
            .spawn(move || {
                let mut sequence = 0;
                let rest = Duration::from_secs(u64::from(TTL_SECONDS / 2));
                while publish(&node, &identity, listening, &mut sequence) {
                    if stopped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            // The thread itself may be the last to hold the node.
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic there would have been reported by the hook of the process.
            let _ = thread.join();
        }
    }
}

/// False when the node is gone.
fn publish(
    node: &Weak<Node>,
    identity: &NodeIdentity,
    listening: SocketAddr,
    sequence: &mut u64,
) -> bool {
    let now = Clock::system().now();
    // Grows across restarts, as the time does, and by one at least if the clock was set back.
    *sequence = (*sequence + 1).max(crate::transport::node::unix_ms(Instant::now()));
    let locator = Locator {
        network: identity.network(),
        node: identity.node_id(),
        sequence: *sequence,
        issued: now,
        ttl: TTL_SECONDS,
        endpoints: reachable_at(listening)
            .into_iter()
            .map(Endpoint::Direct)
            .collect(),
    };
    let signed = SignedLocator::sign(&locator, identity);
    let Some(node) = node.upgrade() else {
        return false;
    };
    // Without a usable certificate there is no record; others still know this node while it is connected.
    if let Ok(signed) = signed {
        node.with(|app, io| app.locators.publish(io, Arc::new(signed)));
    }
    true
}
