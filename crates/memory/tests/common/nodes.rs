//! Two nodes of one network: real identities, real engines, real sockets of this machine.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use linkmesh_memory::{
    client::{ClientOptions, OperationError, Success},
    endpoint::{Call, CallError, DrainedResult, Endpoint, EndpointOptions, RemoteId},
    frame::{Imported, Operation},
    grant::{Grant, Slice},
    region::{RangeRights, Region, Rights},
    session::SessionLimits,
};
use linkmesh_transport::{
    core::{Io, Target},
    engine::{Engine, EngineOptions},
    identity::{IdentityOptions, Joining, NodeIdentity, exchange::join},
};

use super::{pair::Heard, random::Random};

pub const LONG: Duration = Duration::from_secs(30);
/// For something to complete. At 30 % loss and with clients that move in the middle, most handshakes run into their time limit.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often a wait looks up.
const PIECE: Duration = Duration::from_millis(5);

/// Who a node is; it signs and checks grants.
#[derive(Clone)]
pub struct Member(pub Arc<NodeIdentity>);

pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

/// What completed, with its token.
pub type Ended = (u64, Result<Heard, OperationError>);

struct Next {
    token: u64,
    result: Result<Heard, OperationError>,
    imported: Option<(RemoteId, Imported)>,
    refused: Option<String>,
}

pub struct Node {
    pub member: Member,
    pub engine: Engine<Endpoint>,
    tokens: u64,
}

/// What runs on a node's engine. `began` is one moment by both clocks.
pub fn endpoint(
    member: &Member,
    mut number: impl FnMut() -> u128 + Clone + Send + 'static,
    began: (Instant, u64),
    sessions: SessionLimits,
) -> Endpoint {
    Endpoint::new(EndpointOptions {
        node: member.0.node_id(),
        boot_epoch: number(),
        random: Box::new(number.clone()),
        unix_ms: Box::new(move |now| began.1 + (now - began.0).as_millis() as u64),
        verifier: member.0.clone(),
        sessions,
        client: ClientOptions::default(),
    })
}

/// `LINKMESH_ENGINE_THREADS` for nodes that listen, else one.
fn engine_threads(listens: bool) -> u8 {
    let given = std::env::var("LINKMESH_ENGINE_THREADS").ok();
    let given = given.map(|text| text.parse().expect("LINKMESH_ENGINE_THREADS"));
    given.filter(|_| listens).unwrap_or(1)
}

impl Node {
    pub fn start(member: &Member, listen: Option<SocketAddr>, seed: u64) -> Self {
        Self::start_with(member, listen, seed, SessionLimits::default())
    }

    pub fn start_with(
        member: &Member,
        listen: Option<SocketAddr>,
        seed: u64,
        sessions: SessionLimits,
    ) -> Self {
        let mut random = Random(seed);
        let number = move || u128::from(random.next()) << 64 | u128::from(random.next());
        let mut options = EngineOptions::new(listen, member.0.clone());
        options.limits.idle_timeout = Duration::from_secs(2);
        options.limits.keep_alive = Some(Duration::from_millis(500));
        options.threads = engine_threads(listen.is_some());
        let began = (Instant::now(), unix_ms());
        let engine = Engine::start(&options, endpoint(member, number, began, sessions));
        Self {
            member: member.clone(),
            engine: engine.unwrap(),
            tokens: 0,
        }
    }

    pub fn export(&self, name: &str, region: Arc<dyn Region>) {
        self.engine.with(|endpoint, _| {
            endpoint
                .exports()
                .export(name, region, RangeRights::uniform(Rights::ALL))
                .unwrap();
        });
    }

    pub fn grant(&self, name: &str, holder: &Member, length: u64, rights: Rights) -> Grant {
        static GRANTS: AtomicU64 = AtomicU64::new(1);
        let nonce = u128::from(GRANTS.fetch_add(1, Ordering::Relaxed));
        let slice = Slice {
            holder: holder.0.node_id().0,
            offset: 0,
            length,
            rights,
            expires_unix_ms: unix_ms() + 600_000,
        };
        self.engine.with(|endpoint, io| {
            let moment = endpoint.moment(io.now());
            endpoint
                .exports()
                .issue(&*self.member.0, name, slice, nonce.to_le_bytes(), moment)
                .unwrap()
        })
    }

    pub fn connect(&self, address: SocketAddr) {
        self.engine
            .with(|_, io| io.connect(Target::at(address)))
            .unwrap();
    }

    /// Drives the engine until something completed.
    fn next(&self) -> Vec<Next> {
        let mut lease = self.engine.lease();
        // In pieces: what completes by its deadline comes without a packet. Pieces are counted, not the time: a process that is
        // stopped for a while has not waited.
        let mut pieces = PATIENCE.as_millis() / PIECE.as_millis();
        while !lease.spin(PIECE, |endpoint| endpoint.has_completed(0)) {
            pieces -= 1;
            assert!(pieces > 0, "nothing completed");
        }
        let mut seen = Vec::new();
        lease.application().drain(0, |one| {
            let (mut result, mut imported, mut refused) = (Ok(Heard::Done), None, None);
            match one.result {
                DrainedResult::Success(Success::Done) => {}
                DrainedResult::Success(Success::Value(value)) => result = Ok(Heard::Value(value)),
                DrainedResult::Success(Success::Bytes(bytes)) => {
                    result = Ok(Heard::Bytes(bytes.to_vec()));
                }
                DrainedResult::Success(Success::Versioned {
                    before,
                    after,
                    bytes,
                }) => {
                    result = Ok(Heard::Versioned(before, after, bytes.to_vec()));
                }
                DrainedResult::Failed(error) => result = Err(error),
                DrainedResult::Imported(remote, what) => imported = Some((remote, what)),
                DrainedResult::ImportFailed(error) => refused = Some(error.to_string()),
                _ => return true,
            }
            seen.push(Next {
                token: one.token,
                result,
                imported,
                refused,
            });
            true
        });
        seen
    }

    /// Presents a grant and waits for the answer.
    pub fn import(&mut self, grant: &Grant) -> Result<(RemoteId, Imported), String> {
        self.import_by(|endpoint, io, token| endpoint.import(io, grant.bytes(), token).unwrap())
    }

    /// As `import`, however it is presented.
    pub fn import_by(
        &mut self,
        present: impl FnOnce(&mut Endpoint, &mut Io<'_>, u64),
    ) -> Result<(RemoteId, Imported), String> {
        self.tokens += 1;
        let token = self.tokens;
        self.engine
            .with(|endpoint, io| present(endpoint, io, token));
        loop {
            if let Some(one) = self.next().into_iter().find(|one| one.token == token) {
                return one
                    .imported
                    .ok_or_else(|| one.refused.expect("imported or not"));
            }
        }
    }

    /// Takes an operation and sends it.
    pub fn submit(&mut self, remote: RemoteId, operation: Operation<'_>) -> Result<u64, CallError> {
        self.submit_until(remote, operation, None)
    }

    /// As `submit`, with a deadline.
    pub fn submit_until(
        &mut self,
        remote: RemoteId,
        operation: Operation<'_>,
        deadline: Option<Instant>,
    ) -> Result<u64, CallError> {
        self.tokens += 1;
        let token = self.tokens;
        let call = Call {
            remote,
            operation,
            fence: false,
            deadline,
            token,
        };
        self.engine.with(|endpoint, io| {
            endpoint.submit(&call, io.now())?;
            endpoint.flush(io);
            Ok(token)
        })
    }

    /// Waits for something to complete.
    pub fn completed(&self) -> Vec<Ended> {
        self.next()
            .into_iter()
            .map(|one| (one.token, one.result))
            .collect()
    }

    /// One operation, there and back.
    pub fn ask(
        &mut self,
        remote: RemoteId,
        operation: Operation<'_>,
    ) -> Result<Heard, OperationError> {
        let token = self.submit(remote, operation).unwrap();
        loop {
            if let Some((_, result)) = self.completed().into_iter().find(|one| one.0 == token) {
                return result;
            }
        }
    }

    /// Ends every connection, as if the network had.
    pub fn cut(&self) {
        self.engine.with(|_, io| {
            for (peer, _) in io.peers() {
                io.close(peer, 300);
            }
        });
    }
}

/// A network with two members, made as users make one: the first invites, the second joins with the token.
pub struct Network {
    pub server: Member,
    pub client: Member,
    _folders: Vec<tempfile::TempDir>,
}

/// A network of so many members.
pub fn members(count: usize) -> (Vec<Member>, Vec<tempfile::TempDir>) {
    let folders: Vec<_> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
    let first =
        NodeIdentity::open_or_create(IdentityOptions::new(folders[0].path()), "memory-test");
    let mut members = vec![Member(first.unwrap())];
    let issuer = Node::start(&members[0], Some("127.0.0.1:0".parse().unwrap()), 1);
    let address = issuer.engine.local_address().to_string();
    for folder in &folders[1..] {
        let token = members[0].0.invite("", 60).unwrap();
        let joining = Joining::new(&token.to_text(), IdentityOptions::new(folder.path())).unwrap();
        members.push(Member(join(&address, joining, LONG).unwrap()));
    }
    (members, folders)
}

impl Network {
    pub fn new() -> Self {
        let (mut members, folders) = members(2);
        let (Some(client), Some(server)) = (members.pop(), members.pop()) else {
            unreachable!("two were asked for");
        };
        Self {
            server,
            client,
            _folders: folders,
        }
    }
}
