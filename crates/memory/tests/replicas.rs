//! Replicated regions over real engines: four nodes, of which the primary is killed.

mod common;

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use common::{
    history::Action,
    nodes::{LONG, Member, Node, members, unix_ms},
    pair::Heard,
    random::Random,
    record::{Asked, Ended, Record},
    seeds::seeds,
};
use linkmesh_memory::{
    client::{OperationError, OperationFailure, Outcome, SubmitError},
    endpoint::{CallError, RemoteId, Replicate, ReplicateError},
    frame::{Operation, Status},
    grant::{Grant, GrantError, Slice},
    region::Rights,
    replica::{GroupError, Standing, Timing},
};
use linkmesh_transport::core::NodeId;

const NAME: &str = "ledger";
const ADD: Operation<'static> = Operation::FetchAdd {
    offset: 0,
    operand: 1,
};

/// Three that hold the region, one that uses it.
fn four() -> &'static [Member] {
    static MEMBERS: OnceLock<(Vec<Member>, Vec<tempfile::TempDir>)> = OnceLock::new();
    &MEMBERS.get_or_init(|| members(4)).0
}

fn id(member: usize) -> NodeId {
    four()[member].0.node_id()
}

/// Three nodes, all connected, and a fourth that is connected to them.
fn nodes(seed: u64) -> Vec<Option<Node>> {
    let any = Some("127.0.0.1:0".parse().unwrap());
    let nodes: Vec<_> = (0..4)
        .map(|at| Node::start(&four()[at], any, seed * 10 + at as u64))
        .collect();
    for (at, node) in nodes.iter().enumerate() {
        node.engine
            .with(|endpoint, _| endpoint.accept_replicas(1 << 20));
        for other in &nodes[..at] {
            node.connect(other.engine.local_address());
        }
    }
    for (at, node) in nodes.iter().enumerate() {
        let end = Instant::now() + LONG;
        let is_there = || node.engine.with(|_, io| io.peers().len() >= 3);
        while !is_there() {
            assert!(Instant::now() < end, "node {at} is not connected");
            let mut lease = node.engine.lease();
            lease.spin(Duration::from_millis(5), |_| false);
        }
    }
    nodes.into_iter().map(Some).collect()
}

fn replicate(node: &mut Node, backups: &[NodeId], bytes: Vec<u8>) -> Result<(), OperationError> {
    let token = u64::from(u32::MAX);
    node.engine
        .with(|endpoint, io| {
            endpoint.replicate(
                io,
                Replicate {
                    name: NAME,
                    bytes,
                    rights: Rights::ALL,
                    backups,
                    acknowledgements: 1,
                    timing: Timing::default(),
                    deadline: Instant::now() + Duration::from_secs(10),
                    token,
                },
            )
        })
        .unwrap();
    loop {
        if let Some((_, result)) = node.completed().into_iter().find(|one| one.0 == token) {
            return result.map(|_| ());
        }
    }
}

fn grant(node: &Node, holder: usize, rights: Rights) -> Grant {
    static NONCES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let nonce = u128::from(NONCES.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let slice = Slice {
        holder: id(holder).0,
        offset: 0,
        length: 64,
        rights,
        expires_unix_ms: unix_ms() + 600_000,
    };
    node.engine.with(|endpoint, io| {
        let moment = endpoint.moment(io.now());
        endpoint
            .grant_replicated(&*node.member.0, NAME, slice, nonce.to_le_bytes(), moment)
            .unwrap()
    })
}

fn import(node: &mut Node, grant: &Grant, members: &[NodeId]) -> Result<RemoteId, String> {
    node.import_by(|endpoint, io, token| {
        endpoint
            .import_replicated(io, grant.bytes(), members, token)
            .unwrap();
    })
    .map(|(remote, _)| remote)
}

#[test]
fn a_region_outlives_its_primary_and_every_add_counts_once() {
    const ADDS: u64 = 300;
    let mut nodes = nodes(1);
    let all = [id(0), id(1), id(2)];
    let mut bytes = vec![0; 64];
    bytes[32..40].copy_from_slice(&7u64.to_le_bytes());
    replicate(nodes[0].as_mut().unwrap(), &all[1..], bytes).unwrap();
    let grant = grant(nodes[0].as_ref().unwrap(), 3, Rights::ALL);
    let mut client = nodes[3].take().unwrap();
    let remote = import(&mut client, &grant, &all).unwrap();
    let read = Operation::Read {
        offset: 32,
        length: 8,
    };
    let seven = Heard::Bytes(7u64.to_le_bytes().to_vec());
    assert_eq!(client.ask(remote, read), Ok(seven.clone()));

    let mut seen = Vec::new();
    for turn in 0..ADDS {
        client.submit(remote, ADD).unwrap();
        if turn == ADDS / 2 {
            // The primary is gone in the middle of it.
            drop(nodes[0].take());
        }
    }
    while (seen.len() as u64) < ADDS {
        for (_, result) in client.completed() {
            match result {
                Ok(Heard::Value(old)) => seen.push(old),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(seen, (0..ADDS).collect::<Vec<_>>(), "each once, in order");
    // What it began with is there, too.
    assert_eq!(client.ask(remote, read), Ok(seven));
    let leads = |at: usize| {
        let node: &Node = nodes[at].as_ref().unwrap();
        let info = node
            .engine
            .with(|endpoint, io| endpoint.replica_info(&id(0), NAME, io.now()));
        info.unwrap().standing == Standing::Primary
    };
    assert!(leads(1) || leads(2));
}

/// One backup joins, the other declines: the one that joined lets go of what it took, or the fifth of these would find it full.
#[test]
fn a_group_that_does_not_form_leaves_nothing_behind() {
    let mut nodes = nodes(5);
    let all = [id(0), id(1), id(2)];
    let accept = |node: &Option<Node>, bytes| {
        let engine = &node.as_ref().unwrap().engine;
        engine.with(|endpoint, _| endpoint.accept_replicas(bytes));
    };
    accept(&nodes[1], 4096);
    accept(&nodes[2], 0);
    let refused = Err(OperationError {
        failure: OperationFailure::Unavailable,
        outcome: Outcome::NotDelivered,
    });
    for _ in 0..8 {
        let first = nodes[0].as_mut().unwrap();
        assert_eq!(replicate(first, &all[1..], vec![0; 1024]), refused);
    }
    accept(&nodes[2], 4096);
    let first = nodes[0].as_mut().unwrap();
    assert_eq!(replicate(first, &all[1..], vec![0; 4096]), Ok(()));
}

/// Its name is free again, its backups have the room for another, and whoever uses it is told.
#[test]
fn a_region_that_is_ended_is_gone_everywhere_and_says_so() {
    let mut nodes = nodes(6);
    let all = [id(0), id(1), id(2)];
    for node in nodes.iter().flatten() {
        let engine = &node.engine;
        engine.with(|endpoint, _| endpoint.accept_replicas(4096));
    }
    let end = |node: &Option<Node>| {
        let engine = &node.as_ref().unwrap().engine;
        engine.with(|endpoint, io| endpoint.end_replicated(io, NAME))
    };
    let refused = Err(OperationError {
        failure: OperationFailure::Refused(Status::Revoked, 0),
        outcome: Outcome::NotDelivered,
    });
    let mut client = nodes[3].take().unwrap();
    for turn in 0..3 {
        replicate(nodes[0].as_mut().unwrap(), &all[1..], vec![0; 4096]).unwrap();
        let grant = grant(nodes[0].as_ref().unwrap(), 3, Rights::ALL);
        let remote = import(&mut client, &grant, &all).unwrap();
        assert_eq!(client.ask(remote, ADD), Ok(Heard::Value(0)));
        assert!(!end(&nodes[1]), "a backup may not");
        assert!(end(&nodes[0]));
        assert!(!end(&nodes[0]), "it is gone");
        assert_eq!(client.ask(remote, ADD), refused, "turn {turn}");
        let read = Operation::Read {
            offset: 0,
            length: 8,
        };
        assert_eq!(client.ask(remote, read), refused);
        assert!(import(&mut client, &grant, &all).is_err());
    }
}

#[test]
fn what_is_not_granted_is_refused_and_a_node_that_was_not_asked_declines() {
    let mut nodes = nodes(2);
    let all = [id(0), id(1), id(2)];
    let refused = |backups: &[NodeId], length: usize| {
        let request = Replicate {
            name: NAME,
            bytes: vec![0; length],
            rights: Rights::ALL,
            backups,
            acknowledgements: 1,
            timing: Timing::default(),
            deadline: Instant::now() + LONG,
            token: 0,
        };
        nodes[1]
            .as_ref()
            .unwrap()
            .engine
            .with(|endpoint, io| endpoint.replicate(io, request))
            .unwrap_err()
    };
    assert_eq!(
        refused(&[id(0), id(0)], 8),
        ReplicateError::Group(GroupError::Members(3))
    );
    assert_eq!(
        refused(&[id(0)], 0),
        ReplicateError::Group(GroupError::Length(0))
    );
    let first = nodes[0].as_mut().unwrap();
    // More than it accepts.
    assert_eq!(
        replicate(first, &all[1..], vec![0; 2 << 20]),
        Err(OperationError {
            failure: OperationFailure::Unavailable,
            outcome: Outcome::NotDelivered
        })
    );
    replicate(first, &all[1..], vec![0; 64]).unwrap();
    let taken = first.engine.with(|endpoint, io| {
        let request = Replicate {
            name: NAME,
            rights: Rights::ALL,
            bytes: vec![0; 64],
            backups: &all[1..],
            acknowledgements: 1,
            timing: Timing::default(),
            deadline: Instant::now() + LONG,
            token: 0,
        };
        endpoint.replicate(io, request)
    });
    assert_eq!(taken, Err(ReplicateError::Name(GrantError::NameTaken)));

    let for_another = grant(nodes[0].as_ref().unwrap(), 2, Rights::ALL);
    let reading = grant(nodes[0].as_ref().unwrap(), 3, Rights::READ);
    let client = nodes[3].as_mut().unwrap();
    assert!(import(client, &for_another, &all).is_err());
    // Any member may be asked; the others are heard of from it.
    let remote = import(client, &reading, &[id(1)]).unwrap();
    assert!(matches!(
        client.submit(remote, ADD),
        Err(CallError::Submit(SubmitError::Rights { .. }))
    ));
    let read = Operation::Read {
        offset: 0,
        length: 64,
    };
    assert_eq!(client.ask(remote, read), Ok(Heard::Bytes(vec![0; 64])));
    let beyond = Operation::Read {
        offset: 1,
        length: 64,
    };
    assert!(matches!(
        client.submit(remote, beyond),
        Err(CallError::Submit(SubmitError::Access(_)))
    ));
}

#[test]
fn with_too_few_members_left_a_deadline_says_that_nothing_was_done() {
    let mut nodes = nodes(3);
    let all = [id(0), id(1), id(2)];
    replicate(nodes[0].as_mut().unwrap(), &all[1..], vec![0; 64]).unwrap();
    let grant = grant(nodes[0].as_ref().unwrap(), 3, Rights::ALL);
    let mut client = nodes[3].take().unwrap();
    let remote = import(&mut client, &grant, &all).unwrap();
    assert_eq!(client.ask(remote, ADD), Ok(Heard::Value(0)));
    drop(nodes[1].take());
    drop(nodes[2].take());
    // It takes the primary a moment to know; what was sent before that is unknown, and nothing is applied twice.
    let mut added = 1;
    loop {
        let deadline = Instant::now() + Duration::from_millis(400);
        client.submit_until(remote, ADD, Some(deadline)).unwrap();
        let mut ended = client.completed();
        let (_, result) = ended.pop().unwrap();
        let error = result.unwrap_err();
        if error.failure == OperationFailure::Unavailable {
            assert_eq!(error.outcome, Outcome::NotDelivered);
            assert!(error.retryable());
            break;
        }
        assert_eq!(error.failure, OperationFailure::DeadlineExceeded);
        added += 1;
        assert!(added < 20);
    }
}

#[test]
fn histories_with_a_primary_that_is_killed_have_an_explanation() {
    const CELLS: usize = 3;
    const BURSTS: usize = 40;
    seeds(2, |seed| {
        let mut random = Random(seed);
        let mut nodes = nodes(100 + seed);
        let all = [id(0), id(1), id(2)];
        replicate(nodes[0].as_mut().unwrap(), &all[1..], vec![0; 64]).unwrap();
        // The fourth node twice: two sessions that know nothing of each other.
        let start = Instant::now();
        let now = || start.elapsed().as_nanos() as u64;
        let mut client = nodes[3].take().unwrap();
        let remotes: Vec<_> = (0..2)
            .map(|_| {
                let grant = grant(nodes[0].as_ref().unwrap(), 3, Rights::ALL);
                import(&mut client, &grant, &all).unwrap()
            })
            .collect();
        let mut record = Record::default();
        let mut tokens: Vec<(u64, usize)> = Vec::new();
        let killed = random.below(3);
        let collect = |client: &Node, record: &mut Record, tokens: &mut Vec<(u64, usize)>| {
            for (token, result) in client.completed() {
                let place = tokens.iter().position(|(of_node, _)| *of_node == token);
                let (_, token) = tokens.swap_remove(place.expect("it was asked"));
                let words = match result {
                    Ok(Heard::Value(value)) => vec![value],
                    Ok(Heard::Bytes(bytes)) => {
                        vec![u64::from_le_bytes(bytes.try_into().unwrap())]
                    }
                    Ok(_) => Vec::new(),
                    Err(error) => panic!("{error}"),
                };
                let values = record.values(token, &words);
                let ended = Ended::Answered { at: now(), values };
                record.end(token, ended);
            }
        };
        for burst in 0..BURSTS {
            for _ in 0..=random.below(5) {
                let session = random.below(2);
                let cell = random.below(CELLS);
                let offset = cell as u64 * 8;
                let value = (record.len() as u64 + 1) << 32;
                let bytes = value.to_le_bytes();
                let expected = (record.len() as u64 / 2) << 32;
                let (operation, action) = match random.below(if cell == 0 { 2 } else { 4 }) {
                    0 => (Operation::FetchAdd { offset, operand: 1 }, Action::Add(1)),
                    1 => (Operation::Read { offset, length: 8 }, Action::Read),
                    2 => (
                        Operation::Write {
                            offset,
                            data: &bytes,
                        },
                        Action::Write(value),
                    ),
                    _ => (
                        Operation::CompareSwap {
                            offset,
                            expected,
                            desired: value,
                        },
                        Action::Swap {
                            expected,
                            desired: value,
                        },
                    ),
                };
                let token = record.len();
                record.ask(Asked {
                    client: session,
                    lane: 0,
                    fence: false,
                    invoked: now(),
                    actions: vec![(cell, action)],
                });
                tokens.push((client.submit(remotes[session], operation).unwrap(), token));
            }
            if burst == BURSTS / 2 {
                drop(nodes[killed].take());
            }
            if random.one_in(8) {
                client.cut();
            }
            collect(&client, &mut record, &mut tokens);
        }
        while !tokens.is_empty() {
            collect(&client, &mut record, &mut tokens);
        }
        let mut cells = [0; CELLS];
        for (cell, value) in cells.iter_mut().enumerate() {
            let offset = cell as u64 * 8;
            let read = Operation::Read { offset, length: 8 };
            match client.ask(remotes[0], read) {
                Ok(Heard::Bytes(bytes)) => *value = u64::from_le_bytes(bytes.try_into().unwrap()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(record.unknown, 0);
        record.check(&cells);
    });
}
