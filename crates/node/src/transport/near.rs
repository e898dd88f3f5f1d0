//! Processes of this host, for requests and for memory alike.

use linkmesh_memory::endpoint::Endpoint;
use linkmesh_transport::engine::EnginePoller;

use crate::remote::Neighbours;
use crate::transport::NodeApp;

/// What a node has to do with its neighbours while it starts. Where nothing can be shared everything goes over QUIC.
pub(super) struct Near {
    pub(super) neighbours: Neighbours,
    #[cfg(target_os = "linux")]
    host: Option<std::sync::Arc<linkmesh_memory::host::SameHost>>,
    #[cfg(target_os = "linux")]
    poller: std::sync::Arc<std::sync::OnceLock<EnginePoller<NodeApp>>>,
}

#[cfg(target_os = "linux")]
impl Near {
    /// `wanted`: false leaves everything to QUIC.
    pub(super) fn open(wanted: bool) -> Self {
        use linkmesh_memory::host::{HostOptions, SameHost};
        use std::sync::{Arc, OnceLock};

        let poller = Arc::new(OnceLock::<EnginePoller<NodeApp>>::new());
        // Most likely: no folder for its socket.
        let open = || SameHost::open(HostOptions::default()).ok().map(Arc::new);
        let host = wanted.then(open).flatten();
        let neighbours = host.as_ref().map_or_else(Neighbours::default, |host| {
            let poller = Arc::clone(&poller);
            // On the host's thread: what has come goes to the threads of JavaScript from there, and the engine's thread, which
            // would have to be woken first, sleeps on.
            Neighbours::new(Arc::clone(host), move || {
                if let Some(poller) = poller.get() {
                    poller.poll();
                }
            })
        });
        Self {
            neighbours,
            host,
            poller,
        }
    }

    pub(super) fn join(&self, memory: &mut Endpoint) {
        if let Some(host) = &self.host {
            memory.use_same_host(std::sync::Arc::clone(host));
        }
    }

    /// The engine runs. What stirred before was looked at by nobody.
    pub(super) fn poll_by(&self, poller: EnginePoller<NodeApp>) {
        self.poller.get_or_init(|| poller).poll();
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(
    clippy::unused_self,
    reason = "the same face as where there is something to do"
)]
impl Near {
    pub(super) fn open(_: bool) -> Self {
        Self {
            neighbours: Neighbours::default(),
        }
    }

    pub(super) fn join(&self, _: &mut Endpoint) {}

    pub(super) fn poll_by(&self, _: EnginePoller<NodeApp>) {}
}
