//! Hours in which everything happens at once: a thousand connections through networks that lose and garble, operations of
//! every kind, an exporting process that is killed again and again. Nothing may be added twice, lost, leaked or left behind.
//!
//! `npm run soak -- --minutes 30`. Without `LINKMESH_SOAK_MINUTES` it is skipped with a message.
#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    reason = "a soak says how far it is, and its process answers on stdout"
)]
#![allow(unreachable_pub, reason = "shared by the files of this binary")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod process;
mod server;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use client::{Client, Counted, client};
use linkmesh_memory::endpoint::Endpoint;
use linkmesh_transport::{
    engine::Engine,
    identity::{IdentityOptions, Joining, NodeIdentity, exchange::join},
};
use process::{Memory, count};
use server::{Server, engine};

const LONG: Duration = Duration::from_secs(120);
/// Client nodes; each has its share of the connections, through a bad network of its own.
const CLIENTS: usize = 10;
/// Connections that one target keeps.
const PER_TARGET: usize = 4;
/// Bytes of the region: a page of words for each client, and room for transfers behind.
const REGION: u64 = 1 << 20;
const PAGE: u64 = 4096;
const TRANSFERS: u64 = CLIENTS as u64 * PAGE;
const TRANSFER: u64 = 64 << 10;
const KILLS_EVERY: Duration = Duration::from_secs(45);
const SAMPLES_EVERY: Duration = Duration::from_secs(2);

fn number(name: &str) -> Option<f64> {
    std::env::var(name).ok()?.parse().ok()
}

fn member(issuer: &Engine<Endpoint>, identity: &NodeIdentity, folder: &Path) -> Arc<NodeIdentity> {
    let token = identity.invite("", 600).unwrap();
    let joining = Joining::new(&token.to_text(), IdentityOptions::new(folder)).unwrap();
    join(&issuer.local_address().to_string(), joining, LONG).unwrap()
}

/// Lets every client work until `until` says so.
fn work(clients: &mut [Client], submit: bool, mut until: impl FnMut(&[Client]) -> bool) {
    loop {
        for client in &mut *clients {
            if submit {
                client.submit();
            }
            client.drain();
        }
        if until(clients) {
            return;
        }
        // The engines have threads of their own; this one leaves them the core.
        std::thread::yield_now();
    }
}

/// What descriptors and threads there are, here and in the exporting process.
fn held(server: &Server) -> [usize; 3] {
    [
        count("self", "fd"),
        count("self", "task"),
        server.descriptors(),
    ]
}

/// Works until `end`, and kills the exporting process whenever everybody has come back to it. How often that was.
fn endure(
    clients: &mut [Client],
    server: &mut Option<Server>,
    folder: &Path,
    wanted: usize,
    end: Instant,
) -> (u32, Memory) {
    let (mut kills, mut memory) = (0, Memory::default());
    let (mut next_kill, mut next_sample) = (Instant::now() + KILLS_EVERY, Instant::now());
    while Instant::now() < end {
        work(clients, true, |_| Instant::now() >= next_sample);
        next_sample = Instant::now() + SAMPLES_EVERY;
        memory.sample();
        let is_whole = clients.iter().all(|client| client.is_whole(wanted));
        // The next kill finds as much to break as the last.
        if is_whole && Instant::now() >= next_kill && Instant::now() + KILLS_EVERY < end {
            let old = server.take().expect("between two kills there is one");
            let address = old.address;
            old.kill();
            *server = Some(Server::start(folder, address));
            kills += 1;
            next_kill = Instant::now() + KILLS_EVERY;
        }
    }
    (kills, memory)
}

/// Each add that was acknowledged was done once, each unknown one once or not at all.
fn check_adds(clients: &[Client], server: &mut Server) {
    for (at, client) in clients.iter().enumerate() {
        let held: u64 = server
            .ask(&format!("word {}", client.page))
            .parse()
            .unwrap();
        let Counted {
            acknowledged,
            unknown,
        } = client.adds;
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&held),
            "client {at}: {acknowledged} adds acknowledged, {unknown} unknown, {held} done"
        );
    }
}

#[test]
fn soak() {
    let Some(minutes) = number("LINKMESH_SOAK_MINUTES") else {
        eprintln!("skipped: npm run soak -- --minutes 30");
        return;
    };
    let connections = number("LINKMESH_SOAK_CONNECTIONS").map_or(1000, |count| count as usize);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let baseline = (count("self", "fd"), count("self", "task"));
    let options = IdentityOptions::new(place.join("server"));
    let identity = NodeIdentity::open_or_create(options, "soak").unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let issuer = engine(&identity, Some(any));
    let members: Vec<_> = (0..CLIENTS)
        .map(|at| member(&issuer, &identity, &place.join(format!("client-{at}"))))
        .collect();
    drop(issuer);
    drop(identity);

    let mut first = Server::start(place, any);
    let targets = (connections / CLIENTS).div_ceil(PER_TARGET).max(1);
    let wanted = targets * PER_TARGET;
    let mut clients: Vec<Client> = members
        .iter()
        .enumerate()
        .map(|(at, identity)| client(identity, &mut first, at, targets))
        .collect();
    let whole = |clients: &[Client]| clients.iter().all(|client| client.is_whole(wanted));
    let since = Instant::now();
    work(&mut clients, true, |clients| {
        assert!(since.elapsed() < 2 * LONG, "not all connected");
        whole(clients)
    });
    println!(
        "{} connections of {CLIENTS} nodes after {:.1} s",
        first.ask("peers"),
        since.elapsed().as_secs_f64()
    );
    let settled = held(&first);

    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut server = Some(first);
    let (kills, memory) = endure(&mut clients, &mut server, place, wanted, end);
    let mut server = server.expect("killed and started again");
    work(&mut clients, false, |clients| {
        assert!(Instant::now() < end + LONG, "operations that never end");
        clients.iter().all(|client| client.under_way == 0)
    });
    let since = Instant::now();
    work(&mut clients, false, |clients| {
        assert!(since.elapsed() < 2 * LONG, "not all are back");
        whole(clients)
    });
    check_adds(&clients, &mut server);
    assert_eq!(
        held(&server),
        settled,
        "descriptors, threads, descriptors there"
    );
    let sum = |of: fn(&Client) -> u64| clients.iter().map(of).sum::<u64>();
    assert!(clients.iter().all(|client| client.done > 0));
    println!(
        "{} operations, {} failed, {} transfers, {} adds acknowledged, {} unknown, {kills} kills, {} datagrams",
        sum(|client| client.done),
        sum(|client| client.failed),
        sum(|client| client.transfers),
        sum(|client| client.adds.acknowledged),
        sum(|client| client.adds.unknown),
        sum(|client| client.proxy.carried.load(Ordering::Relaxed)),
    );
    println!("{}", memory.check("resident memory"));
    for client in clients {
        let in_time = client.engine.close(Duration::from_secs(10));
        assert!(in_time, "a goodbye that took too long");
    }
    server.close();
    drop(members);
    let left = (count("self", "fd"), count("self", "task"));
    assert_eq!(left, baseline, "left behind");
    println!("clean exit: {left:?} descriptors and threads as before");
}
