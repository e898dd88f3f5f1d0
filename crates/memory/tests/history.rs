//! Histories over real sockets: reads, writes, swaps and adds of two nodes and of the exporter's own thread, through a hostile
//! network, with connections that die and an exporter that restarts. Linearizable per cell, adds exact.
//!
//! Two seeds by default; more: `npm run test:history -- --sockets --seeds 100`; one: `LINKMESH_SEED=17`.

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use common::{
    history::Action,
    nodes::{Network, Node},
    pair::Heard,
    proxy::{Proxy, Weather},
    random::Random,
    record::{ALONE, Asked, Ended, Record},
    seeds::seeds_side_by_side,
};
use linkmesh_memory::{
    client::Outcome,
    endpoint::RemoteId,
    frame::Operation,
    region::{HeapRegion, Region, Rights},
};

const CELLS: usize = 3;
const BURSTS: usize = 20;
/// Seeds that run at a time.
const AT_ONCE: u64 = 6;

fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(Network::new)
}

/// A node that asks through a network of its own.
struct Caller {
    node: Node,
    remote: RemoteId,
    /// The record's tokens by the node's.
    tokens: Vec<(u64, usize)>,
    _proxy: Proxy,
}

struct Run {
    random: Random,
    start: Instant,
    region: Arc<dyn Region>,
    record: Record,
    callers: Vec<Caller>,
}

impl Run {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn exporter(region: &Arc<dyn Region>, listen: SocketAddr, seed: u64) -> Node {
        let node = Node::start(&network().server, Some(listen), seed);
        node.export("cells", region.clone());
        node
    }

    fn new(seed: u64, exporter: &Node, region: Arc<dyn Region>) -> Self {
        let mut random = Random(seed);
        let callers = (0..2)
            .map(|at| {
                let weather = Weather {
                    lose: random.next() % 300,
                    double: 50,
                    delay: 100,
                    corrupt: 20,
                    rebind: random.next() % 6,
                    hole: random.next() % 4,
                };
                let proxy = Proxy::start(exporter.engine.local_address(), random.next(), weather);
                let mut node = Node::start(&network().client, None, seed * 5 + at + 2);
                let grant = exporter.grant("cells", &node.member, CELLS as u64 * 8, Rights::ALL);
                node.connect(proxy.address);
                let (remote, _) = node.import(&grant).unwrap();
                let tokens = Vec::new();
                Caller {
                    node,
                    remote,
                    tokens,
                    _proxy: proxy,
                }
            })
            .collect();
        Self {
            random,
            start: Instant::now(),
            region,
            record: Record::default(),
            callers,
        }
    }

    fn submit(&mut self, at: usize) {
        let cell = self.random.below(CELLS);
        let offset = cell as u64 * 8;
        let value = (self.record.len() as u64 + 1) << 32;
        let bytes = value.to_ne_bytes();
        // Cell 0 only counts.
        let (operation, action) = match self.random.below(if cell == 0 { 2 } else { 5 }) {
            0 => (Operation::FetchAdd { offset, operand: 1 }, Action::Add(1)),
            1 => (Operation::Read { offset, length: 8 }, Action::Read),
            2 | 3 => (
                Operation::Write {
                    offset,
                    data: &bytes,
                },
                Action::Write(value),
            ),
            _ => {
                let expected = self.region.load(offset).unwrap();
                let desired = value;
                (
                    Operation::CompareSwap {
                        offset,
                        expected,
                        desired,
                    },
                    Action::Swap { expected, desired },
                )
            }
        };
        let token = self.record.len();
        self.record.ask(Asked {
            client: at,
            lane: 0,
            fence: false,
            invoked: self.start.elapsed().as_nanos() as u64,
            actions: vec![(cell, action)],
        });
        let Caller {
            node,
            remote,
            tokens,
            ..
        } = &mut self.callers[at];
        tokens.push((node.submit(*remote, operation).unwrap(), token));
    }

    /// The exporter's own thread adds.
    fn local(&mut self) {
        let cell = self.random.below(CELLS);
        let token = self.record.len();
        self.record.ask(Asked {
            client: ALONE,
            lane: 0,
            fence: false,
            invoked: self.now(),
            actions: vec![(cell, Action::Add(1))],
        });
        let old = self.region.fetch_add(cell as u64 * 8, 1).unwrap();
        let ended = Ended::Answered {
            at: self.now(),
            values: vec![Some(old)],
        };
        self.record.end(token, ended);
    }

    /// Waits until something of a caller ended, and writes down what.
    fn collect(&mut self, at: usize) {
        for (token, result) in self.callers[at].node.completed() {
            let now = self.now();
            let tokens = &mut self.callers[at].tokens;
            let place = tokens.iter().position(|(of_node, _)| *of_node == token);
            let (_, token) = tokens.swap_remove(place.expect("it was asked"));
            let ended = match result {
                Ok(heard) => {
                    let words = match heard {
                        Heard::Value(value) => vec![value],
                        Heard::Bytes(bytes) => vec![u64::from_ne_bytes(bytes.try_into().unwrap())],
                        _ => Vec::new(),
                    };
                    Ended::Answered {
                        at: now,
                        values: self.record.values(token, &words),
                    }
                }
                Err(error) if error.outcome == Outcome::Unknown => Ended::Unknown,
                Err(_) => Ended::Never,
            };
            self.record.end(token, ended);
        }
    }
}

#[test]
fn what_two_nodes_and_the_exporter_saw_has_an_explanation() {
    // Mostly they wait for what was lost to be sent again.
    seeds_side_by_side(2, AT_ONCE, |seed| {
        let region: Arc<dyn Region> = Arc::new(HeapRegion::new(CELLS * 8, 1));
        let any = "127.0.0.1:0".parse().unwrap();
        let mut exporter = Some(Run::exporter(&region, any, seed * 5));
        let address = exporter.as_ref().map(|node| node.engine.local_address());
        let mut run = Run::new(seed, exporter.as_ref().unwrap(), region.clone());
        let restarts = seed % 2 == 1;
        for burst in 0..BURSTS {
            for at in 0..run.callers.len() {
                for _ in 0..=run.random.below(3) {
                    run.submit(at);
                }
            }
            run.local();
            if run.random.one_in(6) {
                let at = run.random.below(run.callers.len());
                run.callers[at].node.cut();
            }
            if restarts && burst == BURSTS / 2 {
                // Its memory stays, as a mapped file does; its sessions do not.
                drop(exporter.take());
                exporter = address.map(|address| Run::exporter(&region, address, seed * 5 + 1));
            }
            // Some of what is under way ends before the next is asked.
            let at = run.random.below(run.callers.len());
            if !run.callers[at].tokens.is_empty() {
                run.collect(at);
            }
        }
        for at in 0..run.callers.len() {
            while !run.callers[at].tokens.is_empty() {
                run.collect(at);
            }
        }
        assert!(run.record.answered > BURSTS);
        assert!(restarts || run.record.unknown == 0);
        let cells: [u64; CELLS] = std::array::from_fn(|cell| region.load(cell as u64 * 8).unwrap());
        run.record.check(&cells);
    });
}
