//! Addresses: where this node is, where others are, and how long it takes to get there.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use linkmesh_registry::Status;
use linkmesh_transport::address::{
    GlobalAddress, LocatorRefused, Reply, ResolveError, SignedLocator, Source,
};
use linkmesh_transport::core::NodeId;
use linkmesh_transport::engine::is_own_address;
use linkmesh_transport::identity::Clock;
use serde::{Deserialize, Serialize};

use crate::state::Failure;
use crate::transport::Node;
use crate::transport::address::written;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
    lost_packets: u64,
    sent_packets: u64,
}

/// An address that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) node: NodeId,
    pub(super) record: Option<Arc<SignedLocator>>,
    pub(super) source: Source,
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

pub(super) fn parse(address: &str) -> Result<GlobalAddress, Failure> {
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
    pub(super) fn find(&self, address: GlobalAddress, longest: Duration) -> Result<Found, Failure> {
        let until = Instant::now() + longest;
        let (tell, told) = mpsc::channel();
        self.with(|app, io| app.locators.resolve(io, address, tell))
            .ok_or_else(Failure::node_closed)?
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
            .ok_or_else(Failure::node_closed)?
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
        self.with(|app, io| {
            let info = io.info(peer)?;
            let (stats, way) = (io.stats(peer)?, app.way(io, peer)?);
            Some(PingInfo {
                node_id: info.identity.node_id.to_string(),
                rtt_us: rtt.as_secs_f64() * 1e6,
                path: if way.relay.is_some() {
                    "relay"
                } else if is_own_address(way.address.ip()) {
                    "same-host"
                } else {
                    "direct"
                },
                address: written(way.address),
                relay: way.relay.map(|relay| relay.to_string()),
                lost_packets: stats.lost_packets,
                sent_packets: stats.sent_packets,
            })
        })
        .flatten()
        .ok_or_else(gone)
    }
}
