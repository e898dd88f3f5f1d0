//! Telling others where this node is.

use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use linkmesh_transport::address::{Endpoint, Locator, MAX_ENDPOINTS, SignedLocator};
use linkmesh_transport::engine::reachable_at;
use linkmesh_transport::identity::{Clock, NodeIdentity};

use crate::transport::Node;

/// How long this node's own record holds. It is made anew at half of that.
const TTL_SECONDS: u32 = 3600;
/// Between two records, however often relays come and go.
const LEAST_REST: Duration = Duration::from_secs(1);

/// Why its thread wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// Other relays serve than before.
    Relays,
    Stop,
}

/// Keeps this node's record fresh: signs it at the start, at half life and when its relays change, on a thread of its own that
/// sleeps otherwise.
#[derive(Debug)]
pub(super) struct Publisher {
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    pub(super) fn start(node: &Arc<Node>, listening: Option<SocketAddr>) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::channel();
        node.with(|app, _| app.announce_to(wake.clone()));
        let mut record = Record {
            identity: Arc::clone(&node.identity),
            node: Arc::downgrade(node),
            listening,
            sequence: 0,
            endpoints: Vec::new(),
        };
        let thread = Builder::new()
            .name("linkmesh-locator".into())
            .spawn(move || {
                let life = Duration::from_secs(u64::from(TTL_SECONDS / 2));
                let mut signed = None;
                let mut until = Instant::now();
                loop {
                    let rest = until.saturating_duration_since(Instant::now());
                    match woken.recv_timeout(rest) {
                        Ok(Wake::Relays) => {
                            let least = signed.map(|at: Instant| at + LEAST_REST);
                            until = until.min(least.unwrap_or_else(Instant::now));
                            continue;
                        }
                        Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                        Err(RecvTimeoutError::Timeout) => {}
                    }
                    let half = signed.is_none_or(|at: Instant| at.elapsed() >= life);
                    match record.publish(half) {
                        Published::Gone => return,
                        Published::Signed => signed = Some(Instant::now()),
                        Published::Same => {}
                    }
                    until = signed.unwrap_or_else(Instant::now) + life;
                }
            })?;
        Ok(Self {
            wake,
            thread: Some(thread),
        })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.wake.send(Wake::Stop);
        if let Some(thread) = self.thread.take()
            // The thread itself may be the last to hold the node.
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic there would have been reported by the hook of the process.
            let _ = thread.join();
        }
    }
}

enum Published {
    Signed,
    /// What others know is still so, or there is nothing to say.
    Same,
    /// The node is.
    Gone,
}

/// What the last record said.
struct Record {
    identity: Arc<NodeIdentity>,
    node: Weak<Node>,
    listening: Option<SocketAddr>,
    sequence: u64,
    endpoints: Vec<Endpoint>,
}

impl Record {
    /// `anew`: also when it says what the last one did.
    fn publish(&mut self, anew: bool) -> Published {
        let Some(node) = self.node.upgrade() else {
            return Published::Gone;
        };
        let direct = self.listening.into_iter().flat_map(reachable_at);
        let mut endpoints: Vec<Endpoint> = direct.map(Endpoint::Direct).collect();
        endpoints.extend(
            node.with(|app, io| app.relay_endpoints(io))
                .unwrap_or_default(),
        );
        endpoints.truncate(MAX_ENDPOINTS);
        // Nowhere at all is said by nothing: the record ends by itself.
        if endpoints.is_empty() || (!anew && endpoints == self.endpoints) {
            return Published::Same;
        }
        // Grows across restarts, as the time does, and by one at least if the clock was set back.
        self.sequence = (self.sequence + 1).max(crate::transport::node::unix_ms(Instant::now()));
        let locator = Locator {
            network: self.identity.network(),
            node: self.identity.node_id(),
            sequence: self.sequence,
            issued: Clock::system().now(),
            ttl: TTL_SECONDS,
            endpoints,
        };
        // Without a usable certificate there is no record; others still know this node while it is connected.
        if let Ok(signed) = SignedLocator::sign(&locator, &*self.identity) {
            node.with(|app, io| app.locators.publish(io, Arc::new(signed)));
            self.endpoints = locator.endpoints;
        }
        Published::Signed
    }
}
