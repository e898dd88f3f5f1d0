//! The whole way: two nodes of one network over QUIC find that one kernel runs both, and remote memory becomes memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use linkmesh_memory::{
    client::{ClientOptions, Success},
    endpoint::{Call, DrainedResult, Endpoint, EndpointOptions, RemoteId},
    frame::Operation,
    grant::{Refused, Signer, Slice, Verifier},
    host::{Import, MappedError, SameHost, SharedObject, Sharing},
    region::{AccessError, RangeRights, Region, Rights, SharedRegion},
    session::SessionLimits,
};
use linkmesh_transport::{
    core::{Authenticator, Target},
    engine::{Engine, EngineOptions},
    identity::{IdentityOptions, Joining, NodeIdentity, exchange},
};

use crate::events::{LONG, options};

/// Signs grants by a hash; who may sign is not what is tested here.
struct Hash([u8; 32]);

impl Signer for Hash {
    fn node_id(&self) -> [u8; 32] {
        self.0
    }
    fn credential(&self) -> Vec<u8> {
        Vec::new()
    }
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        Ok(blake3::hash(message).as_bytes().to_vec())
    }
}

impl Verifier for Hash {
    fn verify(&self, _: &[u8; 32], _: &[u8], message: &[u8], sign: &[u8]) -> Result<(), Refused> {
        let reason = "not the hash".into();
        if sign == blake3::hash(message).as_bytes() {
            Ok(())
        } else {
            Err(Refused { reason })
        }
    }
}

struct Node {
    id: [u8; 32],
    engine: Engine<Endpoint>,
    same_host: Arc<SameHost>,
}

/// So that no two have the same nonce.
static GRANTS: AtomicU64 = AtomicU64::new(0);

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

impl Node {
    fn start(identity: &Arc<NodeIdentity>, listen: Option<&str>) -> Self {
        let id = identity.node_id();
        let same_host = Arc::new(SameHost::open(options()).unwrap());
        let authenticator: Arc<dyn Authenticator> = identity.clone();
        let listen = listen.map(|address| address.parse().unwrap());
        let engine = Engine::start(&EngineOptions::new(listen, authenticator), {
            let mut session = u128::from_le_bytes(id.0[..16].try_into().unwrap());
            let mut endpoint = Endpoint::new(EndpointOptions {
                node: id,
                boot_epoch: 1,
                random: Box::new(move || {
                    session += 1;
                    session
                }),
                unix_ms: Box::new(|_| unix_ms()),
                verifier: Arc::new(Hash(id.0)),
                sessions: SessionLimits::default(),
                client: ClientOptions::default(),
            });
            endpoint.use_same_host(Arc::clone(&same_host));
            endpoint
        });
        Self {
            id: id.0,
            engine: engine.unwrap(),
            same_host,
        }
    }

    fn export(&self, name: &str, region: &Arc<dyn Region>) {
        let rights = RangeRights::uniform(Rights::ALL);
        self.engine
            .with(|endpoint, _| endpoint.exports().export(name, region.clone(), rights))
            .unwrap();
    }

    /// A grant over the first `length` bytes of `name`.
    fn grant(&self, name: &str, holder: &Self, length: u64) -> Vec<u8> {
        let slice = Slice {
            holder: holder.id,
            offset: 0,
            length,
            rights: Rights::ALL,
            expires_unix_ms: unix_ms() + 60_000,
        };
        let issued = self.engine.with(|endpoint, io| {
            let now = endpoint.moment(io.now());
            let number = GRANTS.fetch_add(1, Ordering::Relaxed);
            let nonce = u128::from(number).to_le_bytes();
            let signer = Hash(self.id);
            endpoint.exports().issue(&signer, name, slice, nonce, now)
        });
        issued.unwrap().bytes().to_vec()
    }

    fn import(&self, grant: &[u8]) -> (RemoteId, Option<Arc<Import>>) {
        self.engine
            .with(|endpoint, io| endpoint.import(io, grant, 7))
            .unwrap();
        let mut found = None;
        let imported = self.engine.lease().spin(LONG, |endpoint| {
            endpoint.drain(0, |drained| {
                match drained.result {
                    DrainedResult::Imported(remote, _) => found = Some(remote),
                    other => panic!("{other:?}"),
                }
                true
            });
            found.is_some()
        });
        assert!(imported, "no answer to the grant");
        let remote = found.unwrap();
        let mapped = self.engine.with(|endpoint, _| endpoint.mapped(remote));
        (remote, mapped)
    }

    /// A fetch-and-add over the connection.
    fn add(&self, remote: RemoteId, operand: u64) -> u64 {
        self.engine.with(|endpoint, io| {
            let operation = Operation::FetchAdd { offset: 8, operand };
            let call = Call {
                remote,
                operation,
                fence: false,
                deadline: None,
                token: 9,
            };
            endpoint.submit(&call, io.now()).unwrap();
            endpoint.flush(io);
        });
        let mut value = None;
        self.engine.lease().spin(LONG, |endpoint| {
            endpoint.drain(0, |drained| {
                match drained.result {
                    DrainedResult::Success(Success::Value(before)) => value = Some(before),
                    other => panic!("{other:?}"),
                }
                true
            });
            value.is_some()
        });
        value.expect("an answer")
    }
}

/// Two nodes of one network, the second one connected to the first.
fn nodes(folder: &std::path::Path) -> (Node, Node) {
    let first = IdentityOptions::new(folder.join("server"));
    let identity = NodeIdentity::open_or_create(first, "test").unwrap();
    let server = Node::start(&identity, Some("127.0.0.1:0"));
    let token = identity.invite("client", 60).unwrap().to_text();
    let joining = Joining::new(&token, IdentityOptions::new(folder.join("client"))).unwrap();
    let address = server.engine.local_address();
    let identity = exchange::join(&address.to_string(), joining, LONG).unwrap();
    let client = Node::start(&identity, None);
    client
        .engine
        .with(|_, io| io.connect(Target::at(address)))
        .unwrap();
    (server, client)
}

fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
}

fn shared(len: usize) -> Arc<dyn Region> {
    let object = SharedObject::create(len, Sharing::ReadWrite).unwrap();
    Arc::new(SharedRegion::new(Arc::new(object), 1))
}

#[test]
fn an_imported_region_is_mapped_and_both_ways_reach_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = nodes(folder.path());
    let region = shared(4096);
    server.export("scores", &region);
    let (remote, import) = client.import(&server.grant("scores", &client, 4096));
    let import = import.expect("peers of one host");
    until(|| import.region().is_some());
    let mapped = import.region().unwrap();

    region.write(64, b"from the exporter").unwrap();
    let mut bytes = [0; 17];
    mapped.read(64, &mut bytes).unwrap();
    assert_eq!(&bytes, b"from the exporter");
    // Adds of this process through the mapping, of the other over the connection, and of the exporter itself.
    let mut sum = 0;
    for operand in 1..=20 {
        assert_eq!(mapped.fetch_add(8, operand), Ok(sum));
        assert_eq!(client.add(remote, operand), sum + operand);
        assert_eq!(region.fetch_add(8, operand), Ok(sum + 2 * operand));
        sum += 3 * operand;
    }

    let revoked = server
        .engine
        .with(|endpoint, io| endpoint.revoke_region(io, "scores"));
    assert_eq!(revoked, Ok(1));
    let refused = mapped.fetch_add(8, 1);
    assert_eq!(refused, Err(MappedError::Access(AccessError::Revoked)));
}

#[test]
fn a_grant_over_a_part_stays_on_quic_and_works_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = nodes(folder.path());
    let (region, whole) = (shared(8192), shared(4096));
    server.export("part", &region);
    server.export("whole", &whole);
    let (remote, part) = client.import(&server.grant("part", &client, 4096));
    assert_eq!(client.add(remote, 5), 0);
    assert_eq!(region.load(8), Ok(5));
    // What comes after it on the same link is there, so the part will not come.
    let (_, import) = client.import(&server.grant("whole", &client, 4096));
    let import = import.unwrap();
    until(|| import.region().is_some());
    assert!(part.unwrap().region().is_none());
    assert_eq!(server.same_host.counts().offered, 1);
}

#[test]
fn the_mapping_ends_with_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = nodes(folder.path());
    server.export("scores", &shared(4096));
    let (_, import) = client.import(&server.grant("scores", &client, 4096));
    let import = import.unwrap();
    until(|| import.region().is_some());
    assert_eq!(import.region().unwrap().load(0), Ok(0));
    server.engine.close(Duration::from_secs(1));
    until(|| import.region().unwrap().load(0).is_err());
}
