//! The router as its users meet it.

mod mesh;

use std::sync::atomic::{AtomicBool, Ordering};

use linkmesh_registry::Status;
use linkmesh_routing::Outcome;
use linkmesh_routing::Picked;
use linkmesh_tables::epoch::Domain;
use mesh::Mesh;

#[test]
fn picks_and_completes() {
    let mut mesh = Mesh::new("{}");
    let instance = mesh.add("{}");
    let (ticket, picked) = mesh.pick().unwrap();
    assert_eq!(
        (picked.instance, picked.thread, picked.probe),
        (instance, 1, false)
    );
    assert_eq!(mesh.in_flight(instance), 1);
    mesh.complete(ticket, Outcome::Ok, 500).unwrap();
    assert_eq!(mesh.in_flight(instance), 0);
    assert_eq!(
        mesh.complete(ticket, Outcome::Ok, 500),
        Err(Status::StaleTicket)
    );
}

#[test]
fn says_why_it_does_not_pick() {
    let mut mesh = Mesh::new(r#"{"concurrency":1,"breaker":{"consecutiveFailures":1}}"#);
    assert_eq!(mesh.pick(), Err(Status::NoInstance));
    let instance = mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    assert_eq!(mesh.pick(), Err(Status::Saturated));
    mesh.complete(ticket, Outcome::Error, 500).unwrap();
    assert_eq!(mesh.pick(), Err(Status::BreakerOpen));
    assert_eq!(mesh.retry_after_ms, 1_000);
    mesh.router
        .update_instance(instance, r#"{"health":"draining"}"#, mesh.now_us)
        .unwrap();
    assert_eq!(mesh.pick(), Err(Status::Draining));
    mesh.router.remove_instance(instance, mesh.now_us).unwrap();
    assert_eq!(mesh.pick(), Err(Status::NoInstance));
    mesh.router
        .remove_service(mesh.service, mesh.now_us)
        .unwrap();
    assert_eq!(mesh.pick(), Err(Status::StaleHandle));
}

#[test]
fn round_robin_gives_the_one_after_a_failed_one_no_double_load() {
    let mut mesh = Mesh::new(r#"{"balancer":"round-robin"}"#);
    let instances: Vec<u32> = (0..4).map(|_| mesh.add("{}")).collect();
    mesh.router
        .update_instance(instances[1], r#"{"health":"draining"}"#, 0)
        .unwrap();
    let counts = mesh.spread(9_000);
    assert_eq!(counts.get(&instances[1]), None);
    for survivor in [instances[0], instances[2], instances[3]] {
        assert!((2_900..=3_100).contains(&counts[&survivor]), "{counts:?}");
    }
}

#[test]
fn a_policy_that_changes_refuses_nobody() {
    let mut mesh = Mesh::new("{}");
    for _ in 0..3 {
        mesh.add("{}");
    }
    let (router, service) = (&mesh.router, mesh.service);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let picker = scope.spawn(|| {
            let reader = Domain::global().register();
            let mut caller = router.caller(2).unwrap();
            let mut picks = 0u32;
            // At least some, whatever the other thread is done with first.
            while !done.load(Ordering::Relaxed) || picks < 1_000 {
                let guard = reader.pin();
                let mut picked = Picked::default();
                let ticket = router.pick(&guard, &mut caller, service, 0, 1, &mut picked);
                let ticket = ticket.expect("there are three instances all the time");
                router
                    .complete(&guard, ticket, Outcome::Ok as u8, 1, 1)
                    .unwrap();
                picks += 1;
            }
        });
        for round in 0..300 {
            let balancer = ["maglev", "adaptive", "round-robin"][round % 3];
            let policy = format!(r#"{{"balancer":"{balancer}"}}"#);
            router.define_service("orders", &policy, 1).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        picker.join().unwrap();
    });
}

#[test]
fn a_fleet_that_comes_one_by_one_with_its_policy_is_soon_there() {
    let policy = r#"{"balancer":"maglev"}"#;
    let mut mesh = Mesh::new(policy);
    for n in 0..1_000 {
        mesh.now_us += 10;
        mesh.router
            .define_service("orders", policy, mesh.now_us)
            .unwrap();
        mesh.add(&format!(
            r#"{{"address":"http://10.0.{}.{}"}}"#,
            n >> 8,
            n & 255
        ));
    }
    // A table of that size takes some milliseconds; a thousand would take longer than this test may.
    let second_us = 20;
    assert_eq!(mesh.router.next_deadline(), Some(second_us + 102_000));
    mesh.now_us += 2_000_000;
    mesh.router.tick(mesh.now_us);
    let homes = |mesh: &mut Mesh| -> Vec<u32> {
        (1..100)
            .map(|key| {
                let (ticket, picked) = mesh.pick_key(key * 7_919).unwrap();
                mesh.complete(ticket, Outcome::Ok, 100).unwrap();
                picked.instance
            })
            .collect()
    };
    let first = homes(&mut mesh);
    assert!(first.iter().collect::<std::collections::HashSet<_>>().len() > 80);
    assert_eq!(homes(&mut mesh), first);
}
