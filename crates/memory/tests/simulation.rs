//! Operations under kills, reconnects, restarts, leases and impatient callers: linearizable per cell, adds exact.
//!
//! Thirty seeds a test by default. All of them: `LINKMESH_SEEDS=20000 cargo test --release -p linkmesh-memory --test simulation`;
//! one of them: `LINKMESH_SEED=17`.

mod common;

use common::{
    history::{Action, End, Event, is_linearizable},
    world::{Faults, World},
};

const STEPS: usize = 600;

fn seeds() -> impl Iterator<Item = u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text: String| text.parse::<u64>().expect(name))
    };
    match number("LINKMESH_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LINKMESH_SEEDS").unwrap_or(30),
    }
}

/// Runs each seed and adds up what was met: (answered, unknown, reconnects).
fn run(faults: Faults) -> (usize, usize, usize) {
    let mut met = (0, 0, 0);
    for seed in seeds() {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, 1 + seed as usize % 4, faults);
            for _ in 0..STEPS {
                world.step(true);
            }
            world.settle();
            world.check();
            (
                world.record.answered,
                world.record.unknown,
                world.reconnects,
            )
        });
        match result {
            Ok((answered, unknown, reconnects)) => {
                met = (met.0 + answered, met.1 + unknown, met.2 + reconnects);
            }
            Err(panic) => {
                eprintln!("LINKMESH_SEED={seed} with {faults:?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    met
}

#[test]
fn without_faults_everything_is_answered() {
    let (answered, unknown, _) = run(Faults {
        disconnect: 0,
        restart: 0,
        lease: 0,
        cancel: 0,
    });
    assert!(answered > 0);
    assert_eq!(unknown, 0);
}

#[test]
fn a_connection_that_dies_at_any_byte_leaves_nothing_unknown() {
    let (answered, unknown, reconnects) = run(Faults {
        disconnect: 40,
        restart: 0,
        lease: 0,
        cancel: 0,
    });
    assert!(answered > 0 && reconnects > 0);
    assert_eq!(unknown, 0);
}

#[test]
fn a_restart_or_an_ended_lease_leaves_at_most_what_was_sent_unknown() {
    let (answered, unknown, reconnects) = run(Faults {
        disconnect: 40,
        restart: 150,
        lease: 150,
        cancel: 0,
    });
    assert!(answered > 0 && reconnects > 0);
    assert!(unknown > 0, "these seeds meet what they are for");
}

#[test]
fn impatient_callers_change_nothing_for_the_others() {
    let (answered, unknown, _) = run(Faults {
        disconnect: 60,
        restart: 200,
        lease: 200,
        cancel: 15,
    });
    assert!(answered > 0 && unknown > 0);
}

fn event(invoked: u64, at: u64, action: Action, value: Option<u64>) -> Event {
    Event {
        invoked,
        action,
        end: End::Answered { at, value },
        after: Vec::new(),
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let add = |invoked, at, old| event(invoked, at, Action::Add(1), Some(old));
    let read = |invoked, at, value| event(invoked, at, Action::Read, Some(value));
    assert!(is_linearizable(
        0,
        &[add(1, 9, 1), add(2, 8, 0), read(10, 11, 2)]
    ));
    assert!(
        !is_linearizable(0, &[add(1, 2, 1), add(3, 4, 0)]),
        "the later add cannot come first"
    );
    assert!(
        !is_linearizable(0, &[add(1, 2, 0), read(3, 4, 2)]),
        "an add that happened twice"
    );
    assert!(
        !is_linearizable(0, &[read(1, 2, 1), add(3, 4, 0)]),
        "a value from the future"
    );
    let unknown = Event {
        invoked: 1,
        action: Action::Add(1),
        end: End::Unknown,
        after: Vec::new(),
    };
    assert!(
        is_linearizable(0, &[unknown.clone(), read(2, 3, 0), read(4, 5, 1)]),
        "late, once"
    );
    assert!(
        is_linearizable(0, &[unknown.clone(), read(2, 3, 0)]),
        "never"
    );
    assert!(!is_linearizable(0, &[unknown, read(2, 3, 2)]), "twice");
    // A resent write that happens again after somebody else's.
    let write = |invoked, at, value| event(invoked, at, Action::Write(value), None);
    assert!(!is_linearizable(
        0,
        &[
            write(1, 20, 7),
            read(2, 3, 7),
            write(4, 5, 8),
            read(6, 7, 8),
            read(8, 9, 7)
        ]
    ));
    // The order of a lane, though the two overlap.
    let mut second = write(1, 9, 2);
    second.after = vec![0];
    assert!(!is_linearizable(
        0,
        &[write(1, 9, 1), second, read(10, 11, 1)]
    ));
}
