//! Hours in which everything happens at once: a thousand connections through networks that lose and garble, operations of
//! every kind, an exporting process that is killed again and again. Nothing may be added twice, lost, leaked or left behind.
//!
//! `npm run soak -- --minutes 30`. Without `LINKMESH_SOAK_MINUTES` it is skipped with a message.
#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    reason = "a soak says how far it is, and its process answers on stdout"
)]

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use common::{
    nodes::unix_ms,
    proxy::{Proxy, Weather},
    random::Random,
};
use linkmesh_memory::{
    bulk::Options,
    client::{ClientOptions, Outcome, Success},
    compress::Compression,
    endpoint::{Call, DrainedResult, Endpoint, EndpointOptions, RemoteId, Transfer},
    frame::Operation,
    grant::Slice,
    region::{Access, MappedFile, Pages, PagesOptions, RangeRights, Region, Rights, SharedRegion},
    session::SessionLimits,
};
use linkmesh_transport::{
    core::{NodeId, Target},
    engine::{Engine, EngineOptions, LatencyMode},
    identity::{IdentityOptions, Joining, NodeIdentity, exchange::join, random_bytes},
};

const LONG: Duration = Duration::from_secs(120);
/// Client nodes; each has its share of the connections, through a bad network of its own.
const CLIENTS: usize = 10;
/// Connections that one target keeps.
const PER_TARGET: usize = 4;
/// Bytes of the region: a page of words for each client, and room for transfers behind.
const REGION: u64 = 1 << 20;
const PAGE: u64 = 4096;
const TRANSFERS: u64 = CLIENTS as u64 * PAGE;
const TRANSFER: u64 = 64 << 10;
/// Operations that a client has under way.
const DEPTH: usize = 24;
/// How long an operation may take; the server may be dead for a while.
const PATIENCE: Duration = Duration::from_secs(20);
const KILLS_EVERY: Duration = Duration::from_secs(45);
const SAMPLES_EVERY: Duration = Duration::from_secs(2);
/// What memory may grow by between the first third of the samples and the last.
const GROWTH_SHARE: f64 = 0.10;
const GROWTH_BYTES: f64 = 8e6;

const FOLDER: &str = "LINKMESH_SOAK_FOLDER";
const ADDRESS: &str = "LINKMESH_SOAK_ADDRESS";

fn weather() -> Weather {
    Weather {
        lose: 5,
        double: 5,
        delay: 20,
        corrupt: 2,
        rebind: 0,
        hole: 0,
    }
}

fn number(name: &str) -> Option<f64> {
    std::env::var(name).ok()?.parse().ok()
}

// --- what a process holds ---------------------------------------------------------------------------------

fn resident(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    words.and_then(|word| word.parse().ok()).unwrap_or(0.0) * 1024.0
}

fn count(process: &str, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/{what}")).map_or(0, Iterator::count)
}

/// Resident bytes over time, of one process between two kills.
#[derive(Default)]
struct Memory(Vec<f64>);

impl Memory {
    fn median(samples: &[f64]) -> f64 {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    /// Refuses growth from the first third of the time to the last.
    fn check(&self, who: &str) -> String {
        let third = self.0.len() / 3;
        if third == 0 {
            return format!("{who}: too short to tell");
        }
        let early = Self::median(&self.0[..third]);
        let late = Self::median(&self.0[self.0.len() - third..]);
        assert!(
            late <= early * (1.0 + GROWTH_SHARE) + GROWTH_BYTES,
            "{who} grew from {:.1} to {:.1} MB",
            early / 1e6,
            late / 1e6
        );
        format!("{who} {:.1} → {:.1} MB", early / 1e6, late / 1e6)
    }
}

// --- nodes ------------------------------------------------------------------------------------------------

fn engine(identity: &Arc<NodeIdentity>, listen: Option<SocketAddr>) -> Engine<Endpoint> {
    let mut options = EngineOptions::new(listen, identity.clone());
    options.latency = LatencyMode::Block;
    options.limits.connections_per_node = 1000;
    options.limits.handshakes = 512;
    options.limits.handshakes_per_second = 1000;
    options.limits.idle_timeout = Duration::from_secs(8);
    options.limits.keep_alive = Some(Duration::from_secs(3));
    Engine::start(&options, |_| {
        Endpoint::new(EndpointOptions {
            node: identity.node_id(),
            boot_epoch: u128::from_le_bytes(random_bytes()),
            random: Box::new(|| u128::from_le_bytes(random_bytes())),
            unix_ms: Box::new(|_| unix_ms()),
            verifier: identity.clone(),
            sessions: SessionLimits::default(),
            client: ClientOptions::default(),
        })
    })
    .unwrap()
}

/// Not a test: the exporting process. It says where it listens, answers questions line by line, and ends with its input.
#[test]
#[ignore = "is run by the soak as a process of its own"]
fn serve() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let identity = NodeIdentity::open(IdentityOptions::new(folder.join("server"))).unwrap();
    let listen = std::env::var(ADDRESS).unwrap().parse().unwrap();
    let engine = engine(&identity, Some(listen));
    // In a file: what was added outlives the process that was killed.
    let file = MappedFile::open(&folder.join("region"), REGION, REGION).unwrap();
    let region: Arc<dyn Region> = Arc::new(SharedRegion::new(file, 1));
    engine.with(|endpoint, _| {
        let rights = RangeRights::uniform(Rights::ALL);
        endpoint
            .exports()
            .export("soak", region.clone(), rights)
            .unwrap();
        let exports = endpoint.exports();
        exports.set_compression("soak", Compression::Lz4).unwrap();
    });
    println!("part: {}", engine.local_address());
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let answer = match line.split_once(' ') {
            Some(("grant", holder)) => {
                let slice = Slice {
                    holder: holder.parse::<NodeId>().unwrap().0,
                    offset: 0,
                    length: REGION,
                    rights: Rights::ALL,
                    expires_unix_ms: unix_ms() + 86_400_000,
                };
                let nonce = random_bytes();
                let grant = engine.with(|endpoint, io| {
                    let moment = endpoint.moment(io.now());
                    endpoint
                        .exports()
                        .issue(&*identity, "soak", slice, nonce, moment)
                });
                hex(grant.unwrap().bytes())
            }
            Some(("word", offset)) => region.load(offset.parse().unwrap()).unwrap().to_string(),
            _ => engine.stats().peers.to_string(),
        };
        println!("part: {answer}");
    }
    engine.close(Duration::from_secs(10));
    println!("part: closed");
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory takes it");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The exporting process, from outside.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path, listen: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .env(ADDRESS, listen.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self {
            child,
            input,
            output,
            address: listen,
        };
        server.address = server.line().parse().unwrap();
        server
    }

    fn line(&mut self) -> String {
        for line in (&mut self.output).lines() {
            let line = line.unwrap();
            if let Some(said) = line.split("part: ").nth(1) {
                return said.to_owned();
            }
        }
        panic!("the exporting process ended without a word")
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{question}").unwrap();
        self.line()
    }

    fn process(&self) -> String {
        self.child.id().to_string()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end by itself.
    fn close(mut self) {
        drop(self.input.take());
        assert_eq!(self.line(), "closed");
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "it ended with {ended}");
    }
}

/// What the cells of one client must hold in the end.
#[derive(Default)]
struct Counted {
    acknowledged: u64,
    unknown: u64,
}

struct Client {
    engine: Engine<Endpoint>,
    proxy: Proxy,
    grant: Vec<u8>,
    remote: Option<RemoteId>,
    is_importing: bool,
    random: Random,
    page: u64,
    under_way: usize,
    adds: Counted,
    done: u64,
    failed: u64,
    transfers: u64,
    /// Where transfers go to and come from.
    local: Arc<dyn Region>,
}

/// What a token says of its operation.
const ADD: u64 = 1 << 20;
const IMPORT: u64 = 2 << 20;
const OTHER: u64 = 3 << 20;
const BULK: u64 = 4 << 20;

impl Client {
    fn submit(&mut self) {
        let Some(remote) = self.remote else {
            if !self.is_importing {
                let grant = self.grant.clone();
                let asked = self
                    .engine
                    .with(|endpoint, io| endpoint.import(io, &grant, IMPORT));
                self.is_importing = asked.is_ok();
            }
            return;
        };
        while self.under_way < DEPTH {
            let deadline = Some(Instant::now() + PATIENCE);
            if self.random.one_in(400) {
                self.transfer(remote, deadline);
                continue;
            }
            let place = self.page + 64 + 8 * self.random.below(400) as u64;
            let data = self.random.next().to_le_bytes();
            let (operation, token) = match self.random.below(4) {
                0 => (
                    Operation::Read {
                        offset: place,
                        length: 64,
                    },
                    OTHER,
                ),
                1 => (
                    Operation::Write {
                        offset: place,
                        data: &data,
                    },
                    OTHER,
                ),
                2 => (
                    Operation::CompareSwap {
                        offset: self.page + 8,
                        expected: 0,
                        desired: 0,
                    },
                    OTHER,
                ),
                _ => (
                    Operation::FetchAdd {
                        offset: self.page,
                        operand: 1,
                    },
                    ADD,
                ),
            };
            let call = Call {
                remote,
                operation,
                fence: self.random.one_in(20),
                deadline,
                token,
            };
            let taken = self
                .engine
                .with(|endpoint, io| endpoint.submit(&call, io.now()));
            if taken.is_err() {
                // Full for the moment.
                break;
            }
            self.under_way += 1;
        }
        self.engine.with(Endpoint::flush);
    }

    fn transfer(&mut self, remote: RemoteId, deadline: Option<Instant>) {
        let transfer = Transfer {
            remote,
            offset: TRANSFERS + TRANSFER * self.random.below(8) as u64,
            memory: Access::whole(self.local.clone()),
            is_write: self.random.one_in(2),
            options: Options {
                integrity: true,
                compress: self.random.one_in(2),
            },
            deadline,
            token: BULK,
        };
        let begun = self
            .engine
            .with(|endpoint, io| endpoint.transfer(io, transfer));
        self.under_way += usize::from(begun.is_ok());
    }

    fn drain(&mut self) {
        let mut lease = self.engine.lease();
        let (adds, mut ended) = (&mut self.adds, 0);
        let (done, failed, transfers) = (&mut self.done, &mut self.failed, &mut self.transfers);
        let (remote, is_importing) = (&mut self.remote, &mut self.is_importing);
        lease.application().drain(0, |one| {
            match one.result {
                DrainedResult::Success(success) => {
                    ended += 1;
                    *done += 1;
                    *transfers += u64::from(one.token == BULK);
                    if one.token == ADD {
                        assert!(matches!(success, Success::Value(_)));
                        adds.acknowledged += 1;
                    }
                }
                DrainedResult::Failed(error) => {
                    ended += 1;
                    *failed += 1;
                    adds.unknown +=
                        u64::from(one.token == ADD && error.outcome == Outcome::Unknown);
                }
                DrainedResult::TransferFailed(_) => {
                    ended += 1;
                    *failed += 1;
                }
                DrainedResult::Imported(imported, _) => {
                    *remote = Some(imported);
                    *is_importing = false;
                }
                DrainedResult::ImportFailed(_) => *is_importing = false,
                _ => {}
            }
            true
        });
        drop(lease);
        self.engine.release();
        self.under_way -= ended;
    }

    /// Whether all its connections stand and its import is good.
    fn is_whole(&self, wanted: usize) -> bool {
        self.remote.is_some() && self.engine.with(|_, io| io.peers().count()) == wanted
    }
}

fn member(issuer: &Engine<Endpoint>, identity: &NodeIdentity, folder: &Path) -> Arc<NodeIdentity> {
    let token = identity.invite("", 600).unwrap();
    let joining = Joining::new(&token.to_text(), IdentityOptions::new(folder)).unwrap();
    join(&issuer.local_address().to_string(), joining, LONG).unwrap()
}

fn client(identity: &Arc<NodeIdentity>, server: &mut Server, at: usize, targets: usize) -> Client {
    let grant = unhex(&server.ask(&format!("grant {}", identity.node_id())));
    let proxies_seed = at as u64 + 1;
    let engine = engine(identity, None);
    let proxy = Proxy::start(server.address, proxies_seed, weather());
    let pages = PagesOptions {
        length: TRANSFER,
        capacity: TRANSFER,
        huge: false,
    };
    engine.with(|_, io| {
        for _ in 0..targets {
            let target = Target {
                connections: PER_TARGET as u8,
                ..Target::at(proxy.address)
            };
            io.connect(target).unwrap();
        }
    });
    Client {
        engine,
        proxy,
        grant,
        remote: None,
        is_importing: false,
        random: Random(proxies_seed),
        page: PAGE * at as u64,
        under_way: 0,
        adds: Counted::default(),
        done: 0,
        failed: 0,
        transfers: 0,
        local: Arc::new(SharedRegion::new(Pages::new(pages).unwrap(), 1)),
    }
}

/// Lets every client work until `until` says so.
fn work(clients: &mut [Client], submit: bool, mut until: impl FnMut(&[Client]) -> bool) {
    loop {
        for client in &mut *clients {
            if submit {
                client.submit();
            }
            client.drain();
        }
        if until(clients) {
            return;
        }
        // The engines have threads of their own; this one leaves them the core.
        std::thread::yield_now();
    }
}

/// What descriptors and threads there are, here and in the exporting process.
fn held(server: &Server) -> [usize; 3] {
    let other = count(&server.process(), "fd");
    [count("self", "fd"), count("self", "task"), other]
}

/// Works until `end`, and kills the exporting process whenever everybody has come back to it. How often that was.
fn endure(
    clients: &mut [Client],
    server: &mut Option<Server>,
    folder: &Path,
    wanted: usize,
    end: Instant,
) -> (u32, Memory) {
    let (mut kills, mut memory) = (0, Memory::default());
    let (mut next_kill, mut next_sample) = (Instant::now() + KILLS_EVERY, Instant::now());
    while Instant::now() < end {
        work(clients, true, |_| Instant::now() >= next_sample);
        next_sample = Instant::now() + SAMPLES_EVERY;
        memory.0.push(resident("self"));
        let is_whole = clients.iter().all(|client| client.is_whole(wanted));
        // The next kill finds as much to break as the last.
        if is_whole && Instant::now() >= next_kill && Instant::now() + KILLS_EVERY < end {
            let old = server.take().expect("between two kills there is one");
            let address = old.address;
            old.kill();
            *server = Some(Server::start(folder, address));
            kills += 1;
            next_kill = Instant::now() + KILLS_EVERY;
        }
    }
    (kills, memory)
}

/// Each add that was acknowledged was done once, each unknown one once or not at all.
fn check_adds(clients: &[Client], server: &mut Server) {
    for (at, client) in clients.iter().enumerate() {
        let held: u64 = server
            .ask(&format!("word {}", client.page))
            .parse()
            .unwrap();
        let Counted {
            acknowledged,
            unknown,
        } = client.adds;
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&held),
            "client {at}: {acknowledged} adds acknowledged, {unknown} unknown, {held} done"
        );
    }
}

#[test]
fn soak() {
    let Some(minutes) = number("LINKMESH_SOAK_MINUTES") else {
        eprintln!("skipped: npm run soak -- --minutes 30");
        return;
    };
    let connections = number("LINKMESH_SOAK_CONNECTIONS").map_or(1000, |count| count as usize);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let baseline = (count("self", "fd"), count("self", "task"));
    let options = IdentityOptions::new(place.join("server"));
    let identity = NodeIdentity::open_or_create(options, "soak").unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let issuer = engine(&identity, Some(any));
    let members: Vec<_> = (0..CLIENTS)
        .map(|at| member(&issuer, &identity, &place.join(format!("client-{at}"))))
        .collect();
    drop(issuer);
    drop(identity);

    let mut first = Server::start(place, any);
    let targets = (connections / CLIENTS).div_ceil(PER_TARGET).max(1);
    let wanted = targets * PER_TARGET;
    let mut clients: Vec<Client> = members
        .iter()
        .enumerate()
        .map(|(at, identity)| client(identity, &mut first, at, targets))
        .collect();
    let whole = |clients: &[Client]| clients.iter().all(|client| client.is_whole(wanted));
    let since = Instant::now();
    work(&mut clients, true, |clients| {
        assert!(since.elapsed() < 2 * LONG, "not all connected");
        whole(clients)
    });
    println!(
        "{} connections of {CLIENTS} nodes after {:.1} s",
        first.ask("peers"),
        since.elapsed().as_secs_f64()
    );
    let settled = held(&first);

    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut server = Some(first);
    let (kills, memory) = endure(&mut clients, &mut server, place, wanted, end);
    let mut server = server.expect("killed and started again");
    work(&mut clients, false, |clients| {
        assert!(Instant::now() < end + LONG, "operations that never end");
        clients.iter().all(|client| client.under_way == 0)
    });
    let since = Instant::now();
    work(&mut clients, false, |clients| {
        assert!(since.elapsed() < 2 * LONG, "not all are back");
        whole(clients)
    });
    check_adds(&clients, &mut server);
    assert_eq!(
        held(&server),
        settled,
        "descriptors, threads, descriptors there"
    );
    let sum = |of: fn(&Client) -> u64| clients.iter().map(of).sum::<u64>();
    assert!(clients.iter().all(|client| client.done > 0));
    println!(
        "{} operations, {} failed, {} transfers, {} adds acknowledged, {} unknown, {kills} kills, {} datagrams",
        sum(|client| client.done),
        sum(|client| client.failed),
        sum(|client| client.transfers),
        sum(|client| client.adds.acknowledged),
        sum(|client| client.adds.unknown),
        sum(|client| client.proxy.carried.load(Ordering::Relaxed)),
    );
    println!("{}", memory.check("resident memory"));
    for client in clients {
        let in_time = client.engine.close(Duration::from_secs(10));
        assert!(in_time, "a goodbye that took too long");
    }
    server.close();
    drop(members);
    let left = (count("self", "fd"), count("self", "task"));
    assert_eq!(left, baseline, "left behind");
    println!("clean exit: {left:?} descriptors and threads as before");
}
