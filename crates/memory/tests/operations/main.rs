//! What a caller sees: results, refusals, and what is left untouched.

#[path = "../common/mod.rs"]
mod common;
mod order;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use common::pair::{BASE, Heard, Pair};
use linkmesh_memory::{
    client::{ImportError, OperationError, OperationFailure, Outcome, Submission, SubmitError},
    compress::Compression,
    frame::{
        AckBelow, BatchWriter, ImportRefusal, Imported, MAX_INLINE, Operation, Status, WINDOW,
    },
    region::{AccessError, Region, Rights},
    server::ServerError,
    session::{SessionLimits, Sessions},
};

fn refused(status: Status, limit: u64) -> Result<Heard, OperationError> {
    let failure = OperationFailure::Refused(status, limit);
    Err(OperationError {
        failure,
        outcome: Outcome::NotDelivered,
    })
}

#[test]
fn operations_do_what_they_say_inside_the_slice() {
    let mut pair = Pair::new(128, Rights::ALL);
    let now = Instant::now();
    assert_eq!(
        pair.ask(
            Operation::Write {
                offset: 3,
                data: b"hello"
            },
            now
        ),
        Ok(Heard::Done)
    );
    let mut bytes = [0; 5];
    pair.region.read(BASE + 3, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    assert_eq!(
        pair.ask(
            Operation::Read {
                offset: 4,
                length: 3
            },
            now
        ),
        Ok(Heard::Bytes(b"ell".to_vec()))
    );
    assert_eq!(
        pair.ask(
            Operation::FetchAdd {
                offset: 16,
                operand: u64::MAX
            },
            now
        ),
        Ok(Heard::Value(0))
    );
    assert_eq!(
        pair.ask(
            Operation::FetchAdd {
                offset: 16,
                operand: 2
            },
            now
        ),
        Ok(Heard::Value(u64::MAX))
    );
    let swap = |expected| Operation::CompareSwap {
        offset: 16,
        expected,
        desired: 9,
    };
    assert_eq!(pair.ask(swap(5), now), Ok(Heard::Value(1)));
    assert_eq!(pair.ask(swap(1), now), Ok(Heard::Value(1)));
    assert_eq!(pair.word(16), 9);
    assert_eq!(
        pair.ask(
            Operation::ReadVersioned {
                offset: 3,
                length: 5,
                version: 16
            },
            now
        ),
        Ok(Heard::Versioned(9, 9, b"hello".to_vec()))
    );
    assert_eq!(pair.ask(Operation::Nop, now), Ok(Heard::Done));
}

#[test]
fn what_is_wrong_is_refused_before_it_is_sent() {
    let mut pair = Pair::new(128, Rights::READ);
    let now = Instant::now();
    let max = u64::from(MAX_INLINE);
    let beyond = AccessError::OutOfRange {
        offset: 120,
        length: 9,
        available: 128,
    };
    let wraps = AccessError::OutOfRange {
        offset: u64::MAX,
        length: 2,
        available: 128,
    };
    let long = vec![0; MAX_INLINE as usize + 1];
    let cases = [
        (
            Operation::Read {
                offset: 0,
                length: 0,
            },
            SubmitError::ZeroLength,
        ),
        (
            Operation::Read {
                offset: 120,
                length: 9,
            },
            SubmitError::Access(beyond),
        ),
        (
            Operation::Read {
                offset: u64::MAX,
                length: 2,
            },
            SubmitError::Access(wraps),
        ),
        (
            Operation::Read {
                offset: 0,
                length: MAX_INLINE + 1,
            },
            SubmitError::TooLong {
                length: max + 1,
                limit: max,
            },
        ),
        (
            Operation::Write {
                offset: 0,
                data: &long,
            },
            SubmitError::TooLong {
                length: max + 1,
                limit: max,
            },
        ),
        (
            Operation::Write {
                offset: 0,
                data: b"x",
            },
            SubmitError::Rights {
                needed: Rights::WRITE,
                granted: Rights::READ,
            },
        ),
        (
            Operation::ReadVersioned {
                offset: 0,
                length: 8,
                version: 4,
            },
            SubmitError::Access(AccessError::Misaligned { offset: 4 }),
        ),
    ];
    for (operation, error) in cases {
        assert_eq!(pair.submit(operation, now), Err(error));
    }
}

#[test]
fn what_cannot_be_taken_now_is_refused_before_it_is_sent() {
    let mut pair = Pair::new(128, Rights::ALL);
    let now = Instant::now();
    let operation = Operation::Read {
        offset: 0,
        length: 8,
    };
    pair.handle += 1;
    assert_eq!(
        pair.submit(
            Operation::Read {
                offset: 0,
                length: 8
            },
            now
        ),
        Err(SubmitError::UnknownHandle)
    );
    pair.handle -= 1;
    let (handle, deadline) = (pair.handle, Some(now));
    let late = Submission {
        handle,
        operation,
        fence: false,
        deadline,
        token: 0,
    };
    assert_eq!(
        pair.client.submit(&late, now),
        Err(SubmitError::DeadlinePast)
    );
    assert_eq!(
        pair.submit(
            Operation::FetchAdd {
                offset: 12,
                operand: 1
            },
            now
        ),
        Err(SubmitError::Access(AccessError::Misaligned { offset: 12 }))
    );
    let mut taken = 0;
    let error = loop {
        match pair.submit(operation, now) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(
        (taken, error),
        (16_384, SubmitError::Full { limit: 16_384 })
    );
    assert!(error.retryable());
    pair.exchange(now);
    assert_eq!(pair.ended.count, 16_384);
    assert!(pair.submit(operation, now).is_ok());
}

#[test]
fn a_grant_is_checked_by_each_operation() {
    let now = Instant::now();
    let read = Operation::Read {
        offset: 0,
        length: 8,
    };

    // The server does not trust what the client believes that it may: the client learns of a wider slice than there is.
    let mut pair = Pair::new(128, Rights::ALL);
    pair.grants.access.rights = Rights::READ;
    pair.grants.access.length = 1000;
    let wide = pair.client.import(b"again", 0).unwrap();
    pair.exchange(now);
    assert_eq!(
        pair.ended.imported[1],
        (
            wide,
            Ok(Imported {
                rights: Rights::READ,
                length: 1000,
                compression: Compression::None,
            })
        )
    );
    pair.handle = wide;
    assert_eq!(
        pair.ask(
            Operation::Read {
                offset: 185,
                length: 8
            },
            now
        ),
        refused(Status::OutOfRange, 256)
    );

    let mut pair = Pair::new(128, Rights::ALL);
    let later = now + Duration::from_secs(3601);
    assert!(pair.ask(read, now).is_ok());
    assert_eq!(pair.ask(read, later), refused(Status::Expired, 0));

    let mut pair = Pair::new(128, Rights::ALL);
    pair.grants.access.revoked.store(true, Ordering::Relaxed);
    pair.connection
        .announce_revoked(&mut pair.sessions, |access| {
            access.revoked.load(Ordering::Relaxed)
        });
    assert_eq!(
        pair.ask(
            Operation::FetchAdd {
                offset: 0,
                operand: 1
            },
            now
        ),
        refused(Status::Revoked, 0)
    );
    assert_eq!(pair.ended.revoked, [pair.handle]);
    assert_eq!(pair.word(0), 0);

    let mut pair = Pair::new(128, Rights::ALL);
    pair.region.revoke();
    assert_eq!(pair.ask(read, now), refused(Status::Revoked, 0));

    // The region was exported anew: the number of the export in the grant is old.
    let mut pair = Pair::new(128, Rights::ALL);
    pair.grants.access.epoch = 0;
    pair.handle = pair.client.import(b"old", 0).unwrap();
    pair.exchange(now);
    assert_eq!(pair.ask(read, now), refused(Status::Revoked, 0));

    // A slice that does not start at a word has no words: the client cannot know, the region does.
    let mut pair = Pair::new(128, Rights::ALL);
    pair.grants.access.base = BASE + 4;
    pair.handle = pair.client.import(b"odd", 0).unwrap();
    pair.exchange(now);
    let add = Operation::FetchAdd {
        offset: 0,
        operand: 1,
    };
    assert_eq!(pair.ask(add, now), refused(Status::Misaligned, 8));
}

#[test]
fn a_handle_names_only_what_its_own_session_was_given() {
    let mut pair = Pair::new(128, Rights::ALL);
    let now = Instant::now();
    let read = Operation::Read {
        offset: 0,
        length: 8,
    };
    // Guessing: the server knows no such number, whatever the client thinks.
    let other = pair.client.import(b"other", 0).unwrap();
    pair.exchange(now);
    pair.sessions = Sessions::new(2, SessionLimits::default());
    pair.reconnect(now);
    pair.grants.refuse = Some(ImportRefusal::WrongNode);
    pair.ended.is_kept = true;
    pair.handle = other;
    pair.submit(read, now).unwrap();
    pair.exchange(now);
    let failure = OperationFailure::ImportRefused(ImportRefusal::WrongNode);
    let error = OperationError {
        failure,
        outcome: Outcome::NotDelivered,
    };
    assert_eq!(pair.ended.heard, [(1, Err(error))]);
    assert_eq!(pair.submit(read, now), Err(SubmitError::UnknownHandle));
    assert_eq!(
        pair.client.import(b"", 0),
        Err(ImportError::TooLong {
            length: 0,
            limit: linkmesh_memory::grant::MAX_GRANT_BYTES
        })
    );
}

#[test]
fn a_restart_makes_only_sent_mutations_unknown() {
    let mut pair = Pair::new(128, Rights::ALL);
    let now = Instant::now();
    pair.ended.is_kept = true;
    let add = Operation::FetchAdd {
        offset: 0,
        operand: 1,
    };
    pair.submit(add, now).unwrap();
    pair.submit(
        Operation::Read {
            offset: 0,
            length: 8,
        },
        now,
    )
    .unwrap();
    pair.client.flush();
    pair.submit(add, now).unwrap();
    // The server never saw any of it, but nobody can know.
    pair.sessions = Sessions::new(2, SessionLimits::default());
    pair.reconnect(now);
    pair.exchange(now);
    let error = OperationError {
        failure: OperationFailure::SessionLost,
        outcome: Outcome::Unknown,
    };
    assert!(!error.retryable());
    assert_eq!(pair.ended.heard[0], (1, Err(error)));
    assert_eq!(
        pair.ended.heard[1..],
        [(2, Ok(Heard::Bytes(vec![0; 8]))), (3, Ok(Heard::Value(0)))]
    );
    assert_eq!(pair.word(0), 1);
}

#[test]
fn a_lost_answer_is_repeated_and_the_add_is_not() {
    let mut pair = Pair::new(128, Rights::ALL);
    let now = Instant::now();
    pair.ended.is_kept = true;
    for _ in 0..100 {
        pair.submit(
            Operation::FetchAdd {
                offset: 0,
                operand: 1,
            },
            now,
        )
        .unwrap();
    }
    pair.client.flush();
    let output = pair.client.output(0);
    pair.connection
        .receive(&mut pair.sessions, 0, output.as_slice(), now)
        .unwrap();
    assert_eq!(pair.word(0), 100);
    // All answers are lost, and somebody else adds meanwhile.
    pair.region.fetch_add(BASE, 1000).unwrap();
    pair.reconnect(now);
    pair.exchange(now);
    assert_eq!(pair.word(0), 1100);
    let values: Vec<_> = pair
        .ended
        .heard
        .iter()
        .map(|(_, heard)| heard.clone())
        .collect();
    assert_eq!(
        values,
        (0..100)
            .map(|old| Ok(Heard::Value(old)))
            .collect::<Vec<_>>()
    );
}

#[test]
fn giving_up_before_sending_is_certain_and_after_it_is_not() {
    let mut pair = Pair::new(128, Rights::ALL);
    let now = Instant::now();
    pair.ended.is_kept = true;
    let add = Operation::FetchAdd {
        offset: 0,
        operand: 1,
    };
    let early = pair.submit(add, now).unwrap();
    let given_up = pair.client.cancel(early, &mut pair.ended);
    assert_eq!(given_up, Some(Outcome::NotDelivered));
    assert_eq!(pair.client.cancel(early, &mut pair.ended), None);
    let (handle, deadline) = (pair.handle, Some(now + Duration::from_millis(5)));
    let submission = Submission {
        handle,
        operation: add,
        fence: false,
        deadline,
        token: 77,
    };
    pair.client.submit(&submission, now).unwrap();
    pair.client.flush();
    assert_eq!(pair.client.deadline(), deadline);
    pair.client
        .expire(now + Duration::from_millis(4), &mut pair.ended);
    assert_eq!(pair.ended.heard.len(), 1);
    pair.client
        .expire(now + Duration::from_millis(5), &mut pair.ended);
    let failed = |failure, outcome| Err(OperationError { failure, outcome });
    assert_eq!(
        pair.ended.heard[0].1,
        failed(OperationFailure::Cancelled, Outcome::NotDelivered)
    );
    assert_eq!(
        pair.ended.heard[1],
        (
            77,
            failed(OperationFailure::DeadlineExceeded, Outcome::Unknown)
        )
    );
    pair.exchange(now);
    assert_eq!(
        (pair.word(0), pair.ended.heard.len(), pair.client.pending()),
        (1, 2, 0)
    );

    // Closing tells everybody.
    pair.submit(add, now).unwrap();
    pair.client.flush();
    pair.submit(add, now).unwrap();
    pair.client.close(&mut pair.ended);
    assert_eq!(
        pair.ended.heard[2].1,
        failed(OperationFailure::Closed, Outcome::Unknown)
    );
    assert_eq!(
        pair.ended.heard[3].1,
        failed(OperationFailure::Closed, Outcome::NotDelivered)
    );
    assert_eq!(pair.submit(add, now), Err(SubmitError::Closed));
}

/// Found by fuzzing: at the first operation, the number before it widens to the last one there can be.
#[test]
fn numbers_from_outside_the_window_end_the_connection() {
    let now = Instant::now();
    let read = Operation::Read {
        offset: 0,
        length: 8,
    };
    let mut acknowledgement = Vec::new();
    AckBelow(u32::MAX).encode(&mut acknowledgement);
    let mut batch = Vec::new();
    let mut writer = BatchWriter::new(&mut batch, 0, u32::MAX, false);
    assert!(writer.push(&mut batch, &read));
    writer.finish(&mut batch);
    let mut far = Vec::new();
    AckBelow(WINDOW as u32 + 1).encode(&mut far);
    for bytes in [acknowledgement, batch, far] {
        let mut pair = Pair::new(128, Rights::ALL);
        assert_eq!(
            pair.connection.receive(&mut pair.sessions, 0, &bytes, now),
            Err(ServerError::Window)
        );
    }
}
