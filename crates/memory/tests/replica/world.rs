//! Members, clients and the network between them in virtual time, with every fault a seed can think of.
//!
//! Messages take their time, so they overtake each other; they are lost and, between members, doubled; links and members are cut
//! off and come back; members are killed and do not. All of it goes through the encoded form.

#![allow(unreachable_pub, reason = "shared by the tests of this binary")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use linkmesh_memory::{
    client::Outcome,
    frame::Decoded,
    replica::{
        Client, ClientId, ClientOptions, Completion, Failure, Group, Member, Message, Mutation,
        Operation, Outbox, Standing, Success, Timing, To,
    },
};

use crate::common::{
    history::Action,
    random::Random,
    record::{Asked, Ended, Record},
};

pub const CELLS: usize = 3;
const GROUP: u128 = 77;

/// What may go wrong. Odds are one in so many; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub lose: usize,
    pub double: usize,
    /// A member is cut off from the other members, or from everybody, for a while; per operation.
    pub cut: usize,
    /// Members that are killed, as long as enough are left.
    pub kills: usize,
    /// Callers stop waiting.
    pub impatience: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Member(u8),
    Client(usize),
}

pub struct World {
    pub random: Random,
    pub faults: Faults,
    start: Instant,
    pub now: Instant,
    pub members: Vec<Option<Member>>,
    pub clients: Vec<Client>,
    flying: BTreeMap<(Instant, u64), (Node, Node, Vec<u8>)>,
    messages: u64,
    /// Pairs that do not hear each other.
    pub cut: BTreeSet<(Node, Node)>,
    pub record: Record,
    pub failures: Vec<Failure>,
    /// Members that led, by epoch.
    pub leaders: BTreeMap<u64, u8>,
}

impl World {
    pub fn new(seed: u64, group: Group, clients: usize, faults: Faults) -> Self {
        Self::with_first(seed, group, clients, faults, Timing::default())
    }

    /// The first member has a timing of its own.
    pub fn with_first(
        seed: u64,
        group: Group,
        clients: usize,
        faults: Faults,
        first: Timing,
    ) -> Self {
        let mut random = Random(seed);
        let now = Instant::now();
        let timing = Timing::default();
        let bytes = vec![0; group.length() as usize];
        let mut members = vec![Some(Member::create(
            group,
            first,
            bytes,
            random.next(),
            now,
        ))];
        members.extend((1..group.members()).map(|me| {
            let seed = random.next();
            Some(Member::join(group, timing, me, seed, now))
        }));
        let clients = (0..clients)
            .map(|at| {
                Client::new(
                    at as u128 + 1,
                    group.members(),
                    ClientOptions::default(),
                    now,
                )
            })
            .collect();
        let mut world = Self {
            random,
            faults: Faults::default(),
            start: now,
            now,
            members,
            clients,
            flying: BTreeMap::new(),
            messages: 0,
            cut: BTreeSet::new(),
            record: Record::default(),
            failures: Vec::new(),
            leaders: BTreeMap::new(),
        };
        world.run_until(|world| world.info(0).is_formed);
        world.faults = faults;
        world
    }

    pub fn info(&self, member: u8) -> linkmesh_memory::replica::MemberInfo {
        let member = self.members[usize::from(member)]
            .as_ref()
            .expect("it lives");
        member.info(self.now)
    }

    pub fn tick(&self) -> u64 {
        (self.now - self.start).as_nanos() as u64
    }

    fn happens(&mut self, odds: usize) -> bool {
        odds > 0 && self.random.one_in(odds)
    }

    fn is_cut(&self, a: Node, b: Node) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn send(&mut self, from: Node, to: Node, message: &Message) {
        if self.is_cut(from, to) || self.happens(self.faults.lose) {
            return;
        }
        let mut bytes = Vec::new();
        message.encode(GROUP, &mut bytes);
        let between_members = matches!((from, to), (Node::Member(_), Node::Member(_)));
        let copies = 1 + usize::from(between_members && self.happens(self.faults.double));
        for _ in 0..copies {
            self.messages += 1;
            // Mostly quick, sometimes slower than a heartbeat.
            let most = if self.random.one_in(20) {
                80_000
            } else {
                2_000
            };
            let after = Duration::from_micros(50 + self.random.next() % most);
            let key = (self.now + after, self.messages);
            self.flying.insert(key, (from, to, bytes.clone()));
        }
    }

    fn send_all(&mut self, from: u8, out: Outbox) {
        for (to, message) in out {
            let to = match to {
                To::Member(member) => Node::Member(member),
                To::Client(ClientId(client)) => Node::Client(client as usize),
            };
            self.send(Node::Member(from), to, &message);
        }
    }

    fn say_all(&mut self, from: usize, out: Vec<(u8, Message)>) {
        for (to, message) in out {
            self.send(Node::Client(from), Node::Member(to), &message);
        }
    }

    /// The next message or deadline, whichever comes first. Virtual time moves there.
    pub fn step(&mut self) {
        let mut next: Option<(Instant, Option<Node>)> =
            self.flying.keys().next().map(|(at, _)| (*at, None));
        let members = (0..).zip(&self.members).filter_map(|(me, member)| {
            Some((member.as_ref()?.deadline()?, Some(Node::Member(me))))
        });
        let clients = self
            .clients
            .iter()
            .enumerate()
            .filter_map(|(at, client)| Some((client.deadline()?, Some(Node::Client(at)))));
        for candidate in members.chain(clients) {
            if next.is_none_or(|next| candidate.0 < next.0) {
                next = Some(candidate);
            }
        }
        let (at, whose) = next.expect("a primary or a backup waits for something");
        self.now = self.now.max(at);
        match whose {
            None => self.deliver(),
            Some(Node::Member(me)) => {
                let mut out = Outbox::new();
                let now = self.now;
                if let Some(member) = &mut self.members[usize::from(me)] {
                    member.timeout(now, &mut out);
                }
                self.note(me);
                self.send_all(me, out);
            }
            Some(Node::Client(at)) => {
                let mut out = Vec::new();
                self.clients[at].timeout(self.now, &mut out);
                self.say_all(at, out);
                self.collect(at);
            }
        }
    }

    fn deliver(&mut self) {
        let Some((_, (from, to, bytes))) = self.flying.pop_first() else {
            return;
        };
        let Ok(Decoded::Frame((GROUP, message), length)) = Message::decode(&bytes) else {
            panic!("what was encoded is decoded: {bytes:?}");
        };
        assert_eq!(length, bytes.len());
        let now = self.now;
        match to {
            Node::Member(me) => {
                let mut out = Outbox::new();
                let Some(member) = &mut self.members[usize::from(me)] else {
                    return;
                };
                match (from, message) {
                    (Node::Member(from), message) => member.receive(from, message, now, &mut out),
                    (
                        Node::Client(client),
                        Message::Request {
                            session,
                            ack_below,
                            ask,
                        },
                    ) => {
                        let id = ClientId(client as u64);
                        member.request(
                            id,
                            [client as u8; 32],
                            session,
                            ack_below,
                            ask,
                            now,
                            &mut out,
                        );
                    }
                    (Node::Client(_), other) => panic!("a client said {other:?}"),
                }
                self.note(me);
                self.send_all(me, out);
            }
            Node::Client(at) => {
                let Node::Member(from) = from else {
                    panic!("clients do not talk to each other");
                };
                let mut out = Vec::new();
                self.clients[at].receive(from, message, now, &mut out);
                self.say_all(at, out);
                self.collect(at);
            }
        }
    }

    /// Whoever leads an epoch leads it alone.
    fn note(&mut self, me: u8) {
        let info = self.info(me);
        if info.standing == Standing::Primary {
            let leader = *self.leaders.entry(info.epoch.0).or_insert(me);
            assert_eq!(leader, me, "two members lead epoch {:?}", info.epoch);
        }
    }

    /// One client asks something.
    pub fn ask(&mut self) {
        let at = self.random.below(self.clients.len());
        let cell = self.random.below(CELLS);
        let offset = cell as u64 * 8;
        let value = self.tick() << 12 | self.record.len() as u64;
        // Cell 0 only counts.
        let (operation, action) = match self.random.below(if cell == 0 { 2 } else { 5 }) {
            0 => (
                Mutation::FetchAdd { offset, operand: 1 }.into_operation(),
                Action::Add(1),
            ),
            1 => (Operation::Read { offset, length: 8 }, Action::Read),
            2 | 3 => {
                let data = Bytes::copy_from_slice(&value.to_le_bytes());
                (
                    Mutation::Write { offset, data }.into_operation(),
                    Action::Write(value),
                )
            }
            _ => {
                // What some member has now, so that it often succeeds.
                let bytes = self
                    .members
                    .iter()
                    .flatten()
                    .map(Member::bytes)
                    .find(|bytes| !bytes.is_empty());
                let expected = bytes.map_or(0, |bytes| word(bytes, cell));
                let desired = value;
                (
                    Mutation::CompareSwap {
                        offset,
                        expected,
                        desired,
                    }
                    .into_operation(),
                    Action::Swap { expected, desired },
                )
            }
        };
        let deadline = self
            .happens(self.faults.impatience)
            .then(|| self.now + Duration::from_millis(1 + self.random.next() % 800));
        self.submit(at, operation, cell, action, deadline);
        if self.happens(self.faults.impatience) {
            let token = self.record.len() as u64 - 1;
            self.clients[at].cancel(token.saturating_sub(self.random.next() % 4));
            self.collect(at);
        }
    }

    fn submit(
        &mut self,
        at: usize,
        operation: Operation,
        cell: usize,
        action: Action,
        deadline: Option<Instant>,
    ) {
        let token = self.record.len() as u64;
        let mut out = Vec::new();
        assert!(self.clients[at].submit(operation, deadline, token, self.now, &mut out));
        self.record.ask(Asked {
            client: at,
            lane: 0,
            fence: false,
            invoked: self.tick(),
            actions: vec![(cell, action)],
        });
        self.say_all(at, out);
    }

    pub fn add(&mut self, at: usize, deadline: Option<Instant>) {
        let operation = Mutation::FetchAdd {
            offset: 0,
            operand: 1,
        };
        self.submit(at, operation.into_operation(), 0, Action::Add(1), deadline);
    }

    pub fn read(&mut self, at: usize, cell: usize) {
        let offset = cell as u64 * 8;
        self.submit(
            at,
            Operation::Read { offset, length: 8 },
            cell,
            Action::Read,
            None,
        );
    }

    fn collect(&mut self, at: usize) {
        let tick = self.tick();
        for Completion { token, result } in self.clients[at].completions() {
            let token = token as usize;
            let ended = match result {
                Ok(success) => {
                    let words = match success {
                        Success::Done => Vec::new(),
                        Success::Value(value) => vec![value],
                        Success::Bytes(bytes) => vec![word(&bytes, 0)],
                    };
                    Ended::Answered {
                        at: tick,
                        values: self.record.values(token, &words),
                    }
                }
                Err(failure) => {
                    self.failures.push(failure);
                    match failure.outcome {
                        Outcome::Unknown => Ended::Unknown,
                        _ => Ended::Never,
                    }
                }
            };
            self.record.end(token, ended);
        }
    }

    /// Somebody is cut off, or comes back, or is killed.
    pub fn trouble(&mut self) {
        if self.happens(self.faults.cut) {
            let member = self.random.below(self.members.len()) as u8;
            match self.random.below(4) {
                0 => self.cut_off(member, true),
                1 => self.cut_off(member, false),
                _ => self.heal(),
            }
        }
        if self.faults.kills > 0 && self.random.one_in(40) {
            // As often as not the one that leads.
            let primary = (0..self.members.len()).find(|at| {
                self.members[*at]
                    .as_ref()
                    .is_some_and(|member| member.info(self.now).standing == Standing::Primary)
            });
            let at = match primary {
                Some(primary) if self.random.one_in(2) => primary,
                _ => self.random.below(self.members.len()),
            };
            if self.members[at].take().is_some() {
                self.faults.kills -= 1;
            }
        }
    }

    pub fn cut_off(&mut self, member: u8, from_clients_too: bool) {
        let me = Node::Member(member);
        let others = (0..self.members.len() as u8).map(Node::Member);
        let clients = (0..self.clients.len())
            .map(Node::Client)
            .filter(|_| from_clients_too);
        for other in others.chain(clients).filter(|other| *other != me) {
            self.cut.insert((me.min(other), me.max(other)));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn pending(&self) -> usize {
        self.clients.iter().map(Client::pending).sum()
    }

    /// Goes on until something holds.
    pub fn run_until(&mut self, holds: impl Fn(&Self) -> bool) {
        let mut steps = 0;
        while !holds(self) {
            self.step();
            steps += 1;
            assert!(
                steps < 200_000,
                "it never comes: {:?}",
                self.members
                    .iter()
                    .flatten()
                    .map(|member| member.info(self.now))
                    .collect::<Vec<_>>()
            );
        }
    }

    /// Goes on for a while.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|world| world.now >= end);
    }

    /// The network heals, everything is answered, and what is left in the cells is read.
    pub fn settle(&mut self) {
        self.heal();
        self.faults = Faults::default();
        self.run_until(|world| world.pending() == 0);
        for cell in 0..CELLS {
            self.read(0, cell);
        }
        self.run_until(|world| world.pending() == 0);
        // Every member that lives comes to the same bytes.
        self.run_until(|world| {
            let mut alive = world.members.iter().flatten();
            let first = alive.next().expect("somebody lives");
            alive.all(|member| member.bytes() == first.bytes())
        });
    }

    /// What the history must satisfy, cell by cell.
    pub fn check(&self) {
        let alive = self.members.iter().flatten().next();
        let bytes = alive.expect("somebody lives").bytes();
        let cells: [u64; CELLS] = std::array::from_fn(|cell| word(bytes, cell));
        self.record.check(&cells);
    }
}

/// A mutation as an operation.
pub trait IntoOperation {
    fn into_operation(self) -> Operation;
}

impl IntoOperation for Mutation {
    fn into_operation(self) -> Operation {
        Operation::Mutate(self)
    }
}

pub fn word(bytes: &[u8], cell: usize) -> u64 {
    u64::from_le_bytes(bytes[cell * 8..cell * 8 + 8].try_into().unwrap())
}
