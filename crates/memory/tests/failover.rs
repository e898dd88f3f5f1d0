//! A node that is reached at two addresses, of which one falls silent in the middle, over real sockets: operations go on over the
//! other, each applied once, and the statistics say so.

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use common::{
    nodes::{LONG, Network, Node},
    pair::Heard,
    proxy::{Proxy, Weather},
};
use linkmesh_memory::{
    endpoint::RemoteId,
    frame::Operation,
    region::{HeapRegion, Region, Rights},
};
use linkmesh_transport::core::Target;

const ADD: Operation<'static> = Operation::FetchAdd {
    offset: 0,
    operand: 1,
};

struct World {
    region: Arc<dyn Region>,
    exporter: Node,
    client: Node,
    remote: RemoteId,
    /// Two ways to the exporter, the one in use first.
    ways: [Proxy; 2],
    _network: Network,
}

impl World {
    fn new() -> Self {
        let network = Network::new();
        let region: Arc<dyn Region> = Arc::new(HeapRegion::new(8, 1));
        let any = "127.0.0.1:0".parse().unwrap();
        let exporter = Node::start(&network.server, Some(any), 1);
        exporter.export("cell", region.clone());
        let server = exporter.engine.local_address();
        let ways = [1, 2].map(|seed| Proxy::start(server, seed, Weather::default()));
        let mut client = Node::start(&network.client, None, 2);
        let target = Target {
            addresses: ways.iter().map(|way| way.address).collect(),
            ..Target::at(ways[0].address)
        };
        client.engine.with(|_, io| io.connect(target)).unwrap();
        let grant = exporter.grant("cell", &client.member, 8, Rights::ALL);
        let (remote, _) = client.import(&grant).unwrap();
        Self {
            region,
            exporter,
            client,
            remote,
            ways,
            _network: network,
        }
    }

    fn sum(&self) -> u64 {
        self.region.load(0).unwrap()
    }

    /// Adds one, and returns what was there before.
    fn add(&mut self) -> u64 {
        match self.client.ask(self.remote, ADD) {
            Ok(Heard::Value(before)) => before,
            other => panic!("{other:?}"),
        }
    }

    /// Where the client's newest connection goes.
    fn address(&self) -> Option<SocketAddr> {
        self.client.engine.with(|_, io| {
            let (peer, _) = io.peers().pop()?;
            io.address(peer)
        })
    }

    fn failovers(&self) -> u64 {
        self.client.engine.stats().failovers
    }

    /// Adds, whose answers get lost after the exporter has applied all of them. Returns the tokens.
    fn add_unheard(&mut self, count: u64) -> Vec<u64> {
        let before = self.sum();
        self.ways[0].answers_lost.store(true, Ordering::Relaxed);
        let submit = |_| self.client.submit(self.remote, ADD).unwrap();
        let tokens = (0..count).map(submit).collect();
        let began = Instant::now();
        while self.sum() < before + count {
            assert!(began.elapsed() < LONG, "{} arrived", self.sum() - before);
            std::thread::yield_now();
        }
        tokens
    }

    /// What all of these returned.
    fn heard(&mut self, mut tokens: Vec<u64>) -> Vec<u64> {
        let mut values = Vec::new();
        while !tokens.is_empty() {
            for (token, result) in self.client.completed() {
                let at = tokens.iter().position(|one| *one == token);
                tokens.swap_remove(at.expect("asked once, answered once"));
                match result {
                    Ok(Heard::Value(value)) => values.push(value),
                    other => panic!("{other:?}"),
                }
            }
        }
        values.sort_unstable();
        values
    }
}

#[test]
fn an_address_that_falls_silent_is_left_for_the_other_and_nothing_is_added_twice() {
    let mut world = World::new();
    for before in 0..10 {
        assert_eq!(world.add(), before);
    }
    assert_eq!(world.address(), Some(world.ways[0].address));
    assert_eq!(world.failovers(), 0);
    for round in 0..2 {
        let start = world.sum();
        // The hardest place: applied over there, and nobody here knows.
        let tokens = world.add_unheard(8);
        world.ways[0].requests_lost.store(true, Ordering::Relaxed);
        let carried = world.ways[1].carried.load(Ordering::Relaxed);
        let before: Vec<u64> = (start..start + 8).collect();
        assert_eq!(
            world.heard(tokens),
            before,
            "what each found the first time"
        );
        assert_eq!(world.sum(), start + 8, "none was applied again");
        assert_eq!(world.address(), Some(world.ways[1].address));
        assert_eq!(world.failovers(), round + 1);
        assert!(world.ways[1].carried.load(Ordering::Relaxed) > carried);
        for before in start + 8..start + 20 {
            assert_eq!(world.add(), before, "it goes on over the other way");
        }
        // And back, when that one falls silent in its turn.
        for lost in [&world.ways[0].answers_lost, &world.ways[0].requests_lost] {
            lost.store(false, Ordering::Relaxed);
        }
        world.ways.reverse();
    }
    assert_eq!(world.sum(), 10 + 2 * 20);
    assert_eq!(
        world.exporter.engine.stats().failovers,
        0,
        "it dialled nobody"
    );
}
