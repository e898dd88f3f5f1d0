//! Engines over real sockets of this machine.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use linkmesh_transport::core::{Direction, Limits, Target};
use linkmesh_transport::engine::{Engine, EngineOptions, LatencyMode, StartError};
use support::echo::{BULK, ECHO, Echo};
use support::identity::Authority;

const LONG: Duration = Duration::from_secs(20);

fn options(authority: &Authority, name: &str, listen: Option<&str>) -> EngineOptions {
    let listen = listen.map(|address| address.parse().unwrap());
    EngineOptions::new(listen, authority.member(name))
}

fn start(options: &EngineOptions) -> Engine<Echo> {
    Engine::start(options, Echo::default()).unwrap()
}

/// Drives an engine from this thread until its application says so.
fn wait(engine: &Engine<Echo>, mut done: impl FnMut(&mut Echo) -> bool) {
    assert!(
        engine.lease().spin(LONG, &mut done),
        "{:?}",
        engine.with(|echo, _| echo.events.clone())
    );
}

fn connect(client: &Engine<Echo>, server: SocketAddr) {
    client.with(|_, io| io.connect(Target::at(server))).unwrap();
    wait(client, |echo| echo.peers().len() == 1);
}

fn echo(client: &Engine<Echo>, bytes: u64) {
    client.with(|echo, io| {
        let peer = echo.peers()[0];
        echo.send(io, peer, ECHO, bytes)
    });
    wait(client, |echo| echo.is_done());
}

#[test]
fn bytes_go_both_ways_over_ipv4_ipv6_and_both_at_once() {
    let authority = Authority::new();
    for (listen, dial) in [
        ("127.0.0.1:0", "127.0.0.1"),
        ("[::1]:0", "::1"),
        ("[::]:0", "127.0.0.1"),
        ("[::]:0", "::1"),
        ("0.0.0.0:0", "127.0.0.1"),
    ] {
        let options_of_server = options(&authority, "server", Some(listen));
        let server = match Engine::start(&options_of_server, Echo::default()) {
            Ok(server) => server,
            Err(StartError::Bind { source, .. }) if listen.contains(':') => {
                eprintln!("skipped {listen}: {source}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let client = start(&options(&authority, "client", None));
        let address = SocketAddr::new(dial.parse().unwrap(), server.local_address().port());
        connect(&client, address);
        echo(&client, 100_000);
    }
}

#[test]
fn every_latency_mode_and_the_portable_socket_carry_the_same_bytes() {
    let authority = Authority::new();
    for latency in [LatencyMode::Spin, LatencyMode::Adaptive, LatencyMode::Block] {
        for portable_socket in [false, true] {
            let with = |name, listen| EngineOptions {
                latency,
                portable_socket,
                ..options(&authority, name, listen)
            };
            let server = start(&with("server", Some("127.0.0.1:0")));
            let client = start(&with("client", None));
            connect(&client, server.local_address());
            echo(&client, 300_000);
        }
    }
}

#[test]
fn a_background_thread_answers_without_anybody_driving() {
    let authority = Authority::new();
    let server = start(&options(&authority, "server", Some("127.0.0.1:0")));
    let client = start(&options(&authority, "client", None));
    client
        .with(|_, io| io.connect(Target::at(server.local_address())))
        .unwrap();
    let deadline = Instant::now() + LONG;
    // Only looking, never turning: the background threads of both do everything.
    while client.with(|echo, _| echo.peers().is_empty()) {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    client.with(|echo, io| {
        let peer = echo.peers()[0];
        echo.send(io, peer, ECHO, 50_000)
    });
    while !client.with(|echo, _| echo.is_done()) {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn many_threads_share_one_engine() {
    let authority = Authority::new();
    let server = start(&options(&authority, "server", Some("127.0.0.1:0")));
    let client = start(&options(&authority, "client", None));
    connect(&client, server.local_address());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    client.with(|echo, io| {
                        let peer = echo.peers()[0];
                        if let Ok(stream) = io.open(peer, BULK, Direction::Unidirectional, 0) {
                            io.finish(peer, stream).unwrap();
                        }
                    });
                    let mut lease = client.lease();
                    lease.spin(Duration::from_micros(200), |_| false);
                }
            });
        }
    });
    echo(&client, 10_000);
}

#[test]
fn a_graceful_close_delivers_what_was_written() {
    let authority = Authority::new();
    let server = start(&options(&authority, "server", Some("127.0.0.1:0")));
    let client = start(&options(&authority, "client", None));
    connect(&client, server.local_address());
    client.with(|echo, io| {
        let peer = echo.peers()[0];
        echo.send(io, peer, BULK, 3_000_000)
    });

    let sent = client.with(|echo, _| echo.sent());
    assert!(sent > 0);
    assert!(client.close(LONG), "everything was delivered in time");
    wait(&server, |echo| !echo.disconnects().is_empty());
    let placed: usize =
        server.with(|echo, _| echo.bulk.values().flatten().filter(|&&came| came).count());
    let events = server.with(|echo, _| echo.events.clone());
    // More may have been taken between the look and the close.
    assert!(placed as u64 >= sent, "{placed} of {sent}: {events:?}");
}

/// An engine of three threads, where there can be such.
fn three_threads(authority: &Authority) -> Option<Engine<Echo>> {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: several engine threads need Linux");
        return None;
    }
    Some(start(&EngineOptions {
        threads: 3,
        ..options(authority, "server", Some("127.0.0.1:0"))
    }))
}

#[test]
fn several_threads_have_the_packets_of_some_peers_each_and_one_application() {
    let authority = Authority::new();
    let Some(server) = three_threads(&authority) else {
        return;
    };
    let clients: Vec<_> = (0..12)
        .map(|_| start(&options(&authority, "client", None)))
        .collect();
    for client in &clients {
        connect(client, server.local_address());
    }
    for client in &clients {
        echo(client, 20_000);
    }
    let shards: Vec<u8> = server.with(|echo, io| {
        let peers = echo.peers();
        assert_eq!(peers.len(), io.peers().len());
        peers.iter().map(|peer| io.shard(*peer)).collect()
    });
    assert_eq!(shards.len(), 12);
    assert!(
        shards.iter().any(|shard| *shard != shards[0]),
        "one thread has them all: {shards:?}"
    );
    assert_eq!(server.stats().peers, 12, "the threads' counts add up");
}

#[test]
fn from_one_thread_the_application_reaches_the_peers_of_all_and_dials_on_each() {
    let authority = Authority::new();
    let Some(hub) = three_threads(&authority) else {
        return;
    };
    let servers: Vec<_> = (0..6)
        .map(|_| start(&options(&authority, "server", Some("127.0.0.1:0"))))
        .collect();
    for (known, server) in servers.iter().enumerate() {
        let target = Target::at(server.local_address());
        hub.with(|_, io| io.connect(target)).unwrap();
        wait(&hub, |echo| echo.peers().len() == known + 1);
    }
    let shards = hub.with(|echo, io| {
        let peers = echo.peers();
        // All from the first thread's call.
        for peer in &peers {
            echo.send(io, *peer, ECHO, 40_000);
        }
        let mut shards: Vec<u8> = peers.iter().map(|peer| io.shard(*peer)).collect();
        shards.sort_unstable();
        shards
    });
    assert_eq!(shards, [0, 0, 1, 1, 2, 2]);
    wait(&hub, |echo| echo.is_done());
    // A close from another thread's call is told of, once.
    hub.with_shard(1, |echo, io| {
        for peer in echo.peers() {
            io.close(peer, 300);
        }
    });
    wait(&hub, |echo| echo.disconnects().len() == 6);
}

#[test]
fn what_cannot_start_says_why() {
    let authority = Authority::new();
    let server = start(&options(&authority, "server", Some("127.0.0.1:0")));
    let taken = options(
        &authority,
        "other",
        Some(&server.local_address().to_string()),
    );
    let error = Engine::start(&taken, Echo::default())
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(&error, StartError::Bind { address, .. } if *address == server.local_address()),
        "{error}"
    );
    let mut wrong = options(&authority, "other", None);
    wrong.threads = 0;
    let error = Engine::start(&wrong, Echo::default())
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(
            error,
            StartError::Option {
                field: "threads",
                ..
            }
        ),
        "{error}"
    );
    wrong.threads = 1;
    wrong.limits = Limits {
        mtu: 100,
        ..Limits::default()
    };
    let error = Engine::start(&wrong, Echo::default())
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(error, StartError::Option { field: "mtu", .. }),
        "{error}"
    );
}

#[test]
fn a_queue_filled_by_another_thread_is_seen_after_a_wake_and_leases_do_not_collide() {
    let authority = Authority::new();
    let server = start(&options(&authority, "server", Some("127.0.0.1:0")));
    let mut block = options(&authority, "client", None);
    block.latency = LatencyMode::Block;
    let client = start(&block);
    connect(&client, server.local_address());
    let queue = client.with(|echo, _| echo.queue.clone());
    {
        let _lease = client.lease();
        assert!(client.try_lease().is_none(), "one lease at a time");
    }
    assert!(client.try_lease().is_some());
    client.release();
    let deadline = Instant::now() + LONG;
    for round in 1..50 {
        queue.lock().unwrap().push(1000);
        client.waker().wake();
        while client.with(|echo, _| echo.received_back()) < round * 1000 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_queue_is_emptied_by_whoever_fills_it_and_a_poller_outlives_its_engine() {
    let authority = Authority::new();
    let server = start(&options(&authority, "server", Some("127.0.0.1:0")));
    let mut block = options(&authority, "client", None);
    block.latency = LatencyMode::Block;
    let client = start(&block);
    connect(&client, server.local_address());
    let queue = client.with(|echo, _| echo.queue.clone());
    let poller = client.poller();
    let deadline = Instant::now() + LONG;
    for round in 1..50 {
        queue.lock().unwrap().push(1000);
        if round % 2 == 0 {
            // Whoever drives is to look then.
            let _lease = client.lease();
            poller.poll();
        } else {
            poller.poll();
        }
        while client.with(|echo, _| echo.received_back()) < round * 1000 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
    // Polls that run while the engine ends neither keep it nor run after it.
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let polling = std::thread::spawn({
        let (poller, ended) = (poller.clone(), ended.clone());
        move || {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                poller.poll();
            }
        }
    });
    drop(client);
    assert_eq!(
        std::sync::Arc::strong_count(&queue),
        1,
        "the application went with its engine"
    );
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    polling.join().unwrap();
    queue.lock().unwrap().push(1000);
    poller.poll();
    assert_eq!(queue.lock().unwrap().len(), 1);
}
