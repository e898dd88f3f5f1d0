//! The hot path allocates nothing; threads share it without losing a place.

#[path = "../../tables/tests/common/allocations.rs"]
mod allocations;
mod mesh;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use allocations::allocations;
use linkmesh_registry::{LoadSource, Status};
use linkmesh_routing::{Outcome, Picked, Qos};
use linkmesh_tables::epoch::Domain;
use mesh::Mesh;

const BALANCERS: [&str; 9] = [
    "round-robin",
    "weighted",
    "least-request",
    "peak-ewma",
    "random",
    "adaptive",
    "consistent-hash",
    "maglev",
    "rendezvous",
];

/// What a policy may add to a message's way, each with any balancer.
const FEATURES: [&str; 10] = [
    r#""concurrency":4"#,
    r#""concurrency":4,"rateLimit":{"perSecond":100000,"keyPerSecond":9000}"#,
    r#""adaptiveConcurrency":{"enabled":true,"windowMs":10}"#,
    r#""outlier":{"enabled":true}"#,
    r#""breaker":{"slowCallMs":1,"consecutiveFailures":2}"#,
    r#""concurrency":4,"balancing":{"fullScan":true,"hashBalanceFactor":125}"#,
    r#""balancing":{"slowStartMs":60000,"panicThreshold":0.5,"zoneFirst":true,"subset":["a"]}"#,
    r#""concurrency":4,"qos":{"class":"low-latency","shares":{"best-effort":0.3,"critical":0.9}}"#,
    r#""concurrency":4,"backpressure":"shed-lowest","hedge":{"enabled":true,"budget":1}"#,
    r#""concurrency":4,"queueLimit":0"#,
];

/// What picks and completes of every kind allocate once each has happened.
fn allocated(policy: &str) -> u64 {
    let mut mesh = Mesh::new(policy);
    for n in 1..=20 {
        mesh.add(&format!(
            r#"{{"weight":{n},"priority":{},"tags":["{}"]}}"#,
            n % 2,
            if n % 3 == 0 { "a" } else { "b" }
        ));
    }
    // Tables of keys are made once the members no longer change.
    mesh.now_us = 10_000_000;
    mesh.router.tick(mesh.now_us);
    // The first key of a service takes the memory for the homes of keys.
    let (first, _) = mesh.pick_key(1).unwrap();
    mesh.complete(first, Outcome::Ok, 600).unwrap();
    let classes: Vec<Option<Qos>> = [None].into_iter().chain(Qos::ALL.map(Some)).collect();
    let mut tickets = Vec::with_capacity(256);
    // An instance's first latency in an octave allocates: rounds that meet one for the first time are its warm-up.
    let mut met = HashSet::with_capacity(64);
    let mut count = 0;
    for round in 0..60u64 {
        let (before, known) = (allocations(), met.len());
        let guard = mesh.reader.pin();
        let (caller, service, now_us) = (&mut mesh.caller, mesh.service, mesh.now_us);
        for n in 0..100 {
            let key = if round % 2 == 0 { 0 } else { round as u32 };
            let (qos, mut picked) = (classes[n % classes.len()], Picked::default());
            let ticket =
                mesh.router
                    .pick_for(&guard, caller, service, key, qos, now_us, &mut picked);
            let Ok(ticket) = ticket else { continue };
            let first = picked.instance;
            tickets.push((ticket, first));
            if n % 8 == 0
                && let Ok(second) =
                    mesh.router
                        .hedge(&guard, caller, service, first, qos, now_us, &mut picked)
            {
                tickets.push((second, picked.instance));
            }
        }
        for (n, (ticket, instance)) in tickets.drain(..).enumerate() {
            let outcome = Outcome::ALL[if n % 5 == 0 { n % 7 } else { 0 }];
            if outcome != Outcome::Cancelled {
                met.insert(instance);
            }
            let done = if outcome == Outcome::Rejected && n % 2 == 0 {
                mesh.router
                    .complete_rejected(&guard, ticket, 600, 5, now_us)
            } else {
                mesh.router
                    .complete(&guard, ticket, outcome as u8, 600, now_us)
            };
            done.unwrap();
        }
        drop(guard);
        // Long enough for breakers to open, probe and close.
        mesh.now_us += 50_000;
        if met.len() == known {
            count += allocations() - before;
        }
    }
    count
}

#[test]
fn pick_and_complete_allocate_nothing_whatever_the_policy() {
    for balancer in BALANCERS {
        for features in FEATURES {
            let policy = format!(r#"{{"balancer":"{balancer}",{features}}}"#);
            assert_eq!(allocated(&policy), 0, "{policy}");
        }
    }
}

#[test]
fn four_threads_never_exceed_the_limit_and_leave_nothing_in_flight() {
    for balancer in BALANCERS {
        let policy = format!(
            r#"{{"balancer":"{balancer}","concurrency":3,"breaker":{{"enabled":false}},"rejectedMs":0}}"#
        );
        let mut mesh = Mesh::new(&policy);
        let instances: Vec<u32> = (0..3).map(|_| mesh.add("{}")).collect();
        // What is really under way, counted by the callers.
        let held: Vec<AtomicU32> = instances.iter().map(|_| AtomicU32::new(0)).collect();
        let refused = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (router, service, instances, held, refused) =
                    (&mesh.router, mesh.service, &instances, &held, &refused);
                scope.spawn(move || {
                    let reader = Domain::global().register();
                    let mut caller = router.caller(thread).unwrap();
                    let mut tickets: Vec<(u64, usize)> = Vec::new();
                    for n in 0..20_000u64 {
                        let guard = reader.pin();
                        let mut picked = Picked::default();
                        match router.pick(&guard, &mut caller, service, 0, n, &mut picked) {
                            Ok(ticket) => {
                                let index = instances
                                    .iter()
                                    .position(|i| *i == picked.instance)
                                    .unwrap();
                                assert!(
                                    held[index].fetch_add(1, Ordering::SeqCst) < 3,
                                    "limit exceeded"
                                );
                                tickets.push((ticket, index));
                            }
                            Err(Status::Saturated) => {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(status) => panic!("{status:?}"),
                        }
                        if tickets.len() > 2 || n % 3 == 0 {
                            for (ticket, index) in tickets.drain(..) {
                                held[index].fetch_sub(1, Ordering::SeqCst);
                                let outcome = Outcome::ALL[(n % 7) as usize];
                                router
                                    .complete(&guard, ticket, outcome as u8, 5, n)
                                    .unwrap();
                                assert_eq!(
                                    router.complete(&guard, ticket, 0, 5, n),
                                    Err(Status::StaleTicket)
                                );
                            }
                        }
                    }
                    for (ticket, index) in tickets {
                        held[index].fetch_sub(1, Ordering::SeqCst);
                        router.complete(&reader.pin(), ticket, 0, 5, 0).unwrap();
                    }
                });
            }
        });
        for instance in instances {
            assert_eq!(mesh.router.load(instance).in_flight, 0, "{balancer}");
        }
    }
}
