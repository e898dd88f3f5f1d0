//! The hot path allocates nothing; threads share it without losing a place.

#[path = "../../tables/tests/common/allocations.rs"]
mod allocations;
mod mesh;

use std::sync::atomic::{AtomicU32, Ordering};

use allocations::allocations;
use linkmesh_registry::{LoadSource, Status};
use linkmesh_routing::{Outcome, Picked};
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

#[test]
fn pick_and_complete_allocate_nothing() {
    for balancer in BALANCERS {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}","concurrency":4}}"#));
        for weight in 1..=20 {
            mesh.add(&format!(r#"{{"weight":{weight}}}"#));
        }
        let mut tickets = Vec::with_capacity(256);
        let mut count = 0;
        for round in 0..3_000u64 {
            let before = allocations();
            for _ in 0..100 {
                let Ok((ticket, _)) = mesh.pick_key(if round % 2 == 0 { 0 } else { round as u32 })
                else {
                    break;
                };
                tickets.push(ticket);
            }
            for (n, ticket) in tickets.drain(..).enumerate() {
                let outcome = Outcome::ALL[if n % 5 == 0 { n % 7 } else { 0 }];
                // One octave of the histogram: its buckets are allocated once, in the first round.
                mesh.complete(ticket, outcome, 600).unwrap();
            }
            mesh.now_us += 10_000;
            // And a table by key in the second, as members have come one by one just before.
            if round > 1 {
                count += allocations() - before;
            }
        }
        assert_eq!(count, 0, "{balancer}");
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
