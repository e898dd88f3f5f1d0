//! Engines in virtual time over a network that loses, doubles, delays, cuts, shrinks and moves, all by one seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use linkmesh_transport::core::{Application, Authenticator, CoreOptions, Io, Limits};

use super::cores::Cores;

/// `splitmix64`.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the network does to datagrams.
#[derive(Debug, Clone)]
pub struct Faults {
    pub loss_percent: u64,
    pub duplicate_percent: u64,
    pub corrupt_percent: u64,
    pub delay: Duration,
    /// Added at random: what reorders.
    pub jitter: Duration,
    /// Longer datagrams vanish.
    pub mtu: usize,
    /// Everything vanishes.
    pub cut: bool,
}

impl Faults {
    pub fn none() -> Self {
        Self {
            loss_percent: 0,
            duplicate_percent: 0,
            corrupt_percent: 0,
            delay: Duration::from_micros(500),
            jitter: Duration::ZERO,
            mtu: 65_535,
            cut: false,
        }
    }

    /// Anything a bad path may do and still be one.
    pub fn random(random: &mut Random) -> Self {
        Self {
            loss_percent: [0, 1, 5, 15, 30][random.below(5) as usize],
            duplicate_percent: [0, 2, 20][random.below(3) as usize],
            corrupt_percent: [0, 0, 3][random.below(3) as usize],
            delay: Duration::from_micros(50 + random.below(40_000)),
            jitter: Duration::from_micros([0, 200, 20_000][random.below(3) as usize]),
            mtu: [1200, 1252, 1452, 9000][random.below(4) as usize],
            cut: false,
        }
    }
}

struct Packet {
    to: SocketAddr,
    from: SocketAddr,
    bytes: Vec<u8>,
}

pub struct Node<A> {
    pub core: Cores,
    pub application: A,
    pub address: SocketAddr,
    pub authenticator: Arc<dyn Authenticator>,
    /// Helper threads that never answer, to see what becomes of a handshake without proof.
    pub mute: bool,
    /// Bytes handed to the network.
    pub sent: u64,
    /// Bytes that the network brought.
    pub received: u64,
}

/// The world of one seed.
pub struct Network<A> {
    pub start: Instant,
    pub now: Instant,
    pub nodes: Vec<Node<A>>,
    pub faults: Faults,
    /// Further addresses of nodes, and what is lost on the way to and from each, percent.
    pub aliases: Vec<(SocketAddr, usize, u64)>,
    /// Pairs of addresses between which everything vanishes.
    pub holes: Vec<(SocketAddr, SocketAddr)>,
    /// What is spoiled on the way from the first to the second, percent.
    pub spoiled: Vec<(SocketAddr, SocketAddr, u64)>,
    pub random: Random,
    queue: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    packets: Vec<Option<Packet>>,
    sequence: u64,
    train: Vec<u8>,
}

pub fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8 + 1], 7443))
}

impl<A: Application> Network<A> {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            nodes: Vec::new(),
            faults,
            aliases: Vec::new(),
            holes: Vec::new(),
            spoiled: Vec::new(),
            random: Random(seed),
            queue: BinaryHeap::new(),
            packets: Vec::new(),
            sequence: 0,
            train: Vec::new(),
        }
    }

    pub fn add(
        &mut self,
        authenticator: Arc<dyn Authenticator>,
        limits: Limits,
        application: A,
    ) -> usize {
        self.add_sharded(authenticator, limits, application, 1)
    }

    /// As `add`, with so many engine threads.
    pub fn add_sharded(
        &mut self,
        authenticator: Arc<dyn Authenticator>,
        limits: Limits,
        application: A,
        shards: u8,
    ) -> usize {
        let core = self.core(&authenticator, limits, shards);
        let address = address(self.nodes.len());
        self.nodes.push(Node {
            core,
            application,
            address,
            authenticator,
            mute: false,
            sent: 0,
            received: 0,
        });
        self.nodes.len() - 1
    }

    fn core(
        &mut self,
        authenticator: &Arc<dyn Authenticator>,
        limits: Limits,
        shards: u8,
    ) -> Cores {
        let mut seed = [0; 32];
        for part in seed.chunks_mut(8) {
            part.copy_from_slice(&self.random.next().to_le_bytes());
        }
        let mut boot_epoch = [0; 16];
        boot_epoch[..8].copy_from_slice(&self.random.next().to_le_bytes());
        let authenticator = authenticator.clone();
        let options = CoreOptions {
            limits,
            authenticator,
            seed,
            boot_epoch,
            shard: (0, 1),
            accept: true,
            unfragmented: true,
        };
        Cores::new(&options, shards)
    }

    /// The process of a node ends without a word and starts again at the same address.
    pub fn restart(&mut self, node: usize, limits: Limits, application: A) {
        let authenticator = self.nodes[node].authenticator.clone();
        let shards = self.nodes[node].core.shards();
        self.nodes[node].core = self.core(&authenticator, limits, shards);
        self.nodes[node].application = application;
    }

    /// Calls a node's application.
    pub fn with<R>(&mut self, node: usize, call: impl FnOnce(&mut A, &mut Io<'_>) -> R) -> R {
        let Node {
            core, application, ..
        } = &mut self.nodes[node];
        // From any of its threads.
        let shard = match core.shards() {
            1 => 0,
            shards => self.random.below(shards.into()) as u8,
        };
        let answer = call(application, &mut core.shard(shard).io(self.now));
        self.drive(node);
        answer
    }

    /// Begins a graceful close.
    pub fn close(&mut self, node: usize, grace: Duration) {
        let Node {
            core, application, ..
        } = &mut self.nodes[node];
        for shard in 0..core.shards() {
            core.shard(shard).close(self.now, grace, application);
        }
        self.drive(node);
    }

    /// Lets a node act on what it has and sends what comes of it.
    pub fn drive(&mut self, index: usize) {
        loop {
            for shard in 0..self.nodes[index].core.shards() {
                self.drive_shard(index, shard);
            }
            // One thread may have left something for another.
            if !self.nodes[index].core.is_dirty() {
                return;
            }
        }
    }

    fn drive_shard(&mut self, index: usize, shard: u8) {
        let node = &mut self.nodes[index];
        let mut core = node.core.shard(shard);
        loop {
            core.settle(self.now, &mut node.application);
            let Some(job) = core.poll_auth() else {
                break;
            };
            if !node.mute {
                let done = job.run(&*node.authenticator);
                core.auth_done(self.now, done);
            }
        }
        drop(core);
        let mut train = std::mem::take(&mut self.train);
        loop {
            let mut core = self.nodes[index].core.shard(shard);
            let Some(transmit) = core.transmit(self.now, 64, &mut train) else {
                break;
            };
            drop(core);
            let mut from = self.nodes[index].address;
            // A reply leaves from the address that was asked.
            if let Some(ip) = transmit.src_ip {
                from.set_ip(ip);
            }
            self.nodes[index].sent += transmit.size as u64;
            let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
            for datagram in train[..transmit.size].chunks(segment) {
                self.carry(from, transmit.destination, datagram);
            }
        }
        self.train = train;
    }

    fn carry(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let between = |(one, other): &(SocketAddr, SocketAddr)| {
            (*one, *other) == (from, to) || (*one, *other) == (to, from)
        };
        if self.holes.iter().any(between) {
            return;
        }
        let spoiled = self
            .spoiled
            .iter()
            .find(|(one, other, _)| (*one, *other) == (from, to));
        let spoiled = spoiled.map_or(self.faults.corrupt_percent, |(.., percent)| *percent);
        let copies = 1 + u64::from(self.random.chance(self.faults.duplicate_percent));
        let alias = self
            .aliases
            .iter()
            .find(|(address, ..)| *address == to || *address == from);
        let loss = alias.map_or(self.faults.loss_percent, |(_, _, loss)| *loss);
        for _ in 0..copies {
            if self.faults.cut || bytes.len() > self.faults.mtu || self.random.chance(loss) {
                continue;
            }
            let mut bytes = bytes.to_vec();
            if self.random.chance(spoiled) {
                let at = self.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
            }
            let jitter = self.random.below(self.faults.jitter.as_nanos() as u64 + 1);
            let at = self.now + self.faults.delay + Duration::from_nanos(jitter);
            self.sequence += 1;
            self.packets.push(Some(Packet { to, from, bytes }));
            self.queue
                .push(Reverse((at, self.sequence, self.packets.len() - 1)));
        }
    }

    /// Sends bytes from an address that is no node's.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.carry(from, to, bytes);
    }

    /// What a node sends while `call` runs, caught before it leaves.
    pub fn record(&mut self, node: usize, call: impl FnOnce(&mut Self)) -> Vec<Vec<u8>> {
        let from = self.nodes[node].address;
        let queue = std::mem::take(&mut self.queue);
        call(self);
        let caught = std::mem::replace(&mut self.queue, queue);
        let mut caught: Vec<_> = caught.into_iter().collect();
        caught.sort();
        let packets = caught
            .into_iter()
            .filter_map(|Reverse((_, _, packet))| self.packets[packet].take());
        packets
            .filter(|packet| packet.from == from)
            .map(|packet| packet.bytes)
            .collect()
    }

    /// One event: the next datagram or the next timeout. False when there is none before `until`.
    fn step(&mut self, until: Instant) -> bool {
        let arrival = self.queue.peek().map(|Reverse((at, ..))| *at);
        let due = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| {
                let application = node.application.deadline();
                Some((node.core.deadline(self.now, application)?, index))
            })
            .min();
        let at = match (arrival, due) {
            (Some(arrival), Some((due, _))) => arrival.min(due),
            (Some(at), None) | (None, Some((at, _))) => at,
            (None, None) => return false,
        };
        if at > until {
            return false;
        }
        self.now = self.now.max(at);
        if arrival.is_some_and(|arrival| arrival <= at) {
            let Some(Reverse((_, _, packet))) = self.queue.pop() else {
                return false;
            };
            let Some(packet) = self.packets[packet].take() else {
                return true;
            };
            if self.queue.is_empty() {
                self.packets.clear();
            }
            let alias = self
                .aliases
                .iter()
                .find(|(address, ..)| *address == packet.to)
                .map(|(_, node, _)| *node);
            let own = || self.nodes.iter().position(|node| node.address == packet.to);
            if let Some(index) = alias.or_else(own) {
                self.nodes[index].received += packet.bytes.len() as u64;
                let bytes = BytesMut::from(&packet.bytes[..]);
                let core = &self.nodes[index].core;
                let shard = core.steer(&packet.bytes);
                core.shard(shard).receive(
                    self.now,
                    packet.from,
                    alias.map(|_| packet.to.ip()),
                    None,
                    bytes,
                );
                self.drive(index);
            }
        } else if let Some((_, index)) = due {
            let Node {
                core, application, ..
            } = &mut self.nodes[index];
            for shard in 0..core.shards() {
                core.shard(shard).handle_timeout(self.now, application);
            }
            self.drive(index);
        }
        true
    }

    /// Runs until `done`, or for so long. Whether it was done.
    pub fn run_until(&mut self, longest: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now + longest;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(until) {
                self.now = until;
                return done(self);
            }
        }
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }
}
