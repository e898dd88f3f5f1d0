//! Nodes that are kept connected: by their own addresses, over relays where those fail, and by the relay that serves best. In
//! virtual time.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use linkmesh_transport::core::{NodeId, Target, TargetId};
use linkmesh_transport::relay::{Quota, RelayOptions, Wanted, is_virtual};
use support::echo::ECHO;
use support::identity::{Authority, id};
use support::network::{Faults, Network, address};
use support::relayed::{Relayed, limits};

const SECOND: Duration = Duration::from_secs(1);
const A: usize = 0;
const B: usize = 1;

fn options(serve: bool) -> RelayOptions {
    RelayOptions {
        serve,
        quota: Quota::default(),
    }
}

/// A and B, and relays `r0`, `r1`… that B is connected to; A to those of them that are said.
struct World {
    network: Network<Relayed>,
    authority: Authority,
}

impl World {
    fn new(seed: u64, relays: usize, of_a: usize) -> Self {
        let mut world = Self {
            network: Network::new(seed, Faults::none()),
            authority: Authority::new(),
        };
        for name in ["a", "b"] {
            world.add(name, false);
        }
        for number in 0..relays {
            let relay = world.add(&format!("r{number}"), true);
            let ends = if number < of_a { vec![A, B] } else { vec![B] };
            for node in ends {
                let target = Target::at(address(relay));
                world
                    .network
                    .with(node, |_, io| io.connect(target))
                    .unwrap();
            }
        }
        world.until(|network| {
            let serving = |node: usize| network.nodes[node].application.relays.serving().count();
            serving(A) == of_a && serving(B) == relays
        });
        world
    }

    fn add(&mut self, name: &str, serve: bool) -> usize {
        let member = self.authority.member(name);
        let application = Relayed::new(options(serve));
        self.network.add(member, limits(), application)
    }

    /// Nothing passes between A and B themselves.
    fn hole(&mut self) {
        self.network.holes.push((address(A), address(B)));
    }

    /// Nothing passes to or from a relay, as if it had been killed.
    fn kill(&mut self, relay: usize) {
        for node in [A, B] {
            self.network.holes.push((address(relay), address(node)));
        }
    }

    fn until(&mut self, done: impl FnMut(&Network<Relayed>) -> bool) {
        assert!(self.network.run_until(120 * SECOND, done), "in two minutes");
    }

    fn keep(&mut self, direct: Vec<SocketAddr>, relays: Vec<(NodeId, SocketAddr)>) -> TargetId {
        let wanted = Wanted {
            node: id("b"),
            direct,
            relays,
        };
        self.network
            .with(A, |app, io| app.keeper.keep(io, &mut app.relays, wanted))
            .unwrap()
    }

    fn connect(&mut self) {
        self.until(|network| network.nodes[A].application.peer_of(&id("b")).is_some());
    }

    /// Which way A's packets to B take: its address, and the relay's number.
    fn path(&mut self, target: TargetId) -> Option<(SocketAddr, Option<usize>)> {
        let peer = self.network.nodes[A].application.keeper.peer(target)?;
        let address = self.network.with(A, |_, io| io.address(peer))?;
        let relay = self.network.nodes[A].application.relays.relay_of(&address);
        Some((address, relay.map(|NodeId(id)| usize::from(id[1] - b'0'))))
    }

    fn relay(&mut self, target: TargetId) -> usize {
        self.path(target).unwrap().1.expect("over a relay")
    }

    fn routes(&mut self, node: usize) -> u64 {
        self.network.with(node, |_, io| io.relay().stats().routes)
    }

    fn echo(&mut self, target: TargetId) {
        let peer = self.network.nodes[A]
            .application
            .keeper
            .peer(target)
            .unwrap();
        self.network
            .with(A, |app, io| app.echo.send(io, peer, ECHO, 20_000));
        self.until(|network| network.nodes[A].application.echo.is_done());
    }
}

#[test]
fn who_answers_at_its_own_address_costs_no_relay_anything() {
    let mut world = World::new(1, 2, 2);
    let target = world.keep(vec![address(B)], Vec::new());
    world.connect();
    world.network.run(10 * SECOND);
    assert_eq!(world.path(target), Some((address(B), None)));
    assert_eq!(world.routes(A), 0);
    world.echo(target);
}

#[test]
fn who_does_not_answer_is_met_over_a_relay_within_three_seconds_and_over_its_own_address_later() {
    let mut world = World::new(2, 2, 2);
    world.hole();
    let start = world.network.now;
    let target = world.keep(vec![address(B)], Vec::new());
    world.connect();
    let took = world.network.now - start;
    assert!(took < Duration::from_millis(3_500), "{took:?}");
    assert!(is_virtual(&world.path(target).unwrap().0));
    world.echo(target);
    world.network.run(2 * SECOND);
    assert_eq!(world.routes(A), 2, "one way in use, one ready");
    world.network.holes.clear();
    world.until(|network| {
        let peer = network.nodes[A].application.peer_of(&id("b"));
        peer.is_some() && network.nodes[A].application.echo.peers().len() > 3
    });
    world.network.run(60 * SECOND);
    assert_eq!(world.path(target), Some((address(B), None)));
    assert_eq!(world.routes(A), 0, "ways are given back");
    world.echo(target);
}

#[test]
fn who_listens_nowhere_is_met_over_a_relay_that_its_record_names_and_this_node_did_not_know() {
    let mut world = World::new(3, 1, 0);
    world.hole();
    let target = world.keep(Vec::new(), vec![(id("r0"), address(2))]);
    world.connect();
    assert_eq!(world.relay(target), 0);
    world.echo(target);
    world
        .network
        .with(A, |app, io| app.keeper.forget(io, &mut app.relays, target));
    world.until(|network| network.nodes[A].application.relays.serving().count() == 0);
    assert_eq!(world.routes(A), 0);
}

#[test]
fn a_relay_that_is_gone_is_left_for_the_one_that_stands_ready() {
    for seed in 0..10 {
        let mut world = World::new(seed, 3, 3);
        world.hole();
        let target = world.keep(Vec::new(), Vec::new());
        world.connect();
        world.network.run(5 * SECOND);
        let first = world.relay(target);
        let peer = |network: &Network<Relayed>| network.nodes[A].application.keeper.peer(target);
        let before = peer(&world.network);
        world.kill(2 + first);
        let cut = world.network.now;
        world.until(|network| peer(network).is_some_and(|now| Some(now) != before));
        let took = world.network.now - cut;
        assert!(took < 6 * SECOND, "seed {seed}: {took:?}");
        assert_ne!(world.relay(target), first);
        world.echo(target);
    }
}

#[test]
fn a_relay_that_spoils_what_it_carries_is_left_while_it_is_there() {
    let mut world = World::new(5, 2, 2);
    world.hole();
    let target = world.keep(Vec::new(), Vec::new());
    world.connect();
    let first = world.relay(target);
    world
        .network
        .spoiled
        .push((address(2 + first), address(A), 20));
    world.network.run(90 * SECOND);
    assert_ne!(world.relay(target), first, "quarantined");
    world.echo(target);
}

#[test]
fn nodes_keep_each_other_when_the_other_end_restarts() {
    let mut world = World::new(6, 1, 1);
    world.hole();
    let target = world.keep(Vec::new(), Vec::new());
    world.connect();
    world
        .network
        .restart(B, limits(), Relayed::new(options(false)));
    let relay = Target::at(address(2));
    world.network.with(B, |_, io| io.connect(relay)).unwrap();
    world.until(|network| network.nodes[A].application.keeper.peer(target).is_none());
    world.connect();
    assert_eq!(world.relay(target), 0);
    world.echo(target);
}
