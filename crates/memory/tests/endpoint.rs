//! Remote memory between two engines over real sockets: what holds when connections die, the network is hostile, the
//! exporting process restarts, or somebody presents what is not his.
//!
//! Three seeds of the hostile network by default; more by `LINKMESH_SOCKET_SEEDS=200`.

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::{Duration, Instant},
};

use common::{
    nodes::{LONG, Network, Node},
    pair::Heard,
    proxy::{Proxy, Weather},
};
use linkmesh_memory::{
    client::{OperationError, OperationFailure, Outcome},
    endpoint::{Call, CallError},
    frame::{MAX_INLINE, Operation, Status},
    region::{HeapRegion, Pages, PagesOptions, Region, Rights, SharedRegion},
};
use linkmesh_transport::identity::Revoked;

fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(Network::new)
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn pages(length: u64) -> Arc<dyn Region> {
    let options = PagesOptions {
        length,
        capacity: length,
        huge: false,
    };
    Arc::new(SharedRegion::new(Pages::new(options).unwrap(), 1))
}

const ADD: Operation<'static> = Operation::FetchAdd {
    offset: 0,
    operand: 1,
};

#[test]
fn a_region_is_read_written_and_counted_from_another_node() {
    let server = Node::start(&network().server, Some(any()), 11);
    let mut client = Node::start(&network().client, None, 12);
    let region = pages(1 << 20);
    server.export("scores", region.clone());
    let grant = server.grant("scores", &client.member, 1 << 20, Rights::ALL);
    client.connect(server.engine.local_address());
    let (remote, imported) = client.import(&grant).unwrap();
    assert_eq!((imported.length, imported.rights), (1 << 20, Rights::ALL));

    let long: Vec<u8> = (0..MAX_INLINE).map(|at| (at % 251) as u8).collect();
    assert_eq!(
        client.ask(
            remote,
            Operation::Write {
                offset: 8,
                data: &long
            }
        ),
        Ok(Heard::Done)
    );
    assert_eq!(
        client.ask(
            remote,
            Operation::Read {
                offset: 8,
                length: MAX_INLINE
            }
        ),
        Ok(Heard::Bytes(long.clone()))
    );
    assert_eq!(client.ask(remote, ADD), Ok(Heard::Value(0)));
    assert_eq!(
        client.ask(
            remote,
            Operation::CompareSwap {
                offset: 0,
                expected: 1,
                desired: 40
            }
        ),
        Ok(Heard::Value(1))
    );
    // The exporter's own threads see it at once.
    assert_eq!(region.fetch_add(0, 2), Ok(40));
    assert_eq!(
        client.ask(
            remote,
            Operation::ReadVersioned {
                offset: 8,
                length: 3,
                version: 0
            }
        ),
        Ok(Heard::Versioned(42, 42, long[..3].to_vec()))
    );
    // Many at once, more than the window, on their way together.
    let mut left = 0;
    for _ in 0..3000 {
        client.submit(remote, ADD).unwrap();
        left += 1;
    }
    while left > 0 {
        left -= client
            .completed()
            .iter()
            .filter(|(_, result)| result.is_ok())
            .count();
    }
    assert_eq!(region.load(0), Ok(3042));
    assert!(
        client
            .engine
            .with(|endpoint, io| endpoint.release(io, remote))
    );
    assert!(client.submit(remote, ADD).is_err());
}

#[test]
fn an_add_is_applied_once_however_often_the_connection_dies() {
    const ADDS: usize = 400;
    let server = Node::start(&network().server, Some(any()), 21);
    let mut client = Node::start(&network().client, None, 22);
    let region = pages(4096);
    server.export("counter", region.clone());
    let grant = server.grant("counter", &client.member, 4096, Rights::ALL);
    client.connect(server.engine.local_address());
    let (remote, _) = client.import(&grant).unwrap();
    let mut seen = Vec::new();
    for turn in 0..ADDS {
        client.submit(remote, ADD).unwrap();
        match turn % 100 {
            // Answers may be on their way: they are lost, and asked for again.
            25 => server.cut(),
            75 => client.cut(),
            _ => {}
        }
    }
    while seen.len() < ADDS {
        for (_, result) in client.completed() {
            let Ok(Heard::Value(old)) = result else {
                panic!("{result:?}")
            };
            seen.push(old);
        }
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        (0..ADDS as u64).collect::<Vec<_>>(),
        "each value was seen by exactly one"
    );
    assert_eq!(region.load(0), Ok(ADDS as u64));
}

#[test]
fn a_hostile_network_delays_and_changes_nothing_else() {
    const ADDS: usize = 150;
    let seeds =
        std::env::var("LINKMESH_SOCKET_SEEDS").map_or(3, |text| text.parse().expect("a number"));
    for seed in 0..seeds {
        let weather = Weather {
            lose: seed * 97 % 300,
            double: 50,
            delay: 100,
            corrupt: 20,
            rebind: if seed % 2 == 0 { 5 } else { 0 },
            ..Weather::default()
        };
        let server = Node::start(&network().server, Some(any()), seed * 2 + 31);
        let mut client = Node::start(&network().client, None, seed * 2 + 32);
        let region = pages(4096);
        server.export("counter", region.clone());
        let grant = server.grant("counter", &client.member, 4096, Rights::ALL);
        let proxy = Proxy::start(server.engine.local_address(), seed, weather);
        client.connect(proxy.address);
        let (remote, _) = client.import(&grant).unwrap();
        let mut seen = Vec::new();
        for turn in 0..ADDS {
            client.submit(remote, ADD).unwrap();
            if turn == ADDS / 2 {
                client.cut();
            }
        }
        while seen.len() < ADDS {
            for (_, result) in client.completed() {
                let Ok(Heard::Value(old)) = result else {
                    panic!("seed {seed}, {weather:?}: {result:?}")
                };
                seen.push(old);
            }
        }
        seen.sort_unstable();
        assert_eq!(
            seen,
            (0..ADDS as u64).collect::<Vec<_>>(),
            "seed {seed}, {weather:?}"
        );
        assert_eq!(region.load(0), Ok(ADDS as u64), "seed {seed}, {weather:?}");
        assert!(proxy.carried.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn after_a_restart_of_the_exporter_what_was_sent_is_unknown_and_never_sent_again() {
    const ADDS: u64 = 200;
    let server = Node::start(&network().server, Some(any()), 41);
    let mut client = Node::start(&network().client, None, 42);
    let address = server.engine.local_address();
    // Memory that survives its process, as a mapped file does.
    let region: Arc<dyn Region> = Arc::new(HeapRegion::new(4096, 1));
    server.export("counter", region.clone());
    let grant = server.grant("counter", &client.member, 4096, Rights::ALL);
    client.connect(address);
    let (remote, _) = client.import(&grant).unwrap();
    assert_eq!(client.ask(remote, ADD), Ok(Heard::Value(0)));
    for _ in 1..ADDS {
        client.submit(remote, ADD).unwrap();
    }
    drop(server);
    let server = Node::start(&network().server, Some(address), 43);
    server.export("counter", region.clone());
    let (mut acknowledged, mut unknown, mut ended) = (1, 0, 1);
    while ended < ADDS {
        for (_, result) in client.completed() {
            ended += 1;
            match result {
                Ok(Heard::Value(_)) => acknowledged += 1,
                Err(OperationError {
                    failure: OperationFailure::SessionLost,
                    outcome: Outcome::Unknown,
                }) => unknown += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    let sum = region.load(0).unwrap();
    assert!(
        (acknowledged..=acknowledged + unknown).contains(&sum),
        "{acknowledged} + {unknown} unknown, sum {sum}"
    );
    // The grant was presented again, and the import goes on.
    assert_eq!(client.ask(remote, ADD), Ok(Heard::Value(sum)));
}

#[test]
fn what_is_not_ones_own_opens_nothing_and_what_was_revoked_ends() {
    let server = Node::start(&network().server, Some(any()), 51);
    let mut client = Node::start(&network().client, None, 52);
    let region = pages(4096);
    server.export("private", region.clone());
    client.connect(server.engine.local_address());

    // Given to the exporter itself: the client copied it.
    let stolen = server.grant("private", &server.member, 4096, Rights::ALL);
    assert_eq!(
        client.import(&stolen),
        Err("the grant was given to another node".into())
    );

    // A right that the grant does not hold is missing at the server too.
    let narrow = server.grant("private", &client.member, 64, Rights::READ);
    let (remote, imported) = client.import(&narrow).unwrap();
    assert_eq!((imported.length, imported.rights), (64, Rights::READ));
    assert!(client.submit(remote, ADD).is_err());
    assert!(
        client
            .submit(
                remote,
                Operation::Read {
                    offset: 60,
                    length: 8
                }
            )
            .is_err()
    );
    assert_eq!(
        client.ask(
            remote,
            Operation::Read {
                offset: 0,
                length: 4
            }
        ),
        Ok(Heard::Bytes(vec![0; 4]))
    );

    let ended = server
        .engine
        .with(|endpoint, io| endpoint.revoke_grant(io, "private", narrow.id()));
    assert_eq!(ended, Ok(1));
    let revoked = OperationError {
        failure: OperationFailure::Refused(Status::Revoked, 0),
        outcome: Outcome::NotDelivered,
    };
    assert_eq!(
        client.ask(
            remote,
            Operation::Read {
                offset: 0,
                length: 4
            }
        ),
        Err(revoked)
    );
    assert!(client.import(&narrow).is_err());

    let wide = server.grant("private", &client.member, 4096, Rights::ALL);
    let (remote, _) = client.import(&wide).unwrap();
    assert_eq!(client.ask(remote, ADD), Ok(Heard::Value(0)));
    assert_eq!(
        server
            .engine
            .with(|endpoint, io| endpoint.revoke_region(io, "private")),
        Ok(1)
    );
    assert_eq!(client.ask(remote, ADD), Err(revoked));
    assert!(region.is_revoked());
}

#[test]
fn a_deadline_ends_the_wait_for_a_node_that_is_gone() {
    let server = Node::start(&network().server, Some(any()), 61);
    let mut client = Node::start(&network().client, None, 62);
    server.export("gone", pages(4096));
    let grant = server.grant("gone", &client.member, 4096, Rights::ALL);
    client.connect(server.engine.local_address());
    let (remote, _) = client.import(&grant).unwrap();
    drop(server);
    client.cut();
    let failed = |outcome| {
        let failure = OperationFailure::DeadlineExceeded;
        Err(OperationError { failure, outcome })
    };
    let soon = Instant::now() + Duration::from_millis(50);
    client.submit_until(remote, ADD, Some(soon)).unwrap();
    let ended = client.completed();
    assert!(Instant::now() >= soon);
    assert_eq!(ended[0].1, failed(Outcome::NotDelivered));
}

#[test]
fn a_node_that_is_given_up_fails_what_waits_and_may_be_imported_from_again() {
    let server = Node::start(&network().server, Some(any()), 71);
    let mut client = Node::start(&network().client, None, 72);
    let region = pages(4096);
    server.export("again", region.clone());
    let grant = server.grant("again", &client.member, 4096, Rights::ALL);
    client.connect(server.engine.local_address());
    let (remote, _) = client.import(&grant).unwrap();
    assert_eq!(client.ask(remote, ADD), Ok(Heard::Value(0)));
    // Taken, and given up in the same call: not sent.
    let node = server.member.0.node_id();
    client.engine.with(|endpoint, io| {
        let call = Call {
            remote,
            operation: ADD,
            fence: false,
            deadline: None,
            token: 77,
        };
        endpoint.submit(&call, io.now()).unwrap();
        endpoint.forget(io, &node);
    });
    let closed = OperationError {
        failure: OperationFailure::Closed,
        outcome: Outcome::NotDelivered,
    };
    assert_eq!(client.completed(), [(77, Err(closed))]);
    assert_eq!(client.submit(remote, ADD), Err(CallError::UnknownRemote));
    // Over the same connection, in a new session.
    let (again, _) = client.import(&grant).unwrap();
    assert_ne!(again, remote);
    assert_eq!(client.ask(again, ADD), Ok(Heard::Value(1)));
    assert_eq!(region.load(0), Ok(2));
    assert_eq!(client.engine.with(|_, io| io.peers().len()), 1);
}

#[test]
fn a_revoked_node_loses_its_grants_with_its_connection() {
    let network = Network::new();
    let server = Node::start(&network.server, Some(any()), 61);
    let mut client = Node::start(&network.client, None, 62);
    let region = pages(4096);
    server.export("private", region.clone());
    client.connect(server.engine.local_address());
    let grant = server.grant("private", &client.member, 4096, Rights::ALL);
    let (remote, _) = client.import(&grant).unwrap();
    assert_eq!(client.ask(remote, ADD), Ok(Heard::Value(0)));

    let revoked = Revoked::Node(client.member.0.node_id());
    server.member.0.revoke(revoked).unwrap();
    let deadline = Instant::now() + LONG;
    let is_cut = || {
        server
            .engine
            .with(|endpoint, io| endpoint.exports().holders().is_empty() && io.peers().is_empty())
    };
    while !is_cut() {
        assert!(Instant::now() < deadline, "it keeps what it was given");
        std::thread::yield_now();
    }
    let soon = Some(Instant::now() + Duration::from_millis(200));
    client.submit_until(remote, ADD, soon).unwrap();
    assert!(client.completed()[0].1.is_err());
    assert_eq!(region.load(0), Ok(1), "nothing more was added");
}
