//! Bulk transfers between two engines over real sockets, the connection cut in the middle.

mod common;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use common::{
    nodes::{LONG, Network, Node},
    random::Random,
};
use linkmesh_memory::{
    bulk::{MAX_TRANSFER_BYTES, Options, TransferError, TransferStatus},
    client::{SubmitError, Success},
    compress::Compression,
    endpoint::{CallError, DrainedResult, RemoteId, Transfer},
    region::{Access, HeapRegion, Pages, PagesOptions, Region, Rights, SharedRegion},
};

fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(Network::new)
}

fn pages(length: u64, seed: Option<u64>) -> Arc<dyn Region> {
    let options = PagesOptions {
        length,
        capacity: length,
        huge: false,
    };
    let region = SharedRegion::new(Pages::new(options).unwrap(), 1);
    if let Some(seed) = seed {
        let mut random = Random(seed);
        // A third of it repeats, so that some blocks compress.
        for at in (0..length).step_by(8) {
            let word = if at % 3_000_000 < 1_000_000 {
                at >> 12
            } else {
                random.next()
            };
            let left = (length - at).min(8) as usize;
            region.write(at, &word.to_le_bytes()[..left]).unwrap();
        }
    }
    Arc::new(region)
}

fn bytes(region: &Arc<dyn Region>) -> Vec<u8> {
    let mut bytes = vec![0; region.len() as usize];
    region.read(0, &mut bytes).unwrap();
    bytes
}

struct Pair {
    server: Node,
    client: Node,
    region: Arc<dyn Region>,
    remote: RemoteId,
}

fn pair(seed: u64, length: u64) -> Pair {
    let server = Node::start(
        &network().server,
        Some("127.0.0.1:0".parse().unwrap()),
        seed * 2,
    );
    let mut client = Node::start(&network().client, None, seed * 2 + 1);
    let region = pages(length, Some(seed));
    server.export("bulk", Arc::clone(&region));
    server.engine.with(|endpoint, _| {
        let exports = endpoint.exports();
        exports.set_compression("bulk", Compression::Auto).unwrap();
    });
    let grant = server.grant("bulk", &client.member, length, Rights::ALL);
    client.connect(server.engine.local_address());
    let (remote, _) = client.import(&grant).unwrap();
    Pair {
        server,
        client,
        region,
        remote,
    }
}

impl Pair {
    fn begin(
        &self,
        token: u64,
        is_write: bool,
        offset: u64,
        memory: &Arc<dyn Region>,
        options: Options,
    ) -> Result<u64, CallError> {
        let memory = Access::whole(Arc::clone(memory));
        let transfer = Transfer {
            remote: self.remote,
            offset,
            memory,
            is_write,
            options,
            deadline: None,
            token,
        };
        self.client
            .engine
            .with(|endpoint, io| endpoint.transfer(io, transfer))
    }

    /// Drives the engine until `count` transfers are over, calling `each` with a token and its progress.
    fn wait(
        &self,
        count: usize,
        mut each: impl FnMut(u64, u64),
    ) -> HashMap<u64, Result<(), TransferError>> {
        let mut ended = HashMap::new();
        while ended.len() < count {
            let mut progress = Vec::new();
            let mut lease = self.client.engine.lease();
            assert!(
                lease.spin(LONG, |endpoint| endpoint.has_completed(0)),
                "nothing completed"
            );
            lease.application().drain(0, |one| {
                match one.result {
                    DrainedResult::Success(Success::Done) => {
                        assert_eq!(ended.insert(one.token, Ok(())), None);
                    }
                    DrainedResult::TransferFailed(error) => {
                        assert_eq!(ended.insert(one.token, Err(error)), None);
                    }
                    DrainedResult::Progress { moved, total } => {
                        assert!(moved <= total);
                        progress.push((one.token, moved));
                    }
                    other => panic!("{other:?}"),
                }
                true
            });
            drop(lease);
            for (token, moved) in progress {
                each(token, moved);
            }
        }
        ended
    }
}

const KINDS: [Options; 3] = [
    Options {
        integrity: false,
        compress: false,
    },
    Options {
        integrity: true,
        compress: false,
    },
    Options {
        integrity: true,
        compress: true,
    },
];

#[test]
fn sixteen_mebibytes_go_both_ways_however_they_are_sent() {
    let pair = pair(1, MAX_TRANSFER_BYTES);
    for (at, options) in KINDS.into_iter().enumerate() {
        let target = pages(MAX_TRANSFER_BYTES, None);
        pair.begin(1, false, 0, &target, options).unwrap();
        let mut last = 0;
        assert_eq!(pair.wait(1, |_, moved| last = last.max(moved))[&1], Ok(()));
        assert!(
            bytes(&target) == bytes(&pair.region),
            "read with {options:?}"
        );
        let source = pages(MAX_TRANSFER_BYTES, Some(90 + at as u64));
        pair.begin(2, true, 0, &source, options).unwrap();
        assert_eq!(pair.wait(1, |_, moved| last = last.max(moved))[&2], Ok(()));
        assert!(
            bytes(&source) == bytes(&pair.region),
            "written with {options:?}"
        );
        assert!(last > 0, "progress was reported");
    }
}

#[test]
fn transfers_go_on_where_a_lost_connection_left_them() {
    const LENGTH: u64 = 4 << 20;
    let pair = pair(2, 2 * LENGTH);
    for round in 0..3 {
        let (target, source) = (pages(LENGTH, None), pages(LENGTH, Some(round)));
        pair.begin(1, false, 0, &target, Options::default())
            .unwrap();
        pair.begin(2, true, LENGTH, &source, Options::default())
            .unwrap();
        let mut cuts = 0;
        let ended = pair.wait(2, |_, moved| {
            if cuts < 3 && moved > cuts * (LENGTH / 5) {
                cuts += 1;
                if cuts % 2 == 0 {
                    pair.client.cut();
                } else {
                    pair.server.cut();
                }
            }
        });
        assert!(cuts > 0, "nothing was cut");
        assert_eq!((ended[&1], ended[&2]), (Ok(()), Ok(())));
        let all = bytes(&pair.region);
        assert!(
            bytes(&target) == all[..LENGTH as usize],
            "read in round {round}"
        );
        assert!(
            bytes(&source) == all[LENGTH as usize..],
            "written in round {round}"
        );
    }
}

#[test]
fn many_small_transfers_at_a_time_share_the_streams_there_are() {
    let pair = pair(3, 4 << 20);
    let locals: Vec<_> = (0..60)
        .map(|at| pages(65_536, (at % 2 == 1).then_some(at)))
        .collect();
    for (at, local) in locals.iter().enumerate() {
        pair.begin(
            at as u64,
            at % 2 == 1,
            at as u64 * 65_536,
            local,
            KINDS[at % 3],
        )
        .unwrap();
    }
    let ended = pair.wait(60, |_, _| {});
    assert!(ended.values().all(Result::is_ok), "{ended:?}");
    let all = bytes(&pair.region);
    for (at, local) in locals.iter().enumerate() {
        assert!(
            bytes(local) == all[at * 65_536..(at + 1) * 65_536],
            "transfer {at}"
        );
    }
}

#[test]
fn what_ends_a_transfer_is_said_with_what_it_left() {
    let pair = pair(4, MAX_TRANSFER_BYTES);
    // Refused here already.
    let word: Arc<dyn Region> = Arc::new(HeapRegion::new(16, 1));
    let beyond = pair.begin(1, true, MAX_TRANSFER_BYTES - 8, &word, Options::default());
    assert!(
        matches!(beyond, Err(CallError::Submit(SubmitError::Access(_)))),
        "{beyond:?}"
    );
    // Cancelled: the server says how much it placed, which is exact.
    let source = pages(MAX_TRANSFER_BYTES, Some(5));
    let id = pair.begin(2, true, 0, &source, Options::default()).unwrap();
    assert!(
        pair.client
            .engine
            .with(|endpoint, io| endpoint.cancel_transfer(io, pair.remote, id))
    );
    let error = pair.wait(1, |_, _| {})[&2].unwrap_err();
    assert_eq!(
        (error.status, error.exact),
        (TransferStatus::Cancelled, true)
    );
    assert!(error.placed < MAX_TRANSFER_BYTES);
    // Revoked.
    pair.server
        .engine
        .with(|endpoint, io| endpoint.revoke_region(io, "bulk"))
        .unwrap();
    pair.begin(3, false, 0, &pages(1 << 20, None), Options::default())
        .unwrap();
    let mut ended = pair.wait_for_revoked();
    assert_eq!(
        ended.remove(&3).unwrap().unwrap_err().status,
        TransferStatus::Revoked
    );
}

impl Pair {
    /// As `wait`, where the notice that the import is dead comes too.
    fn wait_for_revoked(&self) -> HashMap<u64, Result<(), TransferError>> {
        let mut ended = HashMap::new();
        while ended.is_empty() {
            let mut lease = self.client.engine.lease();
            assert!(
                lease.spin(LONG, |endpoint| endpoint.has_completed(0)),
                "nothing completed"
            );
            lease.application().drain(0, |one| {
                if let DrainedResult::TransferFailed(error) = one.result {
                    ended.insert(one.token, Err(error));
                }
                true
            });
        }
        ended
    }
}
