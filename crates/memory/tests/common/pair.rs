//! A client and a server with nothing between them.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use linkmesh_memory::{
    client::{
        Client, ClientOptions, Completion, Completions, ImportError, OperationError, Submission,
        SubmitError, Success,
    },
    compress::Compression,
    frame::{ImportRefusal, Imported, Operation},
    region::{Access, HeapRegion, Region, Rights},
    server::{Grants, ServerConnection},
    session::{SessionLimits, Sessions},
};
use linkmesh_transport::core::NodeId;

/// The slice begins here in the region.
pub const BASE: u64 = 64;

/// What a caller hears, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Done,
    Value(u64),
    Bytes(Vec<u8>),
    Versioned(u64, u64, Vec<u8>),
}

#[derive(Default)]
pub struct Ended {
    pub count: usize,
    /// Keep what is heard; off, so that counting allocates nothing.
    pub is_kept: bool,
    pub heard: Vec<(u64, Result<Heard, OperationError>)>,
    pub imported: Vec<(u16, Result<Imported, ImportError>)>,
    pub revoked: Vec<u16>,
}

impl Completions for Ended {
    fn completed(&mut self, completion: Completion<'_>) {
        self.count += 1;
        if self.is_kept {
            let result = completion.result.map(|success| match success {
                Success::Done => Heard::Done,
                Success::Value(value) => Heard::Value(value),
                Success::Bytes(bytes) => Heard::Bytes(bytes.to_vec()),
                Success::Versioned {
                    before,
                    after,
                    bytes,
                } => Heard::Versioned(before, after, bytes.to_vec()),
            });
            self.heard.push((completion.token, result));
        }
    }

    fn imported(&mut self, handle: u16, _: u64, result: Result<Imported, ImportError>) {
        self.imported.push((handle, result));
    }

    fn revoked(&mut self, handle: u16) {
        self.revoked.push(handle);
    }
}

/// Opens one slice, whatever is presented.
pub struct Slice {
    pub access: Access,
    pub refuse: Option<ImportRefusal>,
}

impl Grants for Slice {
    fn open(&mut self, _: &NodeId, _: &[u8], _: Instant) -> Result<Access, ImportRefusal> {
        self.refuse.map_or_else(|| Ok(self.access.clone()), Err)
    }
}

pub struct Pair {
    pub region: Arc<HeapRegion>,
    pub grants: Slice,
    pub sessions: Sessions,
    pub connection: ServerConnection,
    pub client: Client,
    pub handle: u16,
    pub ended: Ended,
    pub tokens: u64,
}

impl Pair {
    /// A client with a grant of `length` bytes; the region has 64 more on both sides.
    pub fn new(length: u64, rights: Rights) -> Self {
        let region = Arc::new(HeapRegion::new((BASE * 2 + length) as usize, 1));
        let access = Access {
            region: region.clone(),
            epoch: 1,
            base: BASE,
            length,
            rights,
            expires: Some(Instant::now() + Duration::from_secs(3600)),
            revoked: Arc::new(AtomicBool::new(false)),
            compression: Compression::None,
        };
        let options = ClientOptions {
            lanes: 2,
            ..ClientOptions::default()
        };
        let mut pair = Self {
            region,
            grants: Slice {
                access,
                refuse: None,
            },
            sessions: Sessions::new(1, SessionLimits::default()),
            connection: ServerConnection::new(NodeId([1; 32]), 2),
            client: Client::new(1, options),
            handle: 0,
            ended: Ended::default(),
            tokens: 0,
        };
        pair.handle = pair.client.import(b"grant", 0).unwrap();
        pair.client.connected();
        pair.exchange(Instant::now());
        assert!(pair.client.is_ready());
        pair
    }

    pub fn submit(&mut self, operation: Operation<'_>, now: Instant) -> Result<u64, SubmitError> {
        self.submit_fenced(operation, false, now)
    }

    pub fn submit_fenced(
        &mut self,
        operation: Operation<'_>,
        fence: bool,
        now: Instant,
    ) -> Result<u64, SubmitError> {
        self.tokens += 1;
        let (handle, token) = (self.handle, self.tokens);
        self.client.submit(
            &Submission {
                handle,
                operation,
                fence,
                deadline: None,
                token,
            },
            now,
        )
    }

    /// Everything that can cross does, both ways, until nothing is left.
    pub fn exchange(&mut self, now: Instant) {
        loop {
            self.client.flush();
            let mut moved = false;
            let output = self.client.control_output();
            moved |= !output.is_empty();
            self.connection
                .receive_control(&mut self.sessions, &mut self.grants, output.as_slice(), now)
                .unwrap();
            output.consume(output.len());
            for lane in 0..self.client.lanes() {
                let output = self.client.output(lane);
                if !output.is_empty() {
                    moved = true;
                    self.connection
                        .receive(&mut self.sessions, lane, output.as_slice(), now)
                        .unwrap();
                    output.consume(output.len());
                }
            }
            let output = self.connection.control_output();
            moved |= !output.is_empty();
            self.client
                .receive_control(output.as_slice(), &mut self.ended)
                .unwrap();
            output.consume(output.len());
            for lane in 0..self.client.lanes() {
                let output = self.connection.output(lane);
                if !output.is_empty() {
                    moved = true;
                    self.client
                        .receive(lane, output.as_slice(), &mut self.ended)
                        .unwrap();
                    output.consume(output.len());
                }
            }
            self.connection.resume(&mut self.sessions, now).unwrap();
            if !moved {
                return;
            }
        }
    }

    /// One operation, there and back.
    pub fn ask(&mut self, operation: Operation<'_>, now: Instant) -> Result<Heard, OperationError> {
        self.ended.is_kept = true;
        self.submit(operation, now).unwrap();
        self.exchange(now);
        self.ended.heard.pop().expect("an answer").1
    }

    /// The connection dies with all that is on its way, and another one attaches.
    pub fn reconnect(&mut self, now: Instant) {
        self.connection.disconnected(&mut self.sessions, now);
        self.connection = ServerConnection::new(NodeId([1; 32]), 2);
        self.client.disconnected();
        self.client.connected();
    }

    pub fn word(&self, offset: u64) -> u64 {
        self.region.load(BASE + offset).unwrap()
    }
}
