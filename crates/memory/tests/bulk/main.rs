//! Bulk transfers over a simulated connection that reorders, cuts, stalls and is lost: seeded, without time.
//!
//! `LINKMESH_SEEDS=20000 cargo test -p linkmesh-memory --release --test bulk` runs more of them;
//! `LINKMESH_SEED=n` repeats one.

mod connection;
mod counting;
#[path = "../common/random.rs"]
#[allow(unreachable_pub, reason = "shared by several test binaries")]
mod random;
#[path = "../common/seeds.rs"]
mod seeds;
mod world;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use connection::{Connection, Side};
use counting::Counting;
use linkmesh_memory::{
    bulk::{
        Client, MAX_TRANSFER_BYTES, MessageReader, Options, Request, Server, StartError,
        StreamKind, TransferError, TransferStatus,
    },
    region::{Access, HeapRegion, Region, Rights},
};
use random::Random;
use seeds::seeds;
use world::{REGION, World};

fn options(random: &mut Random) -> Options {
    // Half of them plain.
    Options::from_bits([0, 0, 0, 1, 2, 3][random.below(6)]).unwrap()
}

/// Random transfers, the connection lost again and again, cancellations and a server that restarts once in a while: what is said to be
/// complete is, what is said to be placed was, exactly, and no byte is placed twice.
#[test]
fn transfers_survive_whatever_the_connection_does() {
    seeds(50, |seed| {
        let mut random = Random(seed ^ 0xb01d);
        let region = Counting::filled(REGION, &mut random);
        let original = region.bytes(0..REGION);
        let mut world = World::new(seed, Arc::clone(&region));
        // Disjoint slices: so each has its own truth.
        let mut at = 0usize;
        let mut transfers = Vec::new();
        while transfers.len() < 6 {
            let limit = if random.one_in(3) { 300_000 } else { 5_000 };
            let length = 1 + random.below(limit);
            if at + length > REGION {
                break;
            }
            let local = Counting::filled(length, &mut random);
            let options = options(&mut random);
            let is_read = random.one_in(2);
            let id = if is_read {
                world.read(at as u64, &local, options, None)
            } else {
                world.write(at as u64, &local, options, None)
            };
            transfers.push((id.unwrap(), is_read, at..at + length, local));
            at += length;
        }
        let mut losses = 0;
        let (mut restarted, mut cancelled) = (false, Vec::new());
        loop {
            let quiet = !world.step();
            if losses < 6 && random.one_in(40) {
                losses += 1;
                let before = world.connection.sent_bytes;
                world.lose_connection(0);
                assert!(before < 40_000_000);
                let restarts = random.one_in(10);
                if restarts {
                    world.server = Server::new(Instant::now);
                    restarted = true;
                }
                world.connect(!restarts);
                world.collect();
            } else if random.one_in(150) {
                let (id, ..) = transfers[random.below(transfers.len())];
                world.client.cancel(
                    Some(&mut Side {
                        connection: &mut world.connection,
                        client: true,
                    }),
                    id,
                );
                world.collect();
                cancelled.push(id);
            } else if quiet {
                break;
            }
        }
        assert_eq!(world.results.len(), transfers.len(), "each transfer ends");
        for (id, is_read, place, local) in transfers {
            let length = place.len() as u64;
            let (destination, source, whole) = if is_read {
                (&local, original[place.clone()].to_vec(), 0..place.len())
            } else {
                (&region, local.bytes(0..place.len()), place.clone())
            };
            let written = destination.written(whole.clone());
            match world.results[&id] {
                Ok(()) => {
                    assert_eq!(written, length);
                    assert!(
                        destination.bytes(whole) == source,
                        "transfer {id} is complete with other bytes"
                    );
                }
                Err(TransferError {
                    status,
                    placed,
                    exact,
                }) => {
                    match status {
                        TransferStatus::Cancelled => assert!(cancelled.contains(&id)),
                        TransferStatus::SessionLost => assert!(restarted),
                        other => panic!("{other}"),
                    }
                    assert!(placed <= written, "{placed} said, {written} written");
                    assert!(
                        !exact || placed == written,
                        "{placed} exactly, {written} written ({status})"
                    );
                    assert!(
                        is_read || exact || restarted,
                        "within a session it is exact"
                    );
                }
            }
        }
    });
}

#[test]
fn after_a_reconnect_only_the_gaps_are_sent() {
    for is_read in [true, false] {
        let mut random = Random(1);
        let region = Counting::filled(REGION, &mut random);
        let mut world = World::new(7, Arc::clone(&region));
        let length = 800_000;
        let local = Counting::filled(length, &mut random);
        let id = if is_read {
            world.read(0, &local, Options::default(), None)
        } else {
            world.write(0, &local, Options::default(), None)
        };
        let destination = if is_read { &local } else { &region };
        while destination.written(0..length) < 600_000 {
            assert!(world.step());
        }
        let missing = length as u64 - destination.written(0..length);
        world.lose_connection(0);
        world.connect(true);
        world.run();
        assert_eq!(world.results[&id.unwrap()], Ok(()));
        assert!(
            world.connection.sent_bytes < missing + 8 * 28 + 200_000,
            "{} sent for {missing}",
            world.connection.sent_bytes
        );
    }
}

#[test]
fn damaged_blocks_are_sent_again_and_not_for_ever() {
    for is_read in [true, false] {
        for (damage, expected) in [(1, true), (3, true), (1_000, false)] {
            let mut random = Random(damage.into());
            let region = Counting::filled(REGION, &mut random);
            let mut world = World::new(damage.into(), Arc::clone(&region));
            world.connection.damage = damage;
            let local = Counting::filled(100_000, &mut random);
            let options = Options {
                integrity: true,
                compress: false,
            };
            let id = if is_read {
                world.read(64, &local, options, None)
            } else {
                world.write(64, &local, options, None)
            }
            .unwrap();
            world.run();
            if expected {
                assert_eq!(world.results[&id], Ok(()));
                assert_eq!(region.bytes(64..100_064), local.bytes(0..100_000));
            } else {
                let error = world.results[&id].unwrap_err();
                assert_eq!((error.status, error.exact), (TransferStatus::Damaged, true));
            }
        }
    }
}

#[test]
fn the_grant_is_checked_at_the_start_and_in_the_middle() {
    let mut random = Random(3);
    let region = Counting::filled(REGION, &mut random);
    let mut world = World::new(3, Arc::clone(&region));
    let local = Counting::filled(200_000, &mut random);
    // Beyond the end.
    let ids = [
        world
            .read(REGION as u64 - 199_999, &local, Options::default(), None)
            .unwrap(),
        world
            .write(REGION as u64 - 199_999, &local, Options::default(), None)
            .unwrap(),
    ];
    world.run();
    for id in ids {
        assert_eq!(
            world.results[&id],
            Err(TransferError {
                status: TransferStatus::OutOfRange,
                placed: 0,
                exact: true
            })
        );
    }
    // Without the right.
    world.rights = Rights::READ;
    let id = world.write(0, &local, Options::default(), None).unwrap();
    world.run();
    assert_eq!(
        world.results[&id].unwrap_err().status,
        TransferStatus::Rights
    );
    // Revoked in the middle: what was placed until then is said.
    world.rights = Rights::ALL;
    let id = world.write(0, &local, Options::default(), None).unwrap();
    while region.written(0..200_000) < 50_000 {
        assert!(world.step());
    }
    region.revoke();
    world.run();
    let placed = world.results[&id].unwrap_err();
    let expected = TransferError {
        status: TransferStatus::Revoked,
        placed: placed.placed,
        exact: true,
    };
    assert_eq!(placed, expected);
    let counts = region.writes[..200_000]
        .iter()
        .filter(|count| count.load(Ordering::Relaxed) == 1)
        .count();
    assert_eq!(placed.placed, counts as u64);
}

#[test]
fn a_deadline_ends_a_transfer_and_says_what_is_known() {
    let mut random = Random(4);
    let region = Counting::filled(REGION, &mut random);
    let mut world = World::new(4, Arc::clone(&region));
    let soon = world.now + Duration::from_secs(1);
    let target = Counting::new(100_000);
    let read = world
        .read(0, &target, Options::default(), Some(soon))
        .unwrap();
    let write = world
        .write(
            200_000,
            &Counting::filled(100_000, &mut random),
            Options::default(),
            Some(soon),
        )
        .unwrap();
    let late = world
        .read(
            0,
            &Counting::new(10),
            Options::default(),
            Some(soon + Duration::from_secs(1)),
        )
        .unwrap();
    assert_eq!(world.client.deadline(), Some(soon));
    for _ in 0..5 {
        world.step();
    }
    let mut wire = Side {
        connection: &mut world.connection,
        client: true,
    };
    world.client.expire(Some(&mut wire), soon);
    world.run();
    let error = world.results[&read].unwrap_err();
    assert_eq!(
        (error.status, error.exact, error.placed),
        (TransferStatus::Deadline, true, target.written(0..100_000))
    );
    let error = world.results[&write].unwrap_err();
    assert_eq!(
        (error.status, error.exact),
        (TransferStatus::Deadline, false)
    );
    assert_eq!(world.results[&late], Ok(()));
    assert_eq!(world.client.deadline(), None);
}

#[test]
fn sizes_and_numbers_are_limited() {
    let mut random = Random(5);
    let mut world = World::new(5, Counting::filled(64, &mut random));
    let too_long: Arc<dyn Region> = Arc::new(HeapRegion::new(MAX_TRANSFER_BYTES as usize + 1, 1));
    let mut start = |target: Access, offset| {
        world.client.read(
            None::<&mut Side>,
            Request {
                handle: 3,
                offset,
                memory: target,
                options: Options::default(),
                deadline: None,
            },
        )
    };
    assert_eq!(start(Access::whole(too_long), 0), Err(StartError::Length));
    let word: Arc<dyn Region> = Arc::new(HeapRegion::new(8, 1));
    let empty = Access {
        length: 0,
        ..Access::whole(Arc::clone(&word))
    };
    assert_eq!(start(empty, 0), Err(StartError::Length));
    assert_eq!(
        start(Access::whole(Arc::clone(&word)), u64::MAX - 3),
        Err(StartError::OutOfRange)
    );
    for _ in 0..64 {
        start(Access::whole(Arc::clone(&word)), 0).unwrap();
    }
    assert_eq!(start(Access::whole(word), 0), Err(StartError::TooMany));
}

/// Random bytes on streams and as messages: typed refusals, no panic, no memory taken for what was only announced.
#[test]
fn a_hostile_peer_gets_nothing_but_refusals() {
    seeds(300, |seed| {
        let mut random = Random(seed);
        let region = Counting::new(10_000);
        let shared: Arc<dyn Region> = Arc::clone(&region) as Arc<dyn Region>;
        let grants = move |handle: u16| {
            (handle == 3).then(|| Access {
                length: 5_000,
                ..Access::whole(Arc::clone(&shared))
            })
        };
        let mut server = Server::new(Instant::now);
        let mut client = Client::new(Instant::now);
        let mut connection = Connection {
            limit: 4,
            ..Connection::default()
        };
        let now = Instant::now();
        let mut wire = Side {
            connection: &mut connection,
            client: false,
        };
        let mut reader = MessageReader::default();
        for stream in 1_000..1_020 {
            let kind = if random.one_in(2) {
                StreamKind::Plain
            } else {
                StreamKind::Blocks
            };
            server.streams().opened(stream, kind);
            client.streams().opened(stream, kind);
            for _ in 0..random.below(6) {
                let mut bytes: Vec<u8> = (0..random.below(200))
                    .map(|_| random.next() as u8)
                    .collect();
                if random.one_in(2) && bytes.len() > 60 {
                    // A possible head in front.
                    bytes[8..28].fill(0);
                    bytes[16..18].copy_from_slice(&(random.next() as u16 | 1).to_le_bytes());
                    bytes[24] = 3;
                    bytes[26] = if kind == StreamKind::Plain {
                        0
                    } else {
                        1 + random.below(3) as u8
                    };
                }
                let at = if random.one_in(2) {
                    0
                } else {
                    random.next() % 1_000_000
                };
                server.received(&mut wire, stream, at, bytes.clone().into(), &grants, now);
                client.received(&mut wire, stream, at, bytes.clone().into(), now);
                let mut rest = &bytes[..];
                while let Ok(Some(message)) = reader.next(&mut rest) {
                    let _ = server.message(&mut wire, message, &grants, now);
                    let _ = client.message(&mut wire, message, now);
                }
            }
            server.finished(&mut wire, stream);
            client.finished(&mut wire, stream);
        }
        assert_eq!(
            region.bytes(5_000..10_000),
            vec![0; 5_000],
            "nothing beyond the grant"
        );
        assert!(client.poll_event().is_none());
    });
}
