//! The router as its users meet it.

mod mesh;

use linkmesh_registry::Status;
use linkmesh_routing::Outcome;
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
