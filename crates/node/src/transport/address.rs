//! `quic://host:port`, as people write addresses.

use std::net::{SocketAddr, ToSocketAddrs};

use linkmesh_registry::Status;

use crate::state::Failure;

/// Most addresses that a name may stand for.
const MAX_ADDRESSES: usize = 16;

fn host_and_port(address: &str) -> Option<&str> {
    address
        .strip_prefix("quic://")
        .filter(|rest| !rest.is_empty())
}

/// Resolves an address. Blocks while a name is looked up: call it off the JavaScript thread.
pub(super) fn resolve(address: &str, field: &str) -> Result<Vec<SocketAddr>, Failure> {
    let place = host_and_port(address).ok_or_else(|| {
        Failure::new(
            Status::InvalidArgument,
            format!("'{address}' is no address: quic://host:port"),
        )
        .field(field)
    })?;
    let mut found: Vec<SocketAddr> = place
        .to_socket_addrs()
        .map_err(|error| {
            Failure::new(
                Status::InvalidArgument,
                format!("'{address}' names no machine that can be found: {error}"),
            )
            .field(field)
        })?
        .collect();
    found.truncate(MAX_ADDRESSES);
    if found.is_empty() {
        return Err(Failure::new(
            Status::InvalidArgument,
            format!("'{address}' names no machine"),
        )
        .field(field));
    }
    Ok(found)
}

/// The address as it is written.
pub(super) fn written(address: SocketAddr) -> String {
    format!("quic://{address}")
}
