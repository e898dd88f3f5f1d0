//! What a contestant has to be able to do, and who they are.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{engine, quinn, udp};

/// A contestant: one exchange of `depth` echoes.
pub(super) trait Rival {
    fn exchange(&mut self, depth: usize);
    /// Seconds for a bulk transfer, if it can.
    fn bulk(&mut self) -> Option<Duration>;
}

pub(super) fn connect(kind: &str, address: SocketAddr) -> Box<dyn Rival> {
    match kind {
        "udp" | "udp-block" => Box::new(udp::connect(address, kind == "udp")),
        "engine" => Box::new(engine::connect(address)),
        _ => Box::new(quinn::connect(address)),
    }
}
