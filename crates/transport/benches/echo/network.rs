//! One network for all processes of the bench, and what its members allow each other.

use std::sync::{Arc, OnceLock};

use linkmesh_transport::core::Limits;

use crate::identity::{Authority, TestIdentity};

/// Environment variables of a child: the authority's key, and the largest datagram.
pub(super) const AUTHORITY: &str = "LINKMESH_BENCH_AUTHORITY";
const MTU: &str = "LINKMESH_BENCH_MTU";

/// The key of the one authority: made by the parent, handed to its children.
pub(super) fn authority() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| std::env::var(AUTHORITY).unwrap_or_else(|_| Authority::new().to_pem()))
}

pub(super) fn limits() -> Limits {
    let mtu = std::env::var(MTU)
        .ok()
        .and_then(|mtu| mtu.parse().ok())
        .unwrap_or(1452);
    Limits {
        mtu,
        handshakes_per_second: 100_000,
        connections: 100_000,
        connections_per_node: 100_000,
        targets: 100_000,
        ..Limits::default()
    }
}

/// A member of this name.
pub(super) fn member(name: &str) -> Arc<TestIdentity> {
    Authority::from_pem(authority()).member(name)
}
