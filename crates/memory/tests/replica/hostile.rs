//! Bytes that no correct peer sends: refused, or harmless. The fuzz target `replica` does the same for longer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use linkmesh_memory::{
    frame::Decoded,
    replica::{
        Ask, Change, ClientId, Entry, Epoch, Group, Member, Message, Mutation, Outbox, Packet,
        Position, Timing,
    },
};

use crate::common::random::Random;

/// A position that may or may not be one of the group's.
fn position(random: &mut Random) -> Position {
    let epoch = Epoch::new(random.next() % 4, random.below(4) as u8);
    let index = match random.below(4) {
        0 => u64::MAX / 2,
        _ => random.next() % 6,
    };
    Position { epoch, index }
}

fn mutation(random: &mut Random) -> Mutation {
    let offset = match random.below(4) {
        0 => u64::MAX - random.next() % 16,
        _ => random.next() % 80,
    };
    match random.below(4) {
        0 => Mutation::FetchAdd { offset, operand: 1 },
        1 => Mutation::CompareSwap {
            offset,
            expected: 0,
            desired: 1,
        },
        2 => Mutation::Write {
            offset,
            data: Bytes::from(vec![7; 1 + random.below(80)]),
        },
        _ => Mutation::Nop,
    }
}

/// Well formed and, mostly, out of place.
fn message(random: &mut Random) -> Message {
    let session = u128::from(random.next() % 2);
    let epoch = position(random).epoch;
    match random.below(8) {
        0 => Message::Append {
            epoch,
            round: random.next(),
            previous: position(random),
            entries: (0..random.below(4))
                .map(|_| Entry {
                    epoch: position(random).epoch,
                    change: match random.below(6) {
                        0 => Change::Lead,
                        1 => Change::End { session },
                        3 => Change::Form,
                        4 => Change::GiveUp {
                            session,
                            below: random.next() % 6,
                        },
                        2 => Change::Open {
                            session,
                            holder: [1; 32],
                        },
                        _ => Change::Operate {
                            session,
                            sequence: random.next() % 4,
                            ack_below: random.next() % 4,
                            mutation: mutation(random),
                        },
                    },
                })
                .collect(),
        },
        1 => Message::Snapshot {
            epoch,
            position: position(random),
            total: random.next() % 200,
            offset: random.next() % 100,
            bytes: Bytes::from(vec![0; random.below(100)]),
        },
        2 => Message::Appended {
            epoch,
            round: random.next(),
            position: position(random),
            received: random.one_in(2).then(|| (position(random), random.next())),
        },
        3 => Message::Prepare {
            epoch,
            position: position(random),
        },
        4 => Message::Promise {
            epoch,
            position: position(random),
            is_granted: random.one_in(2),
        },
        5 => Message::Fenced { epoch },
        _ => Message::Request {
            session,
            ack_below: random.next() % 6,
            ask: match random.below(4) {
                0 => Ask::Open,
                1 => Ask::End,
                2 => Ask::Read {
                    number: random.next(),
                    after: random.next() % 4,
                    offset: random.next() % 80,
                    length: 1 + random.below(80) as u32,
                },
                _ => Ask::Mutate {
                    sequence: random.next() % 6,
                    mutation: mutation(random),
                },
            },
        },
    }
}

#[test]
fn a_member_survives_whatever_is_said_to_it() {
    for seed in 0..3_000 {
        let mut random = Random(seed);
        let group = Group::new(3, 1, 64).unwrap();
        let mut now = Instant::now();
        let mut member = if random.one_in(2) {
            Member::create(group, Timing::default(), vec![1; 64], seed, now)
        } else {
            Member::join(group, Timing::default(), 1, seed, now)
        };
        let mut out = Outbox::new();
        for _ in 0..40 {
            let mut bytes = Vec::new();
            message(&mut random).encode(5, &mut bytes);
            if random.one_in(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            let Ok(Decoded::Frame((group, Packet::Message(message)), length)) =
                Packet::decode(&bytes)
            else {
                continue;
            };
            let mut again = Vec::new();
            message.encode(group, &mut again);
            assert_eq!(again, bytes[..length]);
            match message {
                Message::Request {
                    session,
                    ack_below,
                    ask,
                } => {
                    let holder = [random.below(2) as u8; 32];
                    member.request(ClientId(1), holder, session, ack_below, ask, now, &mut out);
                }
                message => member.receive(random.below(4) as u8, message, now, &mut out),
            }
            now += Duration::from_millis(random.next() % 40);
            if member.deadline().is_some_and(|deadline| deadline <= now) {
                member.timeout(now, &mut out);
            }
            assert!(out.len() <= 64, "one message makes a few");
            out.clear();
            assert!(matches!(member.bytes().len(), 0 | 64));
        }
    }
}
