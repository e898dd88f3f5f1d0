//! Who gets in, and how much of this node a peer can hold: every refusal, by pairs in virtual time.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use linkmesh_transport::core::{
    Authenticator, CloseCode, CloseReason, Direction, Limits, NodeId, StreamError, Target,
};
use support::echo::{BULK, ECHO, Echo, Event};
use support::identity::Authority;
use support::network::{Faults, Network, address};
use support::pair::pair;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits {
        idle_timeout: 10 * SECOND,
        hello_timeout: 2 * SECOND,
        ..Limits::default()
    }
}

fn network(
    server: Arc<dyn Authenticator>,
    client: Arc<dyn Authenticator>,
    limits: &Limits,
) -> Network<Echo> {
    let mut network = Network::new(1, Faults::none());
    network.add(server, limits.clone(), Echo::default());
    network.add(client, limits.clone(), Echo::default());
    network
}

fn dial(network: &mut Network<Echo>, node: usize, target: Target) {
    network.with(node, |_, io| io.connect(target)).unwrap();
}

fn once(target: Target) -> Target {
    Target {
        persistent: false,
        ..target
    }
}

/// Why the first attempt of a node failed, and whether another follows.
fn failure(network: &mut Network<Echo>, node: usize) -> (CloseReason, bool) {
    let failed = |network: &Network<Echo>| {
        network.nodes[node]
            .application
            .events
            .iter()
            .find_map(|event| match event {
                Event::Unreachable(_, reason, retry) => Some((reason.clone(), retry.is_some())),
                _ => None,
            })
    };
    assert!(
        network.run_until(60 * SECOND, |network| failed(network).is_some()),
        "it did not fail"
    );
    failed(network).unwrap()
}

fn nobody_connected(network: &Network<Echo>) -> bool {
    network.nodes.iter().all(|node| {
        !node
            .application
            .events
            .iter()
            .any(|event| matches!(event, Event::Connected(..)))
    })
}

#[test]
fn a_certificate_of_another_authority_is_refused_in_tls() {
    let mut network = network(
        Authority::new().member("server"),
        Authority::new().member("client"),
        &limits(),
    );
    dial(&mut network, 1, once(Target::at(address(0))));
    let (reason, _) = failure(&mut network, 1);
    assert!(matches!(reason, CloseReason::Transport(_)), "{reason}");
    assert!(nobody_connected(&network));
}

#[test]
fn a_good_certificate_without_a_good_proof_is_refused_on_both_sides() {
    let authority = Authority::new();
    for (server, client) in [([1; 32], [7; 32]), ([7; 32], [1; 32])] {
        let server = authority.member_with("server", server);
        let client = authority.member_with("client", client);
        let mut network = network(server, client, &limits());
        dial(&mut network, 1, Target::at(address(0)));
        let (reason, retried) = failure(&mut network, 1);
        let refused = matches!(reason, CloseReason::NotAuthenticated(_))
            || reason == CloseReason::Peer(CloseCode::NotAuthenticated as u64);
        assert!(refused, "{reason}");
        assert!(!retried, "time does not heal a wrong proof");
        assert!(nobody_connected(&network));
    }
}

#[test]
fn a_peer_that_never_proves_itself_is_dropped_in_time() {
    let authority = Authority::new();
    for mute in [0, 1] {
        let mut network = network(
            authority.member("server"),
            authority.member("client"),
            &limits(),
        );
        network.nodes[mute].mute = true;
        dial(&mut network, 1, once(Target::at(address(0))));
        let (reason, _) = failure(&mut network, 1);
        let timed_out = reason == CloseReason::TimedOut
            || reason == CloseReason::Peer(CloseCode::HelloTimeout as u64);
        assert!(timed_out, "{reason}");
        network.run(5 * SECOND);
        assert!(nobody_connected(&network));
        assert_eq!(
            network.nodes[0].core.stats().connections,
            0,
            "nothing of it is kept"
        );
    }
}

#[test]
fn another_node_than_the_expected_one_is_refused_by_name() {
    let authority = Authority::new();
    let mut network = network(
        authority.member("server"),
        authority.member("client"),
        &limits(),
    );
    let expected = NodeId([9; 32]);
    dial(
        &mut network,
        1,
        Target {
            expected: Some(expected),
            ..Target::at(address(0))
        },
    );
    let (reason, retried) = failure(&mut network, 1);
    assert!(
        matches!(reason, CloseReason::WrongNode { expected: named, .. } if named == expected),
        "{reason}"
    );
    assert!(!retried);
}

#[test]
fn a_revoked_node_loses_its_live_connection_within_a_second_and_gets_no_new_one() {
    let authority = Authority::new();
    let client = authority.member("client");
    let node = client.node_id;
    let mut network = network(authority.member("server"), client, &limits());
    dial(&mut network, 1, Target::at(address(0)));
    assert!(network.run_until(
        5 * SECOND,
        |network| network.nodes[0].application.peers().len() == 1
    ));
    network.run(3 * SECOND);
    authority.revoke(node);
    let gone = network.run_until(SECOND, |network| {
        !network.nodes[0].application.disconnects().is_empty()
    });
    assert!(gone, "still connected a second later");
    assert_eq!(network.nodes[0].core.stats().revoked, 1);
    network.run(30 * SECOND);
    assert!(
        network.nodes[0].application.peers().is_empty(),
        "it came back"
    );
}

#[test]
fn connections_of_one_node_are_limited() {
    let authority = Authority::new();
    let limits = Limits {
        connections_per_node: 2,
        ..limits()
    };
    let mut network = network(
        authority.member("server"),
        authority.member("client"),
        &limits,
    );
    for _ in 0..4 {
        dial(&mut network, 1, once(Target::at(address(0))));
    }
    network.run(10 * SECOND);
    assert_eq!(network.nodes[0].application.peers().len(), 2);
    let refused = network.nodes[1].application.events.iter().filter(|event| {
        matches!(event, Event::Unreachable(_, CloseReason::Peer(code), _) if *code == CloseCode::TooManyConnections as u64)
            || matches!(event, Event::Unreachable(_, CloseReason::Limit("connections_per_node"), _))
    });
    assert_eq!(refused.count(), 2);
}

#[test]
fn above_the_rate_a_source_must_show_that_it_is_there_and_everybody_still_gets_in() {
    let authority = Authority::new();
    let limits = Limits {
        handshakes_per_second: 2,
        dials: 64,
        connections_per_node: 64,
        ..limits()
    };
    let mut network = network(
        authority.member("server"),
        authority.member("client"),
        &limits,
    );
    for _ in 0..20 {
        dial(&mut network, 1, Target::at(address(0)));
    }
    let all = network.run_until(20 * SECOND, |network| {
        network.nodes[0].application.peers().len() == 20
    });
    assert!(all, "{:?}", network.nodes[0].core.stats());
    assert!(
        network.nodes[0].core.stats().retried >= 15,
        "{:?}",
        network.nodes[0].core.stats()
    );
}

#[test]
fn a_flood_of_first_packets_costs_little_answers_less_than_three_times_and_disturbs_nobody() {
    let authority = Authority::new();
    let limits = Limits {
        handshakes: 8,
        handshakes_per_second: 4,
        ..limits()
    };
    let mut network = pair(&authority, 1, Faults::none(), &limits);
    network.run(5 * SECOND);
    // Real first flights, caught on their way from a third node and sent from addresses that do not exist.
    let many = Limits {
        dials: 400,
        ..limits.clone()
    };
    let stranger = network.add(authority.member("stranger"), many, Echo::default());
    network.nodes[stranger].address = "10.99.0.1:9".parse().unwrap();
    let flights: Vec<_> = (0..300)
        .map(|_| {
            network.record(stranger, |network| {
                dial(network, stranger, once(Target::at(address(0))));
            })
        })
        .collect();
    assert!(
        flights.iter().all(|flight| flight.len() == 2),
        "a first flight has two datagrams"
    );
    network.nodes.truncate(stranger);
    let before = (network.nodes[0].sent, network.nodes[0].received);
    let peer = network.nodes[1].application.peers()[0];
    network.with(1, |echo, io| echo.send(io, peer, ECHO, 1000));
    assert!(network.run_until(SECOND, |network| network.nodes[1].application.is_done()));
    let exchange = (
        network.nodes[0].sent - before.0,
        network.nodes[0].received - before.1,
    );
    let before = (network.nodes[0].sent, network.nodes[0].received);
    for (source, flight) in (0_u32..).zip(&flights) {
        let from = SocketAddr::from(([172, 16, (source >> 8) as u8, source as u8], 4433));
        for datagram in flight {
            network.inject(from, address(0), datagram);
        }
    }
    network.with(1, |echo, io| echo.send(io, peer, ECHO, 1000));
    assert!(
        network.run_until(SECOND, |network| network.nodes[1].application.is_done()),
        "the flood starves a peer"
    );
    network.run(10 * SECOND);
    let stats = network.nodes[0].core.stats();
    assert!(stats.retried + stats.refused >= 280, "{stats:?}");
    assert!(stats.accepted <= 2 + 2 * 8, "{stats:?}");
    let sent = network.nodes[0].sent - before.0 - exchange.0;
    let received = network.nodes[0].received - before.1 - exchange.1;
    assert!(sent <= 3 * received, "amplified: {sent} for {received}");
    assert_eq!(network.nodes[0].application.peers().len(), 1);
}

#[test]
fn streams_are_limited_and_the_limit_moves_when_one_ends() {
    let authority = Authority::new();
    let limits = Limits {
        streams: 4,
        ..limits()
    };
    let mut network = pair(&authority, 1, Faults::none(), &limits);
    let peer = network.nodes[1].application.peers()[0];
    let open = |network: &mut Network<Echo>| {
        network.with(1, |_, io| {
            let stream = io.open(peer, BULK, Direction::Unidirectional, 0)?;
            io.write(peer, stream, &[0])?;
            Ok(stream)
        })
    };
    let streams: Vec<_> = (0..4).map(|_| open(&mut network).unwrap()).collect();
    assert_eq!(open(&mut network), Err(StreamError::Limit));
    network
        .with(1, |_, io| io.finish(peer, streams[0]))
        .unwrap();
    let available = network.run_until(SECOND, |network| {
        network.nodes[1]
            .application
            .events
            .contains(&Event::StreamsAvailable)
    });
    assert!(available);
    open(&mut network).unwrap();
}

#[test]
fn a_kind_that_nobody_knows_is_stopped_and_reset() {
    let authority = Authority::new();
    let mut network = pair(&authority, 1, Faults::none(), &limits());
    let peer = network.nodes[1].application.peers()[0];
    let stream = network.with(1, |_, io| {
        let stream = io.open(peer, 99, Direction::Bidirectional, 0).unwrap();
        io.write(peer, stream, b"hello").unwrap();
        stream
    });
    let refused = network.run_until(SECOND, |network| {
        let events = &network.nodes[1].application.events;
        events.contains(&Event::Stopped(stream, 1)) && events.contains(&Event::Reset(stream, 1))
    });
    assert!(refused, "{:?}", network.nodes[1].application.events);
    assert_eq!(
        network.with(1, |_, io| io.write(peer, stream, b"more")),
        Err(StreamError::Closed)
    );
}

#[test]
fn a_reader_that_pauses_stops_the_writer_at_the_window_and_loses_nothing() {
    let authority = Authority::new();
    let limits = Limits {
        stream_window: 32 << 10,
        ..limits()
    };
    let mut network = pair(&authority, 1, Faults::none(), &limits);
    network.nodes[0].application.pause = true;
    let peer = network.nodes[1].application.peers()[0];
    network.with(1, |echo, io| echo.send(io, peer, ECHO, 200_000));
    network.run(5 * SECOND);
    let sent = network.nodes[1].application.sent();
    assert!(sent <= 33 << 10, "{sent} bytes got past a window of 32 KiB");
    network.nodes[0].application.pause = false;
    network.with(0, |echo, io| {
        for (peer, stream) in std::mem::take(&mut echo.paused) {
            io.resume(peer, stream);
        }
    });
    assert!(network.run_until(30 * SECOND, |network| {
        network.nodes[1].application.is_done()
    }));
}

#[test]
fn a_target_goes_on_to_its_next_address_and_keeps_as_many_connections_as_wanted() {
    let authority = Authority::new();
    let mut network = network(
        authority.member("server"),
        authority.member("client"),
        &limits(),
    );
    let nowhere = SocketAddr::from(([10, 200, 0, 1], 1));
    let target = Target {
        addresses: vec![nowhere, address(0)],
        expected: None,
        connections: 3,
        persistent: true,
    };
    dial(&mut network, 1, target);
    assert!(network.run_until(
        20 * SECOND,
        |network| network.nodes[1].application.peers().len() == 3
    ));
    let first = network.nodes[0].application.peers()[0];
    network.with(0, |_, io| io.close(first, 300));
    assert!(network.run_until(SECOND, |network| {
        network.nodes[1].application.disconnects() == [CloseReason::Peer(300)]
    }));
    assert!(network.run_until(
        20 * SECOND,
        |network| network.nodes[1].application.peers().len() == 3
    ));
}

#[test]
fn no_bytes_from_strangers_make_it_fall_over() {
    let authority = Authority::new();
    let mut network = pair(&authority, 1, Faults::none(), &limits());
    for _ in 0..5000 {
        let length = 1 + network.random.below(1400) as usize;
        let bytes: Vec<u8> = (0..length).map(|_| network.random.next() as u8).collect();
        let from = SocketAddr::from(([172, 17, 0, 1], 1 + network.random.below(60_000) as u16));
        network.inject(from, address(0), &bytes);
        network.run(Duration::from_millis(1));
    }
    let peer = network.nodes[1].application.peers()[0];
    network.with(1, |echo, io| echo.send(io, peer, ECHO, 1000));
    assert!(network.run_until(SECOND, |network| network.nodes[1].application.is_done()));
    assert_eq!(network.nodes[0].application.peers().len(), 1);
}
