//! A server and a client in virtual time that have met: what most tests begin with.

use std::time::Duration;

use linkmesh_transport::core::{Limits, Target};

use super::echo::Echo;
use super::identity::Authority;
use super::network::{Faults, Network, address};

/// Two nodes, the second connected to the first.
pub fn pair(authority: &Authority, seed: u64, faults: Faults, limits: &Limits) -> Network<Echo> {
    let mut network = Network::new(seed, faults);
    let server = network.add(authority.member("server"), limits.clone(), Echo::default());
    let client = network.add(authority.member("client"), limits.clone(), Echo::default());
    network
        .with(client, |_, io| io.connect(Target::at(address(server))))
        .unwrap();
    assert!(
        network.run_until(Duration::from_secs(120), both_connected),
        "seed {seed}: not connected"
    );
    network
}

pub fn both_connected(network: &Network<Echo>) -> bool {
    network
        .nodes
        .iter()
        .all(|node| node.application.peers().len() == 1)
}
