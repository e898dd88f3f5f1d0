//! Clients, a server and the streams between them in virtual time, with every fault a seed can think of.
//!
//! Streams deliver in order and whole or not at all from some byte on, as QUIC's do; among streams there is no order. A
//! connection may die at any byte, at the client first or at the server first; the server may restart (its memory, which
//! stands for a mapped file, stays; its sessions do not); leases run out; callers cancel, set deadlines and close.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use linkmesh_memory::{
    client::{
        Client, ClientOptions, Completion, Completions, ImportError, OperationError, Outcome,
        Submission, SubmitError, Success,
    },
    compress::Compression,
    frame::{ImportRefusal, Imported, Operation},
    region::{Access, HeapRegion, Region, Rights},
    server::{Grants, ServerConnection, ServerError},
    session::{AttachError, SessionLimits, Sessions},
};
use linkmesh_transport::core::NodeId;

use super::{
    history::Action,
    random::Random,
    record::{ALONE, Asked, Ended, Record},
};

pub const CELLS: usize = 4;
const LANES: usize = 4;
const LEASE: Duration = Duration::from_secs(60);

/// What may go wrong, each once in so many steps; 0 never.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub disconnect: usize,
    pub restart: usize,
    pub lease: usize,
    pub cancel: usize,
}

#[derive(Default)]
struct Sink {
    ended: Vec<(u64, Result<Vec<u64>, OperationError>)>,
    imported: Vec<(u16, Imported)>,
}

impl Completions for Sink {
    fn completed(&mut self, completion: Completion<'_>) {
        let words = |bytes: &[u8]| {
            bytes
                .chunks(8)
                .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
                .collect()
        };
        let result = completion.result.map(|success| match success {
            Success::Done => Vec::new(),
            Success::Value(value) => vec![value],
            Success::Bytes(bytes) | Success::Versioned { bytes, .. } => words(bytes),
        });
        self.ended.push((completion.token, result));
    }

    fn imported(&mut self, handle: u16, _: u64, result: Result<Imported, ImportError>) {
        self.imported
            .push((handle, result.expect("this grant opens the region")));
    }
}

/// A grant is the number of the slice: 0 and 1 are the whole region twice, so that one cell can be reached by two lanes.
struct Exports(Arc<HeapRegion>);

impl Grants for Exports {
    fn open(&mut self, _: &NodeId, grant: &[u8], _: Instant) -> Result<Access, ImportRefusal> {
        if grant.len() != 1 {
            return Err(ImportRefusal::Malformed);
        }
        Ok(Access {
            region: self.0.clone(),
            epoch: self.0.epoch(),
            base: 0,
            length: self.0.len(),
            rights: Rights::ALL,
            expires: None,
            revoked: Arc::new(AtomicBool::new(false)),
            compression: Compression::None,
        })
    }
}

/// Streams of one connection: control and lanes, to the server and back.
struct Wire {
    client: usize,
    /// False once the client gave it up: it reads and writes nothing more there.
    client_side: bool,
    server: Option<ServerConnection>,
    up: Vec<VecDeque<u8>>,
    down: Vec<VecDeque<u8>>,
}

pub struct World {
    random: Random,
    faults: Faults,
    now: Instant,
    tick: u64,
    region: Arc<HeapRegion>,
    sessions: Sessions,
    boot: u128,
    clients: Vec<(Client, Sink)>,
    handles: Vec<Vec<u16>>,
    wires: Vec<Wire>,
    pub record: Record,
    submitted: HashMap<(usize, u64), usize>,
    has_cancelled: bool,
    pub reconnects: usize,
}

impl World {
    pub fn new(seed: u64, clients: usize, faults: Faults) -> Self {
        let mut random = Random(seed);
        let boot = u128::from(random.next());
        // Small limits are met often.
        let options = ClientOptions {
            lanes: LANES,
            pending: 64,
            bytes_in_flight: 600 + random.next() % 3000,
        };
        let clients: Vec<_> = (0..clients)
            .map(|at| {
                let mut client = Client::new(at as u128 + 1, options);
                client.import(&[0], 0).unwrap();
                client.import(&[1], 1).unwrap();
                (client, Sink::default())
            })
            .collect();
        Self {
            random,
            faults,
            now: Instant::now(),
            tick: 0,
            region: Arc::new(HeapRegion::new(CELLS * 8, 1)),
            sessions: Sessions::new(
                boot,
                SessionLimits {
                    lease: LEASE,
                    ..SessionLimits::default()
                },
            ),
            boot,
            handles: vec![Vec::new(); clients.len()],
            clients,
            wires: Vec::new(),
            record: Record::default(),
            submitted: HashMap::new(),
            has_cancelled: faults.cancel > 0,
            reconnects: 0,
        }
    }

    /// One thing happens.
    pub fn step(&mut self, may_submit: bool) {
        self.tick += 1;
        self.now += Duration::from_micros(self.random.next() % 50);
        let Faults {
            disconnect,
            restart,
            lease,
            cancel,
        } = self.faults;
        let happens = |random: &mut Random, odds: usize| odds > 0 && random.one_in(odds);
        if happens(&mut self.random, disconnect) && !self.wires.is_empty() {
            let at = self.random.below(self.wires.len());
            self.cut(at);
        } else if happens(&mut self.random, restart) {
            self.restart();
        } else if happens(&mut self.random, lease) {
            self.now += LEASE + Duration::from_secs(1);
            self.sessions.end_leases(self.now);
        } else if happens(&mut self.random, cancel) {
            let client = self.random.below(self.clients.len());
            if let Some(latest) = (self.submitted.keys())
                .filter(|(at, _)| *at == client)
                .map(|(_, id)| *id)
                .max()
            {
                let id = latest.saturating_sub(self.random.next() % 12);
                let (client_, sink) = &mut self.clients[client];
                client_.cancel(id, sink);
                self.collect(client);
            }
        } else if may_submit && self.random.one_in(3) {
            self.submit();
        } else {
            self.deliver();
        }
    }

    fn submit(&mut self) {
        let at = self.random.below(self.clients.len());
        for _ in 0..=self.random.below(4) {
            let Some(handle) = self.handles[at].get(self.random.below(2)).copied() else {
                break;
            };
            self.submit_one(at, handle);
        }
        if self.random.one_in(2) {
            self.flush(at);
        }
    }

    fn submit_one(&mut self, at: usize, handle: u16) {
        let cell = self.random.below(CELLS);
        let offset = cell as u64 * 8;
        // Every written value is different, so that an answer tells where it comes from. Cell 0 only counts.
        let value = self.tick << 16 | self.record.len() as u64;
        let mut bytes = [0; CELLS * 8];
        let (operation, actions) = match self.random.below(if cell == 0 { 2 } else { 7 }) {
            0 => (
                Operation::FetchAdd { offset, operand: 1 },
                vec![(cell, Action::Add(1))],
            ),
            1 => (
                Operation::Read { offset, length: 8 },
                vec![(cell, Action::Read)],
            ),
            2 | 3 => {
                let cells = 1 + self.random.below(CELLS - cell);
                for word in bytes[..cells * 8].chunks_mut(8) {
                    word.copy_from_slice(&value.to_ne_bytes());
                }
                let actions = (cell..cell + cells)
                    .map(|cell| (cell, Action::Write(value)))
                    .collect();
                (
                    Operation::Write {
                        offset,
                        data: &bytes[..cells * 8],
                    },
                    actions,
                )
            }
            4 => {
                // What it is now, so that it often succeeds.
                let expected = self.region.load(offset).unwrap();
                let action = Action::Swap {
                    expected,
                    desired: value,
                };
                (
                    Operation::CompareSwap {
                        offset,
                        expected,
                        desired: value,
                    },
                    vec![(cell, action)],
                )
            }
            5 => {
                let cells = 1 + self.random.below(CELLS - cell);
                let actions = (cell..cell + cells)
                    .map(|cell| (cell, Action::Read))
                    .collect();
                (
                    Operation::Read {
                        offset,
                        length: cells as u32 * 8,
                    },
                    actions,
                )
            }
            _ => (
                Operation::ReadVersioned {
                    offset,
                    length: 8,
                    version: 0,
                },
                vec![(cell, Action::Read)],
            ),
        };
        let deadline = (self.faults.cancel > 0 && self.random.one_in(20))
            .then(|| self.now + Duration::from_micros(1 + self.random.next() % 2000));
        let fence = self.random.one_in(8);
        let token = self.record.len() as u64;
        let submission = Submission {
            handle,
            operation,
            fence,
            deadline,
            token,
        };
        match self.clients[at].0.submit(&submission, self.now) {
            Ok(id) => {
                let lane = usize::from(handle) % LANES;
                self.record.ask(Asked {
                    client: at,
                    lane,
                    fence,
                    invoked: self.tick,
                    actions,
                });
                self.submitted.insert((at, id), token as usize);
            }
            Err(SubmitError::Full { limit: 64 }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Encodes, and lets the connection's streams take what there is.
    fn flush(&mut self, at: usize) {
        let client = &mut self.clients[at].0;
        client.flush();
        let Some(wire) = self
            .wires
            .iter_mut()
            .find(|wire| wire.client == at && wire.client_side)
        else {
            return;
        };
        for (stream, up) in wire.up.iter_mut().enumerate() {
            let output = if stream == 0 {
                client.control_output()
            } else {
                client.output(stream - 1)
            };
            let count = output.len();
            up.extend(output.as_slice());
            output.consume(count);
        }
    }

    /// Some stream moves by some bytes, a client connects, or JavaScript of the server's process touches a cell.
    fn deliver(&mut self) {
        let at = self.random.below(self.clients.len());
        let (client, sink) = &mut self.clients[at];
        client.expire(self.now, sink);
        self.collect(at);
        if !self
            .wires
            .iter()
            .any(|wire| wire.client == at && wire.client_side)
        {
            self.connect(at);
        }
        if self.random.one_in(10) {
            self.local();
        }
        self.flush(at);
        if self.wires.is_empty() {
            return;
        }
        let wire = self.random.below(self.wires.len());
        let stream = self.random.below(LANES + 1);
        if self.random.one_in(2) {
            self.deliver_up(wire, stream);
        } else {
            self.deliver_down(wire, stream);
        }
    }

    fn deliver_up(&mut self, wire: usize, stream: usize) {
        let wire = &mut self.wires[wire];
        let Some(server) = &mut wire.server else {
            return;
        };
        let bytes = take(&mut wire.up[stream], &mut self.random);
        if bytes.is_empty() {
            return;
        }
        let result = if stream == 0 {
            server.receive_control(
                &mut self.sessions,
                &mut Exports(self.region.clone()),
                &bytes,
                self.now,
            )
        } else {
            server.receive(&mut self.sessions, stream - 1, &bytes, self.now)
        };
        match result {
            Ok(()) => {}
            // A connection that the client gave up for a newer one.
            Err(ServerError::Superseded | ServerError::Attach(AttachError::Late))
                if !wire.client_side =>
            {
                wire.server = None;
            }
            Err(error) => panic!("{error}"),
        }
        let Some(server) = &mut wire.server else {
            return;
        };
        for (stream, down) in wire.down.iter_mut().enumerate() {
            let output = if stream == 0 {
                server.control_output()
            } else {
                server.output(stream - 1)
            };
            // Now and then a slow reader.
            let count = if self.random.one_in(3) {
                output.len() / 2
            } else {
                output.len()
            };
            down.extend(&output.as_slice()[..count]);
            output.consume(count);
        }
        server
            .resume(&mut self.sessions, self.now)
            .expect("it goes on");
    }

    fn deliver_down(&mut self, wire: usize, stream: usize) {
        let wire = &mut self.wires[wire];
        if let Some(server) = &mut wire.server {
            let output = if stream == 0 {
                server.control_output()
            } else {
                server.output(stream - 1)
            };
            let count = output.len();
            wire.down[stream].extend(output.as_slice());
            output.consume(count);
        }
        if !wire.client_side {
            return;
        }
        let at = wire.client;
        let bytes = take(&mut wire.down[stream], &mut self.random);
        if bytes.is_empty() {
            return;
        }
        let (client, sink) = &mut self.clients[at];
        let result = if stream == 0 {
            client.receive_control(&bytes, sink)
        } else {
            client.receive(stream - 1, &bytes, sink)
        };
        result.unwrap_or_else(|error| panic!("{error}"));
        self.collect(at);
    }

    fn connect(&mut self, at: usize) {
        self.reconnects += 1;
        self.clients[at].0.connected();
        let node = NodeId([at as u8; 32]);
        self.wires.push(Wire {
            client: at,
            client_side: true,
            server: Some(ServerConnection::new(node, LANES)),
            up: vec![VecDeque::new(); LANES + 1],
            down: vec![VecDeque::new(); LANES + 1],
        });
    }

    /// A connection dies. Either side may notice first; what is on its way to the server may still arrive for a while.
    fn cut(&mut self, at: usize) {
        let wire = &mut self.wires[at];
        let server_first = self.random.one_in(2);
        if wire.client_side && !server_first {
            wire.client_side = false;
            self.clients[wire.client].0.disconnected();
            return;
        }
        if let Some(mut server) = wire.server.take() {
            server.disconnected(&mut self.sessions, self.now);
        }
        if wire.client_side {
            self.clients[wire.client].0.disconnected();
        }
        self.wires.remove(at);
    }

    fn restart(&mut self) {
        self.boot += 1;
        self.sessions = Sessions::new(
            self.boot,
            SessionLimits {
                lease: LEASE,
                ..SessionLimits::default()
            },
        );
        for wire in self.wires.drain(..) {
            if wire.client_side {
                self.clients[wire.client].0.disconnected();
            }
        }
    }

    /// JavaScript of the server's own process, at one instant.
    fn local(&mut self) {
        let cell = self.random.below(CELLS);
        let old = self.region.fetch_add(cell as u64 * 8, 1).unwrap();
        let token = self.record.len();
        self.record.ask(Asked {
            client: ALONE,
            lane: 0,
            fence: false,
            invoked: self.tick,
            actions: vec![(cell, Action::Add(1))],
        });
        let ended = Ended::Answered {
            at: self.tick,
            values: vec![Some(old)],
        };
        self.record.end(token, ended);
    }

    /// What callers of a client heard.
    fn collect(&mut self, at: usize) {
        let sink = &mut self.clients[at].1;
        self.handles[at].extend(sink.imported.drain(..).map(|(handle, _)| handle));
        for (token, result) in sink.ended.drain(..) {
            let token = token as usize;
            let ended = match result {
                Ok(words) => Ended::Answered {
                    at: self.tick,
                    values: self.record.values(token, &words),
                },
                Err(error) if error.outcome == Outcome::Unknown => Ended::Unknown,
                Err(error) => {
                    // Without impatient callers nothing that is right fails.
                    assert!(self.has_cancelled, "{error}");
                    Ended::Never
                }
            };
            self.record.end(token, ended);
        }
    }

    pub fn waiting(&self) -> usize {
        self.clients
            .iter()
            .map(|(client, _)| client.pending())
            .sum()
    }

    /// The network heals and everything is answered.
    pub fn settle(&mut self) {
        self.faults = Faults {
            disconnect: 0,
            restart: 0,
            lease: 0,
            cancel: 0,
        };
        let mut steps = 0;
        while self.waiting() > 0 {
            self.step(false);
            steps += 1;
            assert!(
                steps < 200_000,
                "{} operations are never answered",
                self.waiting()
            );
        }
    }

    /// What the history must satisfy, cell by cell.
    pub fn check(&self) {
        let cells: [u64; CELLS] =
            std::array::from_fn(|cell| self.region.load(cell as u64 * 8).unwrap());
        self.record.check(&cells);
    }
}

/// Some bytes off the front: mostly all, sometimes one.
fn take(stream: &mut VecDeque<u8>, random: &mut Random) -> Vec<u8> {
    if stream.is_empty() {
        return Vec::new();
    }
    let count = match random.below(4) {
        0 => 1 + random.below(stream.len().min(40)),
        _ => stream.len(),
    };
    stream.drain(..count.min(stream.len())).collect()
}
