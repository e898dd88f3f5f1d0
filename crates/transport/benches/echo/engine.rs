//! Our own engine, both ends of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkmesh_transport::core::{
    Application, CloseReason, Direction, Io, PeerInfo, PeerSlot, Reading, StreamId, Target,
};
use linkmesh_transport::engine::{Engine, EngineOptions, LatencyMode};

use crate::network::{limits, member};
use crate::rival::Rival;
use crate::{BLOCK, BULK_BYTES, SIZE};

const ECHO: u8 = 1;
const BULK: u8 = 2;

/// Both ends of the engine's part.
#[derive(Default)]
pub(super) struct Bench {
    pub(super) peer: Option<(PeerSlot, StreamId)>,
    pub(super) connected: usize,
    scratch: Vec<u8>,
    echoing: Option<StreamId>,
    pub(super) received: usize,
    bulk: usize,
    /// What of a bulk transfer has not been taken yet.
    sending: Option<(StreamId, usize)>,
    block: Bytes,
    server: bool,
}

impl Bench {
    pub(super) fn new(server: bool) -> Self {
        Self {
            server,
            block: Bytes::from(vec![0x5a; BLOCK]),
            ..Self::default()
        }
    }

    fn pump(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        let Some((stream, left)) = &mut self.sending else {
            return;
        };
        while *left > 0 {
            let mut block = self.block.slice(..BLOCK.min(*left));
            let taken = io
                .write_block(peer, *stream, &mut block)
                .expect("an open stream");
            *left -= taken;
            if !block.is_empty() {
                return;
            }
        }
        io.finish(peer, *stream).expect("an open stream");
        self.sending = None;
    }
}

impl Application for Bench {
    fn connected(&mut self, io: &mut Io<'_>, peer: PeerSlot, _: &PeerInfo) {
        self.connected += 1;
        if !self.server {
            let stream = io
                .open(peer, ECHO, Direction::Bidirectional, 1)
                .expect("a stream");
            self.peer = Some((peer, stream));
        }
    }

    fn disconnected(&mut self, _: &mut Io<'_>, _: PeerSlot, _: &CloseReason) {
        self.connected -= 1;
    }

    fn opened(&mut self, _: &mut Io<'_>, _: PeerSlot, _: StreamId, kind: u8) -> Reading {
        if kind == BULK {
            Reading::Unordered
        } else {
            Reading::Ordered
        }
    }

    fn received(&mut self, _: &mut Io<'_>, _: PeerSlot, stream: StreamId, bytes: &[u8]) {
        if self.server {
            self.echoing = Some(stream);
            self.scratch.extend_from_slice(bytes);
            return;
        }
        // The client sends zeroes and nothing else.
        assert!(bytes.iter().all(|&byte| byte == 0), "a wrong echo");
        self.received += bytes.len();
    }

    fn received_at(&mut self, _: &mut Io<'_>, _: PeerSlot, _: StreamId, _: u64, bytes: Bytes) {
        self.bulk += bytes.len();
    }

    fn finished(&mut self, io: &mut Io<'_>, peer: PeerSlot, _: StreamId) {
        // All of a bulk transfer is here: one echo's worth says so.
        let stream = self.echoing.expect("the client warms up first");
        assert_eq!(io.write(peer, stream, &[0; SIZE]), Ok(SIZE));
    }

    fn writable(&mut self, io: &mut Io<'_>, peer: PeerSlot, _: StreamId) {
        self.pump(io, peer);
    }

    fn settled(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        if let Some(stream) = self.echoing
            && !self.scratch.is_empty()
        {
            let taken = io
                .write(peer, stream, &self.scratch)
                .expect("an open stream");
            self.scratch.drain(..taken);
        }
    }
}

pub(super) fn start(listen: Option<SocketAddr>, name: &str) -> Engine<Bench> {
    let mut options = EngineOptions::new(listen, member(name));
    options.limits = limits();
    options.latency = LatencyMode::Adaptive;
    let server = listen.is_some();
    Engine::start(&options, Bench::new(server)).expect("the engine starts")
}

pub(super) fn connect(address: SocketAddr) -> Ours {
    let engine = start(None, "client");
    engine
        .with(|_, io| io.connect(Target::at(address)))
        .expect("a target");
    let there = engine
        .lease()
        .spin(Duration::from_secs(10), |bench| bench.connected == 1);
    assert!(there, "not connected");
    Ours(engine)
}

pub(super) struct Ours(Engine<Bench>);

impl Rival for Ours {
    fn exchange(&mut self, depth: usize) {
        let mut lease = self.0.lease();
        let bytes = vec![0; SIZE * depth];
        let goal = lease.with(|bench, io| {
            let (peer, stream) = bench.peer.expect("connected");
            assert_eq!(io.write(peer, stream, &bytes), Ok(bytes.len()));
            bench.received + bytes.len()
        });
        assert!(
            lease.spin(Duration::from_secs(5), |bench| bench.received == goal),
            "no reply"
        );
    }

    fn bulk(&mut self) -> Option<Duration> {
        let start = Instant::now();
        let mut lease = self.0.lease();
        let goal = lease.with(|bench, io| {
            let (peer, _) = bench.peer.expect("connected");
            let stream = io
                .open(peer, BULK, Direction::Unidirectional, 0)
                .expect("a stream");
            bench.sending = Some((stream, BULK_BYTES));
            bench.pump(io, peer);
            bench.received + SIZE
        });
        assert!(
            lease.spin(Duration::from_secs(60), |bench| bench.received == goal),
            "no end"
        );
        Some(start.elapsed())
    }
}
