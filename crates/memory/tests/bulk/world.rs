//! A client, a server and a connection between them, driven step by step in random order.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use linkmesh_memory::{
    bulk::{
        Client, Event, MessageReader, Options, Request, Server, StartError, StreamKind,
        TransferError,
    },
    compress::Compression,
    region::{Access, Region, Rights},
};

use crate::{
    connection::{Connection, Side},
    counting::Counting,
    random::Random,
};

/// Client, server and what is between them.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) client: Client<usize>,
    pub(crate) server: Server<usize>,
    pub(crate) connection: Connection,
    pub(crate) readers: [MessageReader; 2],
    pub(crate) region: Arc<Counting>,
    pub(crate) rights: Rights,
    pub(crate) now: Instant,
    pub(crate) results: BTreeMap<u64, Result<(), TransferError>>,
    pub(crate) moved: BTreeMap<u64, u64>,
}

/// All of a local region, to or from `offset` behind handle 3.
pub(crate) fn request(
    offset: u64,
    memory: &Arc<Counting>,
    options: Options,
    deadline: Option<Instant>,
) -> Request {
    let memory = Access {
        compression: Compression::Auto,
        ..Access::whole(Arc::clone(memory) as Arc<dyn Region>)
    };
    Request {
        handle: 3,
        offset,
        memory,
        options,
        deadline,
    }
}

pub(crate) const REGION: usize = 900_000;

impl World {
    pub(crate) fn new(seed: u64, region: Arc<Counting>) -> Self {
        let now = Instant::now();
        let mut world = Self {
            random: Random(seed),
            client: Client::new(Instant::now),
            server: Server::new(Instant::now),
            connection: Connection {
                limit: 4,
                ..Connection::default()
            },
            readers: Default::default(),
            region,
            rights: Rights::ALL,
            now,
            results: BTreeMap::new(),
            moved: BTreeMap::new(),
        };
        for side in [true, false] {
            // A slow path, so that compression is tried where it is allowed.
            if side {
                world.client.streams().set_path_speed(Some(1e7));
            } else {
                world.server.streams().set_path_speed(Some(1e7));
            }
        }
        world.connect(true);
        world
    }

    pub(crate) fn connect(&mut self, resumed: bool) {
        self.client.connected(
            &mut Side {
                connection: &mut self.connection,
                client: true,
            },
            resumed,
        );
    }

    pub(crate) fn lose_connection(&mut self, damage: u32) {
        self.client.disconnected();
        self.server.disconnected();
        self.connection = Connection {
            limit: 1 + self.random.below(4),
            damage,
            ..Connection::default()
        };
        self.readers = Default::default();
    }

    pub(crate) fn read(
        &mut self,
        offset: u64,
        target: &Arc<Counting>,
        options: Options,
        deadline: Option<Instant>,
    ) -> Result<u64, StartError> {
        let mut wire = Side {
            connection: &mut self.connection,
            client: true,
        };
        self.client
            .read(Some(&mut wire), request(offset, target, options, deadline))
    }

    pub(crate) fn write(
        &mut self,
        offset: u64,
        source: &Arc<Counting>,
        options: Options,
        deadline: Option<Instant>,
    ) -> Result<u64, StartError> {
        let mut wire = Side {
            connection: &mut self.connection,
            client: true,
        };
        self.client.write(
            Some(&mut wire),
            request(offset, source, options, deadline),
            self.now,
        )
    }

    /// Delivers something, if there is anything to deliver; false when all is quiet.
    pub(crate) fn step(&mut self) -> bool {
        let streams = self.connection.streams.len();
        let mut order: Vec<usize> = (0..streams + 2).collect();
        // Random order, so that nothing waits behind anything else.
        for at in (1..order.len()).rev() {
            order.swap(at, self.random.below(at + 1));
        }
        order.into_iter().any(|what| match what.checked_sub(2) {
            None => self.deliver_control(what == 1),
            Some(stream) => self.deliver_stream(stream),
        })
    }

    fn deliver_control(&mut self, from_client: bool) -> bool {
        let queue = &mut self.connection.control[usize::from(from_client)];
        if queue.is_empty() {
            return false;
        }
        let count = 1 + self.random.below(queue.len());
        let bytes: Vec<u8> = queue.drain(..count).collect();
        let mut rest = &bytes[..];
        let (region, rights) = (Arc::clone(&self.region), self.rights);
        let grants = move |handle| {
            (handle == 3).then(|| Access {
                rights,
                compression: Compression::Auto,
                ..Access::whole(Arc::clone(&region) as Arc<dyn Region>)
            })
        };
        while let Some(message) = self.readers[usize::from(from_client)]
            .next(&mut rest)
            .expect("a correct peer")
        {
            let mut wire = Side {
                connection: &mut self.connection,
                client: !from_client,
            };
            let result = if from_client {
                self.server.message(&mut wire, message, &grants, self.now)
            } else {
                self.client.message(&mut wire, message, self.now)
            };
            result.expect("a correct peer");
        }
        self.collect();
        true
    }

    fn deliver_stream(&mut self, index: usize) -> bool {
        let now = self.now;
        let stream = &mut self.connection.streams[index];
        if stream.closed {
            return false;
        }
        let from_client = stream.from_client;
        if !stream.announced && !stream.sent.is_empty() {
            stream.announced = true;
            let kind = stream.kind;
            if from_client {
                self.server.streams().opened(index, kind);
            } else {
                self.client.streams().opened(index, kind);
            }
            return true;
        }
        if stream.stopped || stream.reset {
            // Both ends learn of it; what was on its way is gone.
            stream.closed = true;
            let (stopped, reset) = (stream.stopped, stream.reset);
            if from_client {
                if stopped {
                    self.client.streams().stopped(index);
                }
                if reset {
                    self.server.streams().reset(index);
                }
            } else {
                if stopped {
                    self.server.streams().stopped(index);
                }
                if reset {
                    self.client.streams().reset(index);
                }
            }
            self.streams_available(from_client);
            return true;
        }
        if self.deliver_bytes(index) {
            return true;
        }
        let (random, stream) = (&mut self.random, &mut self.connection.streams[index]);
        if stream.stalled {
            stream.credit += 1 + random.below(200_000);
            stream.stalled = false;
            let mut wire = Side {
                connection: &mut self.connection,
                client: from_client,
            };
            if from_client {
                self.client.writable(&mut wire, index, now);
            } else {
                self.server.writable(&mut wire, index, now);
            }
            self.collect();
            return true;
        }
        if stream.finished {
            stream.closed = true;
            let mut wire = Side {
                connection: &mut self.connection,
                client: !from_client,
            };
            if from_client {
                self.server.finished(&mut wire, index);
            } else {
                self.client.finished(&mut wire, index);
            }
            self.streams_available(from_client);
            return true;
        }
        false
    }

    /// Some bytes that were not delivered yet: any of a plain stream, the next of a framed one.
    fn deliver_bytes(&mut self, index: usize) -> bool {
        let (random, now) = (&mut self.random, self.now);
        let stream = &mut self.connection.streams[index];
        let from_client = stream.from_client;
        let whole = 0..stream.sent.len() as u64;
        let gaps: Vec<_> = stream.delivered.missing(whole).collect();
        let ordered = stream.kind == StreamKind::Blocks;
        if let Some(gap) = gaps.get(if ordered || gaps.is_empty() {
            0
        } else {
            random.below(gaps.len())
        }) {
            let length = (gap.end - gap.start) as usize;
            let count = 1 + random.below(length.min(30_000));
            let start = gap.start
                + if ordered {
                    0
                } else {
                    random.below(length - count + 1) as u64
                };
            let piece = start..start + count as u64;
            stream.delivered.insert(piece.clone());
            let bytes =
                Bytes::copy_from_slice(&stream.sent[piece.start as usize..piece.end as usize]);
            // An ordered stream is not told where it is.
            let start = if ordered { 0 } else { start };
            let mut wire = Side {
                connection: &mut self.connection,
                client: !from_client,
            };
            if from_client {
                let (region, rights) = (Arc::clone(&self.region), self.rights);
                let grants = move |handle| {
                    (handle == 3).then(|| Access {
                        rights,
                        compression: Compression::Auto,
                        ..Access::whole(Arc::clone(&region) as Arc<dyn Region>)
                    })
                };
                self.server
                    .received(&mut wire, index, start, bytes, &grants, now);
            } else {
                self.client.received(&mut wire, index, start, bytes, now);
            }
            self.collect();
            return true;
        }
        false
    }

    fn streams_available(&mut self, client: bool) {
        if std::mem::take(&mut self.connection.refused_open[usize::from(client)]) {
            let mut wire = Side {
                connection: &mut self.connection,
                client,
            };
            if client {
                self.client.retry(&mut wire, self.now);
            } else {
                self.server.retry(&mut wire, self.now);
            }
        }
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Progress { id, moved, total } => {
                    assert!(moved <= total && !self.results.contains_key(&id));
                    self.moved.insert(id, moved);
                }
                Event::Finished { id, result } => {
                    assert_eq!(self.results.insert(id, result), None, "ends once");
                }
            }
        }
    }

    pub(crate) fn run(&mut self) {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 1_000_000, "it never ends");
        }
    }
}
