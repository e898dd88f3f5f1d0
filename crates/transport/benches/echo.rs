//! What a 64-byte echo costs, by layer, in two processes: raw UDP (the floor), the engine, plain quinn. And bulk, and what
//! an idle connection weighs.
//!
//! ```text
//! cargo bench -p linkmesh-transport --bench echo                 latency, rate, bulk: seven interleaved rounds
//! cargo bench -p linkmesh-transport --bench echo -- rounds 3
//! cargo bench -p linkmesh-transport --bench echo -- memory       both ends without sockets, CPU time: whatever else runs
//! cargo bench -p linkmesh-transport --bench echo -- idle 10000   memory of idle connections at the accepting process, and
//!                                                                what they do to the latency of one that is not
//!                                                                (`idle 10000 json`: the same for another program)
//! … -- drive udp                                                 one rival, as another program tells it (see `drive`)
//! ```
//!
//! Every figure is the median of the rounds, in which the rivals take turns; replies are compared byte by byte. Nothing is
//! pinned. Plain quinn runs on tokio's current-thread runtime with the same TLS and the same windows as it comes.

#![allow(clippy::print_stdout, reason = "a bench prints")]

#[path = "support/datagrams.rs"]
mod datagrams;
#[path = "support/drive.rs"]
mod drive;
#[path = "../tests/support/identity.rs"]
#[allow(dead_code, unreachable_pub, reason = "each user takes its part")]
mod identity;
#[path = "support/idle.rs"]
mod idle;
#[path = "support/memory.rs"]
mod memory;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use identity::Authority;
use linkmesh_transport::core::{
    Application, Authenticator as _, CloseReason, Direction, Io, Limits, PeerInfo, PeerSlot,
    Reading, SERVER_NAME, StreamId, Target,
};
use linkmesh_transport::engine::{Engine, EngineOptions, LatencyMode};

const SIZE: usize = 64;
const ECHO: u8 = 1;
const BULK: u8 = 2;
const WARMUP: usize = 2000;
const SAMPLES: usize = 20_000;
const BULK_BYTES: usize = 256 << 20;
const BLOCK: usize = 256 << 10;
const AUTHORITY: &str = "LINKMESH_BENCH_AUTHORITY";
const MTU: &str = "LINKMESH_BENCH_MTU";

/// Both ends of the engine's part.
#[derive(Default)]
struct Bench {
    peer: Option<(PeerSlot, StreamId)>,
    connected: usize,
    scratch: Vec<u8>,
    echoing: Option<StreamId>,
    received: usize,
    bulk: usize,
    /// What of a bulk transfer has not been taken yet.
    sending: Option<(StreamId, usize)>,
    block: Bytes,
    server: bool,
}

impl Bench {
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

/// The key of the one authority: made by the parent, handed to its children.
fn authority() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| std::env::var(AUTHORITY).unwrap_or_else(|_| Authority::new().to_pem()))
}

fn limits() -> Limits {
    let mtu = std::env::var(MTU)
        .ok()
        .and_then(|mtu| mtu.parse().ok())
        .unwrap_or(1452);
    Limits {
        mtu,
        handshakes_per_second: 100_000,
        connections: 100_000,
        connections_per_node: 100_000,
        targets: 100_000,
        ..Limits::default()
    }
}

fn engine(listen: Option<SocketAddr>, name: &str) -> Engine<Bench> {
    let authority = Authority::from_pem(authority());
    let mut options = EngineOptions::new(listen, authority.member(name));
    options.limits = limits();
    options.latency = LatencyMode::Adaptive;
    let server = listen.is_some();
    let bench = || Bench {
        server,
        block: Bytes::from(vec![0x5a; BLOCK]),
        ..Bench::default()
    };
    Engine::start(&options, |_| bench()).expect("the engine starts")
}

/// A child process of this program that serves, until it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["serve", kind])
            .env(AUTHORITY, authority())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("its address");
        Self {
            child,
            address: line.trim().parse().expect("an address"),
        }
    }

    /// Resident set, bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap_or("");
        line.split_whitespace()
            .nth(1)
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    }
}

impl Server {
    /// Processor time, seconds, in steps of a clock tick.
    fn cpu_time(&self) -> f64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name of the program is in brackets and may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or("");
        let ticks: f64 = (fields.split_whitespace().skip(11).take(2))
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum();
        ticks / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its end of input is its end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn announce(address: SocketAddr) {
    println!("{address}");
    std::io::stdout().flush().expect("stdout");
}

fn wait_for_end_of_input() {
    let _ = std::io::stdin().read(&mut [0]);
}

fn serve(kind: &str) {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    match kind {
        "udp" | "udp-block" => {
            let socket = UdpSocket::bind(any).expect("a socket");
            socket.set_nonblocking(kind == "udp").expect("a socket");
            announce(socket.local_addr().expect("bound"));
            std::thread::spawn(|| {
                wait_for_end_of_input();
                std::process::exit(0);
            });
            datagrams::echo(&socket);
        }
        "engine" => {
            let engine = engine(Some(any), "server");
            announce(engine.local_address());
            wait_for_end_of_input();
        }
        _ => quinn_serve(any),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn quinn_identity(name: &str) -> Arc<identity::TestIdentity> {
    Authority::from_pem(authority()).member(name)
}

fn quinn_serve(any: SocketAddr) {
    std::thread::spawn(|| {
        wait_for_end_of_input();
        std::process::exit(0);
    });
    runtime().block_on(async {
        let tls = quinn_identity("server").tls_server();
        let crypto =
            quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("a TLS configuration");
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = quinn::Endpoint::server(config, any).expect("a socket");
        announce(endpoint.local_addr().expect("bound"));
        while let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await.expect("a handshake");
            let (mut send, mut receive) = connection.accept_bi().await.expect("a stream");
            tokio::spawn(async move {
                while let Ok(mut bulk) = connection.accept_uni().await {
                    while let Ok(Some(_)) = bulk.read_chunk(usize::MAX, false).await {}
                    let mut answer = connection.open_uni().await.expect("a stream");
                    answer.write_all(&[1]).await.expect("an open stream");
                    let _ = answer.finish();
                }
            });
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(Some(length)) = receive.read(&mut buffer).await {
                    if send.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// A contestant: one exchange of `depth` echoes.
trait Rival {
    fn exchange(&mut self, depth: usize);
    /// Seconds for a bulk transfer, if it can.
    fn bulk(&mut self) -> Option<Duration>;
}

struct Udp(UdpSocket);

impl Rival for Udp {
    fn exchange(&mut self, depth: usize) {
        let mut buffer = [0; 2048];
        for _ in 0..depth {
            self.0.send(&[0x5a; SIZE]).expect("sent");
        }
        for _ in 0..depth {
            while self.0.recv(&mut buffer).is_err() {
                std::thread::yield_now();
            }
        }
    }

    fn bulk(&mut self) -> Option<Duration> {
        None
    }
}

struct Ours(Engine<Bench>);

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

struct Quinn {
    runtime: tokio::runtime::Runtime,
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    _endpoint: quinn::Endpoint,
}

impl Rival for Quinn {
    fn exchange(&mut self, depth: usize) {
        let bytes = vec![0; SIZE * depth];
        let mut answer = vec![1; SIZE * depth];
        self.runtime.block_on(async {
            self.send.write_all(&bytes).await.expect("written");
            self.receive.read_exact(&mut answer).await.expect("read");
        });
        assert!(answer == bytes);
    }

    fn bulk(&mut self) -> Option<Duration> {
        let block = Bytes::from(vec![0x5a; BLOCK]);
        let start = Instant::now();
        self.runtime.block_on(async {
            let mut stream = self.connection.open_uni().await.expect("a stream");
            for _ in 0..BULK_BYTES / BLOCK {
                stream.write_chunk(block.clone()).await.expect("written");
            }
            stream.finish().expect("open");
            let mut answer = self.connection.accept_uni().await.expect("an answer");
            answer.read_chunk(1, true).await.expect("an answer");
        });
        Some(start.elapsed())
    }
}

fn connect(kind: &str, address: SocketAddr) -> Box<dyn Rival> {
    match kind {
        "udp" | "udp-block" => {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect(address).expect("a socket");
            socket.set_nonblocking(kind == "udp").expect("a socket");
            Box::new(Udp(socket))
        }
        "engine" => {
            let engine = engine(None, "client");
            engine
                .with(|_, io| io.connect(Target::at(address)))
                .expect("a target");
            let there = engine
                .lease()
                .spin(Duration::from_secs(10), |bench| bench.connected == 1);
            assert!(there, "not connected");
            Box::new(Ours(engine))
        }
        _ => {
            let runtime = runtime();
            let (endpoint, connection, send, receive) = runtime.block_on(async {
                let tls = quinn_identity("client").tls_client();
                let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)
                    .expect("a TLS configuration");
                let any = "127.0.0.1:0".parse().expect("an address");
                let endpoint = quinn::Endpoint::client(any).expect("a socket");
                let config = quinn::ClientConfig::new(Arc::new(crypto));
                let connecting = endpoint
                    .connect_with(config, address, SERVER_NAME)
                    .expect("an address");
                let connection = connecting.await.expect("a handshake");
                let (send, receive) = connection.open_bi().await.expect("a stream");
                (endpoint, connection, send, receive)
            });
            Box::new(Quinn {
                runtime,
                connection,
                send,
                receive,
                _endpoint: endpoint,
            })
        }
    }
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// p50 and p99 of single exchanges, microseconds.
fn latency(rival: &mut dyn Rival) -> (f64, f64) {
    for _ in 0..WARMUP {
        rival.exchange(1);
    }
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            rival.exchange(1);
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    (percentile(&samples, 0.5), percentile(&samples, 0.99))
}

/// Echoes a second with so many under way, in millions.
fn rate(rival: &mut dyn Rival, depth: usize) -> f64 {
    let exchanges = 200_000 / depth;
    let start = Instant::now();
    for _ in 0..exchanges {
        rival.exchange(depth);
    }
    (exchanges * depth) as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn compare(rounds: usize) {
    let kinds = ["udp", "engine", "quinn"];
    let mut figures = vec![vec![Vec::new(); 5]; kinds.len()];
    for round in 0..rounds {
        for turn in 0..kinds.len() {
            let at = (round + turn) % kinds.len();
            let server = Server::start(kinds[at]);
            let mut rival = connect(kinds[at], server.address);
            let (p50, p99) = latency(&mut *rival);
            figures[at][0].push(p50);
            figures[at][1].push(p99);
            if kinds[at] != "udp" {
                figures[at][2].push(rate(&mut *rival, 64));
                figures[at][3].push(rate(&mut *rival, 256));
            }
            if let Some(time) = rival.bulk() {
                figures[at][4].push(BULK_BYTES as f64 * 8.0 / time.as_secs_f64() / 1e9);
            }
        }
    }
    println!("{rounds} interleaved rounds, two processes, {SIZE} bytes, medians\n");
    println!(
        "| | p50 µs | p99 µs | × floor | M/s at 64 | M/s at 256 | bulk Gb/s |\n|---|---|---|---|---|---|---|"
    );
    let floor = median(figures[0][0].clone());
    for (kind, figures) in kinds.iter().zip(figures) {
        let of = |at: usize| {
            if figures[at].is_empty() {
                f64::NAN
            } else {
                median(figures[at].clone())
            }
        };
        println!(
            "| {kind} | {:.2} | {:.1} | {:.2} | {:.2} | {:.2} | {:.1} |",
            of(0),
            of(1),
            of(0) / floor,
            of(2),
            of(3),
            of(4)
        );
    }
}

/// CPU time of this process, seconds.
fn cpu_time() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid clock and a place for its time.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", kind] => serve(kind),
        ["drive", kind] => drive::drive(kind),
        ["idle", count] => idle::idle(count.parse().expect("a number"), false),
        ["idle", count, "json"] => idle::idle(count.parse().expect("a number"), true),
        ["memory"] => memory::memory(),
        ["rounds", rounds] => compare(rounds.parse().expect("a number")),
        _ => compare(7),
    }
}
