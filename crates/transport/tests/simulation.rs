//! Pairs of engines in virtual time over a bad network, by seeds. `LINKMESH_SEEDS=5000 cargo test -p linkmesh-transport
//! --test simulation` runs the long version; a failure names its seed, and `LINKMESH_SEED` repeats that one alone.

mod support;

use std::time::Duration;

use linkmesh_transport::core::{CloseReason, Direction, Limits, Target};
use support::echo::{BULK, ECHO, Echo, Event};
use support::identity::Authority;
use support::network::{Faults, Network, Random, address};
use support::pair::{both_connected, pair};

const SECOND: Duration = Duration::from_secs(1);

fn seeds(default: u64) -> Vec<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    match number("LINKMESH_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("LINKMESH_SEEDS").unwrap_or(default)).collect(),
    }
}

fn limits() -> Limits {
    Limits {
        idle_timeout: 10 * SECOND,
        keep_alive: Some(2 * SECOND),
        hello_timeout: 8 * SECOND,
        ..Limits::default()
    }
}

fn start(network: &mut Network<Echo>, node: usize, kind: u8, bytes: u64) {
    let peer = network.nodes[node].application.peers()[0];
    network.with(node, |echo, io| echo.send(io, peer, kind, bytes));
}

#[test]
fn every_byte_arrives_once_and_in_order_whatever_the_path_does() {
    let authority = Authority::new();
    for seed in seeds(150) {
        let mut random = Random(seed);
        let faults = Faults::random(&mut random);
        // With 30 % lost each way, ten silent seconds do happen between two that live.
        let patient = Limits {
            idle_timeout: 60 * SECOND,
            hello_timeout: 60 * SECOND,
            ..limits()
        };
        let mut network = pair(&authority, seed, faults.clone(), &patient);
        for _ in 0..=random.below(4) {
            let node = random.below(2) as usize;
            start(&mut network, node, ECHO, 1 + random.below(20_000));
        }
        let bulk = 1 + random.below(100_000);
        start(&mut network, 1, BULK, bulk);
        let done = network.run_until(600 * SECOND, |network| {
            let placed: usize = network.nodes[0]
                .application
                .bulk
                .values()
                .map(Vec::len)
                .sum();
            network
                .nodes
                .iter()
                .all(|node| node.application.is_done() || node.application.is_sent())
                && placed as u64 == bulk
                && network.nodes[0]
                    .application
                    .bulk
                    .values()
                    .flatten()
                    .all(|&came| came)
                && network.nodes[1].application.is_sent()
        });
        let reasons: Vec<_> = network
            .nodes
            .iter()
            .map(|node| node.application.disconnects())
            .collect();
        assert!(done, "seed {seed}: {faults:?} {reasons:?}");
        assert!(
            reasons.iter().all(Vec::is_empty),
            "seed {seed}: {reasons:?}"
        );
    }
}

#[test]
fn a_black_hole_ends_in_a_timeout_on_both_sides_and_the_target_is_reached_again_after_it() {
    let authority = Authority::new();
    for seed in seeds(10) {
        let mut network = pair(&authority, seed, Faults::none(), &limits());
        start(&mut network, 1, ECHO, 50_000);
        network.run(Duration::from_millis(3));
        network.faults.cut = true;
        let gone = network.run_until(30 * SECOND, |network| {
            network
                .nodes
                .iter()
                .all(|node| node.application.disconnects() == [CloseReason::TimedOut])
        });
        assert!(gone, "seed {seed}");
        network.run(20 * SECOND);
        network.faults.cut = false;
        assert!(
            network.run_until(30 * SECOND, both_connected),
            "seed {seed}: not reached again"
        );
        network.nodes[1].application.forget_streams();
        start(&mut network, 1, ECHO, 50_000);
        assert!(
            network.run_until(30 * SECOND, |network| network.nodes[1]
                .application
                .is_done()),
            "seed {seed}"
        );
    }
}

#[test]
fn a_client_that_changes_its_address_keeps_its_connection() {
    let authority = Authority::new();
    for seed in seeds(20) {
        let mut random = Random(seed);
        let faults = Faults {
            loss_percent: random.below(5),
            ..Faults::none()
        };
        let mut network = pair(&authority, seed, faults, &limits());
        for port in 0..3 {
            start(&mut network, 1, ECHO, 20_000);
            network.run(Duration::from_micros(random.below(4000)));
            network.nodes[1].address = format!("10.9.0.{}:{}", random.below(200), 9000 + port)
                .parse()
                .unwrap();
            // One byte more from the new address, in case that everything had been sent.
            start(&mut network, 1, ECHO, 1);
            let done = network.run_until(60 * SECOND, |network| {
                network.nodes[1].application.is_done()
            });
            assert!(
                done,
                "seed {seed}: {:?}",
                network.nodes[1].application.disconnects()
            );
        }
        assert!(
            network
                .nodes
                .iter()
                .all(|node| node.application.disconnects().is_empty()),
            "seed {seed}"
        );
        let peer = network.nodes[0].application.peers()[0];
        let seen = network.with(0, |_, io| io.address(peer));
        assert_eq!(
            seen,
            Some(network.nodes[1].address),
            "seed {seed}: the server knows the new address"
        );
    }
}

#[test]
fn a_path_that_shrinks_under_a_transfer_slows_it_but_does_not_stop_it() {
    let authority = Authority::new();
    for seed in seeds(10) {
        let mut limits = limits();
        limits.mtu = 9000;
        let mut network = pair(&authority, seed, Faults::none(), &limits);
        start(&mut network, 1, ECHO, 400_000);
        assert!(
            network.run_until(60 * SECOND, |network| network.nodes[1]
                .application
                .is_done()),
            "seed {seed}"
        );
        let peer = network.nodes[1].application.peers()[0];
        let before = network.with(1, |_, io| io.stats(peer)).unwrap();
        assert!(before.mtu > 1452, "seed {seed}: grew to {}", before.mtu);
        network.faults.mtu = 1252;
        start(&mut network, 1, ECHO, 400_000);
        assert!(
            network.run_until(60 * SECOND, |network| network.nodes[1]
                .application
                .is_done()),
            "seed {seed}"
        );
        let after = network.with(1, |_, io| io.stats(peer)).unwrap();
        assert!(
            after.mtu <= 1252 && after.black_holes > 0,
            "seed {seed}: {after:?}"
        );
    }
}

#[test]
fn a_server_that_restarts_is_noticed_by_its_boot_epoch() {
    let authority = Authority::new();
    for seed in seeds(10) {
        let mut network = pair(&authority, seed, Faults::none(), &limits());
        network.restart(0, limits(), Echo::default());
        let again = network.run_until(60 * SECOND, |network| {
            let epochs: Vec<_> = network.nodes[1]
                .application
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Connected(_, epoch) => Some(*epoch),
                    _ => None,
                })
                .collect();
            epochs.len() == 2 && epochs[0] != epochs[1]
        });
        assert!(
            again,
            "seed {seed}: {:?}",
            network.nodes[1].application.events
        );
        assert_eq!(
            network.nodes[1].application.disconnects().len(),
            1,
            "seed {seed}"
        );
    }
}

#[test]
fn a_graceful_close_delivers_what_was_written_on_both_sides_and_last_words() {
    let authority = Authority::new();
    for seed in seeds(40) {
        let mut random = Random(seed);
        let faults = Faults {
            loss_percent: random.below(15),
            jitter: Duration::from_millis(5),
            ..Faults::none()
        };
        let mut network = pair(&authority, seed, faults, &limits());
        // Odd seeds close at once, with the first window full, so that not even the goodbye fits.
        if seed % 2 == 0 {
            network.run(SECOND);
        }
        let mut taken = [0; 2];
        for node in [0, 1] {
            start(&mut network, node, BULK, 200_000);
            taken[node] = network.nodes[node].application.sent();
            assert!(seed % 2 == 1 || taken[node] == 200_000, "seed {seed}");
            if seed % 2 == 0 {
                network.nodes[node].application.last_words = 5000;
                taken[node] += 5000;
            }
        }
        network.close(1, 60 * SECOND);
        assert!(
            network.run_until(60 * SECOND, |network| network.nodes[1].core.is_closed()),
            "seed {seed}"
        );
        let gone = network.run_until(60 * SECOND, |network| {
            !network.nodes[0].application.disconnects().is_empty()
        });
        assert!(gone, "seed {seed}");
        for (node, of_the_other) in [(0, taken[1]), (1, taken[0])] {
            let application = &network.nodes[node].application;
            let came = application
                .bulk
                .values()
                .flatten()
                .filter(|&&came| came)
                .count();
            assert!(
                came as u64 >= of_the_other,
                "seed {seed}: {came} of {of_the_other}: {:?}",
                application.events
            );
            assert!(
                application.events.contains(&Event::Closing),
                "seed {seed}: {:?}",
                application.events
            );
            let done = [CloseReason::Peer(0), CloseReason::Local(0)];
            assert!(
                application
                    .disconnects()
                    .iter()
                    .all(|reason| done.contains(reason)),
                "seed {seed}"
            );
        }
    }
}

/// A byte on a stream of its own ten times a second, so that there is something to lose.
fn trickle(network: &mut Network<Echo>, node: usize, tenths: u32) {
    for _ in 0..tenths {
        if let Some(&peer) = network.nodes[node].application.peers().last() {
            network.with(node, |_, io| {
                // The limit on streams may stand against it while replies are late.
                if let Ok(stream) = io.open(peer, BULK, Direction::Unidirectional, 0) {
                    io.write(peer, stream, &[support::echo::pattern(0); 1])
                        .unwrap();
                    io.finish(peer, stream).unwrap();
                }
            });
        }
        network.run(Duration::from_millis(100));
    }
}

#[test]
fn a_path_without_another_is_watched_and_kept() {
    let authority = Authority::new();
    for seed in seeds(5) {
        let mut network = pair(&authority, seed, Faults::none(), &limits());
        let peer = network.nodes[1].application.peers()[0];
        let health = |network: &mut Network<Echo>| network.with(1, |_, io| io.health(peer));
        trickle(&mut network, 1, 30);
        assert!(health(&mut network) > Some(0.9), "seed {seed}");
        network.faults.loss_percent = 35;
        trickle(&mut network, 1, 150);
        let bad = health(&mut network);
        assert!(bad < Some(0.5), "seed {seed}: {bad:?}");
        network.faults.loss_percent = 0;
        trickle(&mut network, 1, 300);
        let good = health(&mut network);
        assert!(good > Some(0.8), "seed {seed}: {good:?}");
        assert!(network.nodes[1].application.disconnects().is_empty());
    }
}

#[test]
fn an_impaired_path_is_left_for_another_address_without_a_gap() {
    let authority = Authority::new();
    for seed in seeds(5) {
        let mut network = Network::new(seed, Faults::none());
        let server = network.add(authority.member("server"), limits(), Echo::default());
        let client = network.add(authority.member("client"), limits(), Echo::default());
        let other = "10.0.1.1:7443".parse().unwrap();
        network.aliases.push((other, server, 0));
        let target = Target {
            addresses: vec![other, address(server)],
            ..Target::at(other)
        };
        network.with(client, |_, io| io.connect(target)).unwrap();
        assert!(network.run_until(5 * SECOND, both_connected), "seed {seed}");
        network.run(2 * SECOND);
        network.aliases[0].2 = 35;
        trickle(&mut network, client, 200);
        let peers = network.nodes[client].application.peers();
        assert_eq!(
            peers.len(),
            1,
            "seed {seed}: {:?}",
            network.nodes[client].application.events
        );
        let now_at = network.with(client, |_, io| io.address(peers[0]));
        assert_eq!(
            now_at,
            Some(address(server)),
            "seed {seed}: it stayed on the bad path"
        );
        let events = &network.nodes[client].application.events;
        let replaced = events
            .iter()
            .position(|event| matches!(event, Event::Disconnected(..)));
        let connects: Vec<_> = (0..events.len())
            .filter(|&at| matches!(events[at], Event::Connected(..)))
            .collect();
        assert!(
            connects[1] < replaced.unwrap(),
            "seed {seed}: the new one stood before the old one went"
        );
    }
}

#[test]
fn a_silent_path_with_something_under_way_is_left_within_a_second() {
    let authority = Authority::new();
    for seed in seeds(10) {
        let mut network = Network::new(seed, Faults::none());
        let server = network.add(authority.member("server"), limits(), Echo::default());
        let client = network.add(authority.member("client"), limits(), Echo::default());
        let other = "10.0.1.1:7443".parse().unwrap();
        network.aliases.push((other, server, 0));
        let target = Target {
            addresses: vec![other, address(server)],
            ..Target::at(other)
        };
        network.with(client, |_, io| io.connect(target)).unwrap();
        assert!(network.run_until(5 * SECOND, both_connected), "seed {seed}");
        // Nothing is under way: whoever is only quiet stays where it is.
        network.run(60 * SECOND);
        assert_eq!(network.nodes[client].core.stats().failovers, 0);

        network.holes.push((address(client), other));
        start(&mut network, client, ECHO, 1000);
        let moved = |network: &Network<Echo>| network.nodes[client].core.stats().failovers == 1;
        assert!(
            network.run_until(SECOND, moved),
            "seed {seed}: it waits for the idle timeout"
        );
        // The old connection says no goodbye that nobody hears: what went over it is told to be lost at once.
        let over = |network: &Network<Echo>| {
            let reasons = network.nodes[client].application.disconnects();
            reasons == [CloseReason::TimedOut]
        };
        assert!(network.run_until(SECOND / 10, over), "seed {seed}");
        network.nodes[client].application.forget_streams();
        start(&mut network, client, ECHO, 1000);
        let answered = |network: &Network<Echo>| network.nodes[client].application.is_done();
        assert!(network.run_until(SECOND, answered), "seed {seed}");
    }
}
