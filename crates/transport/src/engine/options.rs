//! What an engine is started with.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::core::{Authenticator, Limits};

/// How the engine waits for the next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LatencyMode {
    /// Never sleeps: a core is busy all the time, and a packet is seen within a microsecond.
    Spin,
    /// Spins for the spin window after the last packet, then sleeps. Waking costs some 25 µs.
    #[default]
    Adaptive,
    /// Sleeps at once: no core is spent on waiting.
    Block,
}

/// What an engine is started with.
#[derive(Clone)]
pub struct EngineOptions {
    /// Where to listen; port 0 takes a free one. `[::]` listens on IPv4 too. `None` dials only.
    pub listen: Option<SocketAddr>,
    /// Who this node is and whom it believes.
    pub authenticator: Arc<dyn Authenticator>,
    /// What peers may make it hold.
    pub limits: Limits,
    /// How it waits.
    pub latency: LatencyMode,
    /// How long [`LatencyMode::Adaptive`] spins after the last packet: 200 µs or more keeps a busy peer awake.
    pub spin_window: Duration,
    /// Engine threads, 1 to 16. More than one needs Linux and an address to listen on.
    pub threads: u8,
    /// This process's boot epoch; random when `None`.
    pub boot_epoch: Option<[u8; 16]>,
    /// Drive the socket through quinn-udp where a faster way of our own exists, to compare the two.
    pub portable_socket: bool,
}

impl EngineOptions {
    /// The defaults: adaptive, one thread, spin window of 200 µs.
    pub fn new(listen: Option<SocketAddr>, authenticator: Arc<dyn Authenticator>) -> Self {
        Self {
            listen,
            authenticator,
            limits: Limits::default(),
            latency: LatencyMode::default(),
            spin_window: Duration::from_micros(200),
            threads: 1,
            boot_epoch: None,
            portable_socket: false,
        }
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EngineOptions")
            .field("listen", &self.listen)
            .field("limits", &self.limits)
            .field("latency", &self.latency)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Why an engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// An option is out of its range.
    Option {
        /// Its name.
        field: &'static str,
        /// What it must be.
        expected: String,
    },
    /// The address cannot be bound: taken, not this machine's, or not allowed.
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// The identity's TLS configuration cannot be used with QUIC.
    Tls(String),
    /// The system gives no thread or descriptor.
    System(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { field, expected } => write!(out, "{field} must be {expected}"),
            Self::Bind { address, source } => write!(out, "cannot listen on {address}: {source}"),
            Self::Tls(message) => write!(out, "the TLS configuration is not usable: {message}"),
            Self::System(error) => write!(out, "the engine cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::System(source) => Some(source),
            _ => None,
        }
    }
}
