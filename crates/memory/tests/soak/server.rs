//! The exporting process: from inside, and as the soak sees it.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use linkmesh_memory::{
    client::ClientOptions,
    compress::Compression,
    endpoint::{Endpoint, EndpointOptions},
    grant::Slice,
    region::{MappedFile, RangeRights, Region, Rights, SharedRegion},
    session::SessionLimits,
};
use linkmesh_transport::{
    core::NodeId,
    engine::{Engine, EngineOptions, LatencyMode},
    identity::{IdentityOptions, NodeIdentity, random_bytes},
};

use crate::{REGION, common::nodes::unix_ms, process::count};

const FOLDER: &str = "LINKMESH_SOAK_FOLDER";
const ADDRESS: &str = "LINKMESH_SOAK_ADDRESS";

/// An engine for as many connections as there are, which notices quickly that a node is gone.
pub fn engine(identity: &Arc<NodeIdentity>, listen: Option<SocketAddr>) -> Engine<Endpoint> {
    let mut options = EngineOptions::new(listen, identity.clone());
    options.latency = LatencyMode::Block;
    options.limits.connections_per_node = 1000;
    options.limits.handshakes = 512;
    options.limits.handshakes_per_second = 1000;
    options.limits.idle_timeout = Duration::from_secs(8);
    options.limits.keep_alive = Some(Duration::from_secs(3));
    Engine::start(&options, {
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
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(folder: &Path, listen: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["server::serve", "--exact", "--ignored", "--nocapture"])
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

    pub fn ask(&mut self, question: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{question}").unwrap();
        self.line()
    }

    /// A grant over the whole region for this node.
    pub fn grant(&mut self, holder: NodeId) -> Vec<u8> {
        unhex(&self.ask(&format!("grant {holder}")))
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> usize {
        count(&self.child.id().to_string(), "fd")
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end by itself.
    pub fn close(mut self) {
        drop(self.input.take());
        assert_eq!(self.line(), "closed");
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "it ended with {ended}");
    }
}
