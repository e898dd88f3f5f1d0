//! Relays: nodes that do not reach each other, relays that come, go, run dry and spoil what they carry. In virtual time, and
//! once over real sockets.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use linkmesh_transport::core::{PeerSlot, Target};
use linkmesh_transport::engine::{Engine, EngineOptions};
use linkmesh_transport::relay::{Quota, Ranking, RelayError, RelayOptions, RelayStats, is_virtual};
use support::echo::ECHO;
use support::gate::Gate;
use support::identity::{Authority, id};
use support::network::{Faults, Network, Random, address};
use support::relayed::{Relayed, limits};

const SECOND: Duration = Duration::from_secs(1);
const A: usize = 0;
const B: usize = 1;
const R: usize = 2;

/// Two nodes between which nothing passes, and relays that both are connected to.
struct World {
    network: Network<Relayed>,
    authority: Authority,
    quota: Quota,
}

impl World {
    fn empty(seed: u64, faults: Faults) -> Self {
        Self {
            network: Network::new(seed, faults),
            authority: Authority::new(),
            quota: Quota::default(),
        }
    }

    fn new(seed: u64, faults: Faults, relays: &[&str]) -> Self {
        let mut world = Self::empty(seed, faults);
        world.build(relays);
        world
    }

    fn build(&mut self, relays: &[&str]) {
        self.add("a", false);
        self.add("b", false);
        self.hole(true);
        for name in relays {
            let relay = self.add(name, true);
            for node in [A, B] {
                let target = Target::at(address(relay));
                self.network.with(node, |_, io| io.connect(target)).unwrap();
            }
            let name = *name;
            self.until(|network| [A, B].iter().all(|&node| serves(network, node, name)));
        }
    }

    fn add(&mut self, name: &str, serve: bool) -> usize {
        let quota = self.quota;
        let application = Relayed::new(RelayOptions { serve, quota });
        let member = self.authority.member(name);
        self.network.add(member, limits(), application)
    }

    fn hole(&mut self, there: bool) {
        self.network.holes.clear();
        if there {
            self.network.holes.push((address(A), address(B)));
        }
    }

    fn until(&mut self, done: impl FnMut(&Network<Relayed>) -> bool) {
        assert!(self.network.run_until(120 * SECOND, done), "in two minutes");
    }

    /// Asks for a way from A to B, and what is answered.
    fn ask(&mut self, relay: &str, target: &str) -> Receiver<Result<SocketAddr, RelayError>> {
        let (tell, told) = channel();
        let (relay, target) = (id(relay), id(target));
        self.network.with(A, |app, io| {
            app.relays.open(io, relay, target, tell);
        });
        told
    }

    fn answer(&mut self, relay: &str, target: &str) -> Result<SocketAddr, RelayError> {
        let told = self.ask(relay, target);
        let mut answer = None;
        self.until(|_| {
            answer = answer.or_else(|| told.try_recv().ok());
            answer.is_some()
        });
        answer.unwrap()
    }

    /// Connects A to B by these addresses, in this order.
    fn dial(&mut self, addresses: Vec<SocketAddr>) -> PeerSlot {
        let target = Target {
            addresses,
            expected: Some(id("b")),
            connections: 1,
            persistent: true,
        };
        self.network.with(A, |_, io| io.connect(target)).unwrap();
        self.until(|network| to_b(network).is_some());
        to_b(&self.network).unwrap()
    }

    /// Bytes there and back; every one is checked by the application.
    fn echo(&mut self, bytes: u64) {
        let peer = to_b(&self.network).unwrap();
        self.network
            .with(A, |app, io| app.echo.send(io, peer, ECHO, bytes));
        self.until(|network| network.nodes[A].application.echo.is_done());
    }

    fn path(&mut self) -> Option<SocketAddr> {
        let peer = to_b(&self.network)?;
        self.network.with(A, |_, io| io.address(peer))
    }

    fn stats(&mut self, node: usize) -> RelayStats {
        self.network.with(node, |_, io| io.relay().stats())
    }
}

fn serves(network: &Network<Relayed>, node: usize, relay: &str) -> bool {
    let mut serving = network.nodes[node].application.relays.serving();
    serving.any(|(_, node)| node == id(relay))
}

/// A's connection to B.
fn to_b(network: &Network<Relayed>) -> Option<PeerSlot> {
    network.nodes[A].application.peer_of(&id("b"))
}

#[test]
fn nodes_that_do_not_reach_each_other_meet_over_a_relay_that_sees_no_stream_of_theirs() {
    let mut world = World::new(1, Faults::none(), &["r"]);
    let way = world.answer("r", "b").unwrap();
    assert!(is_virtual(&way));
    world.dial(vec![way]);
    world.echo(300_000);
    assert_eq!(world.path(), Some(way));
    let relay = world.stats(R);
    assert_eq!(relay.forwarder.sessions, 1);
    assert!(relay.forwarder.bytes > 600_000, "{relay:?}");
    assert_eq!(
        world.network.nodes[R].application.echo.received, 0,
        "what it carried it never had in hand"
    );
    let (a, b) = (world.stats(A), world.stats(B));
    assert_eq!((a.routes, b.routes), (1, 1));
    assert!(a.sent > 200 && b.received > 200);
}

#[test]
fn who_is_no_relay_or_knows_nobody_says_so() {
    let mut world = World::new(2, Faults::none(), &["r"]);
    let other = world.add("other", false);
    let target = Target::at(address(other));
    world.network.with(A, |_, io| io.connect(target)).unwrap();
    world.until(|network| network.nodes[A].application.peer_of(&id("other")).is_some());
    assert_eq!(world.answer("r", "nobody"), Err(RelayError::Unknown));
    assert_eq!(world.answer("other", "b"), Err(RelayError::NotServing));
    assert_eq!(world.answer("nobody", "b"), Err(RelayError::NotConnected));
    assert_eq!(world.stats(R).forwarder.sessions, 0);
}

#[test]
fn another_node_at_the_end_of_the_way_is_refused() {
    let mut world = World::new(3, Faults::none(), &["r"]);
    let way = world.answer("r", "b").unwrap();
    let target = Target {
        expected: Some(id("r")),
        ..Target::at(way)
    };
    world.network.with(A, |_, io| io.connect(target)).unwrap();
    world.network.run(5 * SECOND);
    assert_eq!(to_b(&world.network), None, "a relay cannot pass a node off");
}

#[test]
fn a_direct_way_that_dies_is_left_for_the_relay_and_taken_again_when_it_is_back() {
    let mut world = World::new(4, Faults::none(), &["r"]);
    world.hole(false);
    let way = world.answer("r", "b").unwrap();
    world.dial(vec![address(B), way]);
    assert_eq!(world.path(), Some(address(B)));
    world.echo(50_000);
    world.hole(true);
    let cut = world.network.now;
    while world.path() != Some(way) {
        world.network.run(SECOND / 10);
        assert!(world.network.now - cut < 10 * SECOND, "over the relay");
    }
    world.echo(50_000);
    world.hole(false);
    let healed = world.network.now;
    while world.path() != Some(address(B)) {
        world.network.run(SECOND / 10);
        assert!(world.network.now - healed < 60 * SECOND, "back to direct");
        assert!(
            world.network.now - healed < SECOND || to_b(&world.network).is_some(),
            "the relayed connection stays until the direct one stands"
        );
    }
    world.echo(50_000);
}

#[test]
fn a_relay_that_restarts_gives_the_same_way_again() {
    let mut world = World::new(5, Faults::none(), &["r"]);
    let way = world.answer("r", "b").unwrap();
    world.dial(vec![way]);
    let fresh = Relayed::new(RelayOptions {
        serve: true,
        quota: Quota::default(),
    });
    world.network.restart(R, limits(), fresh);
    world.until(|network| !serves(network, A, "r"));
    world.until(|network| to_b(network).is_some() && serves(network, B, "r"));
    world.network.run(5 * SECOND);
    world.until(|network| to_b(network).is_some());
    world.echo(20_000);
    assert_eq!(world.path(), Some(way));
}

#[test]
fn a_member_that_is_revoked_takes_its_sessions_with_it() {
    let mut world = World::new(6, Faults::none(), &["r"]);
    let way = world.answer("r", "b").unwrap();
    world.dial(vec![way]);
    world.authority.revoke(id("b"));
    world.network.run(SECOND);
    assert_eq!(world.stats(R).forwarder.sessions, 0);
    let before = world.stats(R).forwarder.packets;
    world.network.run(5 * SECOND);
    assert_eq!(world.stats(R).forwarder.packets, before);
    assert_eq!(to_b(&world.network), None);
}

#[test]
fn a_quota_slows_a_member_down_and_loses_nothing() {
    let mut world = World::empty(7, Faults::none());
    world.quota = Quota {
        sessions: 1,
        packets_per_second: 200,
        bytes_per_second: 100_000,
    };
    world.build(&["r"]);
    let way = world.answer("r", "b").unwrap();
    world.dial(vec![way]);
    let start = world.network.now;
    world.echo(400_000);
    let took = world.network.now - start;
    assert!(took > 3 * SECOND, "{took:?} for four seconds' worth");
    assert!(world.stats(R).forwarder.over_quota > 0);
    let second = world.add("c", false);
    let target = Target::at(address(R));
    world
        .network
        .with(second, |_, io| io.connect(target))
        .unwrap();
    world.until(|network| serves(network, second, "r"));
    assert_eq!(world.answer("r", "c"), Err(RelayError::Limit));
}

#[test]
fn who_is_asked_for_pays_for_no_session_and_may_open_its_own() {
    let mut world = World::empty(11, Faults::none());
    world.quota.sessions = 1;
    world.build(&["r"]);
    let way = world.answer("r", "b").unwrap();
    world.dial(vec![way]);
    let other = world.add("c", false);
    let target = Target::at(address(R));
    world
        .network
        .with(other, |_, io| io.connect(target))
        .unwrap();
    world.until(|network| serves(network, other, "r"));
    let (tell, told) = channel();
    world.network.with(B, |app, io| {
        app.relays.open(io, id("r"), id("c"), tell);
    });
    let mut answer = None;
    world.until(|_| {
        answer = answer.or_else(|| told.try_recv().ok());
        answer.is_some()
    });
    assert!(answer.unwrap().is_ok());
    assert_eq!(world.answer("r", "c"), Err(RelayError::Limit));
    assert_eq!(world.stats(R).forwarder.sessions, 2);
}

#[test]
fn a_packet_with_the_right_id_from_anywhere_else_is_dropped() {
    let mut world = World::new(8, Faults::none(), &["r"]);
    let way = world.answer("r", "b").unwrap();
    world.dial(vec![way]);
    let peer = to_b(&world.network).unwrap();
    let caught = world.network.record(A, |network| {
        network.with(A, |app, io| app.echo.send(io, peer, ECHO, 1000));
    });
    let stolen = caught.iter().find(|packet| packet[0] == 0x21).unwrap();
    let before = world.stats(R).forwarder;
    let thief: SocketAddr = "10.6.6.6:666".parse().unwrap();
    for _ in 0..50 {
        world.network.inject(thief, address(R), stolen);
        world.network.inject(thief, address(B), stolen);
    }
    world.network.run(Duration::from_millis(10));
    let after = world.stats(R).forwarder;
    assert_eq!(after.strays - before.strays, 50);
    world.echo(10_000);
}

#[test]
fn whoever_spoils_packets_is_noticed_by_probes_and_ranked_last_and_nothing_wrong_arrives() {
    let mut world = World::new(9, Faults::none(), &["spoils", "honest"]);
    let spoiler = address(R);
    world.network.spoiled.push((spoiler, address(A), 30));
    let ways = ["spoils", "honest"].map(|relay| world.answer(relay, "b").unwrap());
    world.dial(vec![ways[0]]);
    world.echo(100_000);
    world.network.run(60 * SECOND);
    let now = world.network.now;
    let scores = world.network.nodes[A].application.relays.scores();
    let trust = |relay| scores.get(&id(relay)).unwrap().trust(now);
    assert!(trust("honest") > 0.8, "{}", trust("honest"));
    assert!(trust("spoils") < 0.2, "{}", trust("spoils"));
    assert!(scores.get(&id("spoils")).unwrap().is_quarantined());
    let all = [id("spoils"), id("honest")];
    let ranking = Ranking::new(all, Some(id("spoils")), scores, now, 3);
    assert_eq!(ranking.best(), Some(id("honest")));
}

#[test]
fn over_any_path_what_arrives_over_a_relay_is_what_was_sent() {
    for seed in 0..25 {
        let mut faults = Faults::random(&mut Random(seed));
        // QUIC's least packet with a header in front.
        faults.mtu = faults.mtu.max(1200 + 13);
        let mut world = World::new(seed, faults, &["r"]);
        let way = world.answer("r", "b").unwrap();
        world.dial(vec![way]);
        world.echo(5_000);
    }
}

/// Two engines on real sockets, both connected to a third that relays, and a way over it from the first to the second.
struct Engines {
    a: Engine<Relayed>,
    b: Engine<Relayed>,
    relay: Engine<Relayed>,
    way: SocketAddr,
}

impl Engines {
    fn new() -> Self {
        let authority = Authority::new();
        let start = |name: &str, serve| {
            let listen = Some("127.0.0.1:0".parse().unwrap());
            let quota = Quota::default();
            let mut options = EngineOptions::new(listen, authority.member(name));
            options.limits = limits();
            Engine::start(&options, Relayed::new(RelayOptions { serve, quota })).unwrap()
        };
        let (a, b, relay) = (start("a", false), start("b", false), start("r", true));
        for engine in [&a, &b] {
            let target = Target::at(relay.local_address());
            engine.with(|_, io| io.connect(target)).unwrap();
            wait(engine, |app| app.relays.serving().count() == 1);
        }
        let (tell, told) = channel();
        a.with(|app, io| app.relays.open(io, id("r"), id("b"), tell));
        let mut way = None;
        wait(&a, |_| {
            way = way.or_else(|| told.try_recv().ok());
            way.is_some()
        });
        let way = way.unwrap().unwrap();
        Self { a, b, relay, way }
    }

    /// Connects A to B by these addresses, in this order.
    fn dial(&self, addresses: Vec<SocketAddr>) {
        let target = Target {
            expected: Some(id("b")),
            addresses,
            ..Target::at(self.way)
        };
        self.a.with(|_, io| io.connect(target)).unwrap();
        wait(&self.a, |app| app.peer_of(&id("b")).is_some());
    }

    fn path(&self) -> Option<SocketAddr> {
        self.a.with(|app, io| io.address(app.peer_of(&id("b"))?))
    }

    /// Bytes there and back; every one is checked by the application.
    fn echo(&self, bytes: u64) {
        self.a.with(|app, io| {
            let peer = app.peer_of(&id("b")).unwrap();
            app.echo.send(io, peer, ECHO, bytes);
        });
        wait(&self.a, |app| app.echo.is_done());
    }

    fn relayed_bytes(&self) -> u64 {
        self.relay.with(|_, io| io.relay().stats().forwarder.bytes)
    }
}

fn wait(engine: &Engine<Relayed>, mut done: impl FnMut(&mut Relayed) -> bool) {
    assert!(engine.lease().spin(20 * SECOND, &mut done));
}

#[test]
fn engines_meet_over_a_relay_on_real_sockets() {
    let engines = Engines::new();
    engines.dial(vec![engines.way]);
    engines.echo(1_000_000);
    assert!(engines.relayed_bytes() > 2_000_000);
}

#[test]
fn a_direct_address_that_falls_silent_is_left_for_the_relay_on_real_sockets() {
    let engines = Engines::new();
    let gate = Gate::new(engines.b.local_address());
    engines.dial(vec![gate.address, engines.way]);
    engines.echo(100_000);
    assert_eq!(engines.path(), Some(gate.address));
    let (before, probes) = (engines.a.stats().failovers, 50_000);
    assert!(
        engines.relayed_bytes() < probes,
        "nothing goes over the relay yet"
    );
    gate.shut.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + 20 * SECOND;
    while engines.path() != Some(engines.way) {
        assert!(Instant::now() < deadline, "over the relay");
        engines.a.lease().spin(SECOND / 100, |_| false);
    }
    assert_eq!(engines.a.stats().failovers, before + 1);
    engines.echo(100_000);
    assert!(engines.relayed_bytes() > 200_000);
}
