//! What an endpoint is made with.

use std::{sync::Arc, time::Instant};

use linkmesh_transport::core::NodeId;

use crate::{client::ClientOptions, grant::Verifier, session::SessionLimits};

/// What an [`Endpoint`](super::Endpoint) needs from its process.
pub struct EndpointOptions {
    /// This node.
    pub node: NodeId,
    /// Random number of this process.
    pub boot_epoch: u128,
    /// A fresh random number; each client's session takes one.
    pub random: Box<dyn FnMut() -> u128 + Send>,
    /// Wall-clock time at an instant, in milliseconds since 1970: grants expire by it.
    pub unix_ms: Box<dyn Fn(Instant) -> u64 + Send>,
    /// Checks signatures of presented grants.
    pub verifier: Arc<dyn Verifier + Send + Sync>,
    /// Limits of the sessions that peers hold here.
    pub sessions: SessionLimits,
    /// Limits of each client; `lanes` is at most [`LANES`](super::LANES).
    pub client: ClientOptions,
}

impl std::fmt::Debug for EndpointOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointOptions")
            .field("node", &self.node)
            .field("sessions", &self.sessions)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
