//! Every interleaving of the hand-made protocols of a cell: the in-flight reservation, the probe places of the breaker,
//! the announcement of a waiter, the bit that says whether anything speaks against an instance. The modules are the
//! crate's own, compiled here over loom's atomics.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the modules are compiled whole, the models use parts"
)]

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}
#[path = "../src/breaker.rs"]
mod breaker;
#[path = "../src/calm.rs"]
mod calm;
#[path = "../src/policy/breaker.rs"]
mod policy;
#[path = "../src/reserve.rs"]
mod reserve;
#[path = "../src/window.rs"]
mod window;

use std::sync::Arc;

use breaker::{CircuitBreaker, Probe, Verdict};
use linkmesh_registry::Breaker;
use loom::thread;
use policy::BreakerPolicy;
use sync::{AtomicU32, AtomicU64, Ordering};

fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(body);
}

fn one_strike(concurrent_probes: u32) -> BreakerPolicy {
    BreakerPolicy {
        consecutive_failures: 1,
        probes: 1,
        concurrent_probes,
        ..BreakerPolicy::default()
    }
}

#[test]
fn the_limit_is_never_exceeded_and_every_place_comes_back() {
    model(|| {
        let places = Arc::new(AtomicU64::new(0));
        let held = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (places, held) = (Arc::clone(&places), Arc::clone(&held));
                thread::spawn(move || {
                    if reserve::reserve(&places, 2) {
                        assert!(held.fetch_add(1, Ordering::SeqCst) < 2);
                        held.fetch_sub(1, Ordering::SeqCst);
                        reserve::release(&places, false);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(places.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn racing_probes_lease_at_most_the_places_there_are() {
    model(|| {
        let policy = one_strike(1);
        let breaker = Arc::new(CircuitBreaker::default());
        breaker.record(&policy, false, Probe::NONE, 0);
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.lease_probe(&policy, 1_000_000))
        };
        let mine = breaker.lease_probe(&policy, 1_000_000);
        let leased = [mine, other.join().unwrap()].into_iter().flatten();
        let (leased, changes) = leased.fold((0, 0), |(leased, changes), (probe, change)| {
            (
                leased + u32::from(probe.lease != 0),
                changes + u32::from(change.is_some()),
            )
        });
        assert_eq!((leased, changes), (1, 1));
        assert!(matches!(
            breaker.verdict(&policy, 1_000_000),
            Verdict::ProbeTaken(_)
        ));
    });
}

#[test]
fn a_good_and_a_bad_probe_agree_on_one_end() {
    model(|| {
        let policy = one_strike(2);
        let breaker = Arc::new(CircuitBreaker::default());
        breaker.record(&policy, false, Probe::NONE, 0);
        let (good, _) = breaker.lease_probe(&policy, 1_000_000).unwrap();
        let (bad, _) = breaker.lease_probe(&policy, 1_000_000).unwrap();
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.record(&policy, true, good, 1_000_000))
        };
        let reopened = breaker.record(&policy, false, bad, 1_000_000);
        let closed = other.join().unwrap();
        // Whoever was first decided; the other's place was taken back or its state was gone.
        assert!(
            closed.is_some() != reopened.is_some(),
            "{closed:?} {reopened:?}"
        );
        let state = if closed.is_some() {
            Breaker::Closed
        } else {
            Breaker::Open
        };
        assert_eq!(breaker.state(), state);
    });
}

#[test]
fn racing_failures_open_it_once() {
    model(|| {
        let policy = BreakerPolicy {
            consecutive_failures: 2,
            ..one_strike(1)
        };
        let breaker = Arc::new(CircuitBreaker::default());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let breaker = Arc::clone(&breaker);
                thread::spawn(move || breaker.record(&policy, false, Probe::NONE, 0).is_some())
            })
            .collect();
        let opened = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|told| *told);
        assert_eq!(opened.count(), 1);
        assert_eq!(breaker.state(), Breaker::Open);
    });
}

/// `Router::wait` against `Router::complete`: the waiter announces itself and then looks for a place; the completer
/// frees the place and then looks for a waiter. One of the two must see the other, or the waiter sleeps for nothing.
#[test]
fn a_freed_place_and_a_waiter_never_miss_each_other() {
    model(|| {
        let places = Arc::new(AtomicU64::new(1));
        let waiting = Arc::new(AtomicU32::new(0));
        let granted = Arc::new(AtomicU64::new(0));
        let completer = {
            let (places, waiting, granted) = (
                Arc::clone(&places),
                Arc::clone(&waiting),
                Arc::clone(&granted),
            );
            thread::spawn(move || {
                reserve::release(&places, true);
                if waiting.load(Ordering::Acquire) != 0 {
                    granted.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        waiting.fetch_add(1, Ordering::AcqRel);
        reserve::look_for_place(&places);
        let found = reserve::reserve(&places, 1);
        completer.join().unwrap();
        assert!(found || granted.load(Ordering::SeqCst) == 1, "a lost wake");
    });
}

#[test]
fn what_speaks_against_an_instance_never_lacks_its_bit_for_good() {
    model(|| {
        let state = Arc::new(AtomicU64::new(calm::WATCHED));
        let against = Arc::new(AtomicU32::new(0));
        let settling = {
            let (state, against) = (Arc::clone(&state), Arc::clone(&against));
            thread::spawn(move || {
                calm::unwatch(&state, || against.load(Ordering::Relaxed) == 0);
            })
        };
        against.store(1, Ordering::Relaxed);
        calm::watch(&state);
        settling.join().unwrap();
        assert_ne!(state.load(Ordering::Relaxed) & calm::WATCHED, 0);
    });
}
