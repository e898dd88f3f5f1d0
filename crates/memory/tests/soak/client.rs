//! A node that uses the region over many connections, and counts what it was told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use linkmesh_memory::{
    bulk::Options,
    client::{Outcome, Success},
    endpoint::{Call, DrainedResult, Endpoint, RemoteId, Transfer},
    frame::Operation,
    region::{Access, Pages, PagesOptions, Region, SharedRegion},
};
use linkmesh_transport::{core::Target, engine::Engine, identity::NodeIdentity};

use crate::{
    PAGE, PER_TARGET, TRANSFER, TRANSFERS,
    common::{
        proxy::{Proxy, Weather},
        random::Random,
    },
    server::{Server, engine},
};

/// Operations that a client has under way.
const DEPTH: usize = 24;
/// How long an operation may take; the server may be dead for a while.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// What the cells of one client must hold in the end.
#[derive(Default)]
pub struct Counted {
    pub acknowledged: u64,
    pub unknown: u64,
}

pub struct Client {
    pub engine: Engine<Endpoint>,
    pub proxy: Proxy,
    grant: Vec<u8>,
    remote: Option<RemoteId>,
    is_importing: bool,
    random: Random,
    pub page: u64,
    pub under_way: usize,
    pub adds: Counted,
    pub done: u64,
    pub failed: u64,
    pub transfers: u64,
    /// Where transfers go to and come from.
    local: Arc<dyn Region>,
}

/// What a token says of its operation.
const ADD: u64 = 1 << 20;
const IMPORT: u64 = 2 << 20;
const OTHER: u64 = 3 << 20;
const BULK: u64 = 4 << 20;

impl Client {
    /// Begins what fits.
    pub fn submit(&mut self) {
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

    /// Counts what ended.
    pub fn drain(&mut self) {
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
    pub fn is_whole(&self, wanted: usize) -> bool {
        self.remote.is_some() && self.engine.with(|_, io| io.peers().len()) == wanted
    }
}

/// Client number `at`, over a bad network of its own to the server.
pub fn client(
    identity: &Arc<NodeIdentity>,
    server: &mut Server,
    at: usize,
    targets: usize,
) -> Client {
    let grant = server.grant(identity.node_id());
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
