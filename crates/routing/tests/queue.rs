//! Waiting for a place, and what ends by time or with a thread.

mod mesh;

use linkmesh_registry::Status;
use linkmesh_routing::{Grant, Outcome};
use mesh::Mesh;

const TIGHT: &str = r#"{"concurrency":1,"queueLimit":2}"#;

#[test]
fn first_come_first_served_and_bounded() {
    let mut mesh = Mesh::new(TIGHT);
    let instance = mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    let first = mesh.wait(0, None, 2, 1_000.0).unwrap();
    let second = mesh.wait(0, None, 3, 1_000.0).unwrap();
    assert_eq!(mesh.wait(0, None, 4, 1_000.0), Err(Status::QueueFull));
    assert_eq!(mesh.complete(ticket, Outcome::Ok, 100), Ok(Some(2)));
    let granted = mesh.grants(2);
    assert_eq!((granted[0].wait_id, granted[0].instance), (first, instance));
    assert_eq!(mesh.in_flight(instance), 1, "a real ticket with its place");
    assert_eq!(
        mesh.complete(granted[0].result.unwrap(), Outcome::Ok, 100),
        Ok(Some(3))
    );
    let granted = mesh.grants(3);
    assert_eq!(granted[0].wait_id, second);
    assert_eq!(
        mesh.complete(granted[0].result.unwrap(), Outcome::Ok, 100),
        Ok(None)
    );
    assert_eq!(mesh.in_flight(instance), 0);
}

#[test]
fn a_free_place_is_granted_at_once() {
    let mut mesh = Mesh::new(TIGHT);
    mesh.add("{}");
    let id = mesh.wait(0, None, 1, 10.0).unwrap();
    assert_eq!(
        mesh.router.next_deadline(),
        Some(0),
        "somebody must be woken"
    );
    assert_eq!(mesh.router.tick(0), [1]);
    let granted = mesh.grants(1);
    assert_eq!(granted[0].wait_id, id);
    assert!(
        !mesh.router.wait_cancel(id, mesh.now_us),
        "too late to cancel"
    );
    mesh.complete(granted[0].result.unwrap(), Outcome::Cancelled, -1)
        .unwrap();
}

#[test]
fn a_wait_times_out_and_a_cancelled_one_is_never_answered() {
    let mut mesh = Mesh::new(TIGHT);
    mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    let late = mesh.wait(0, None, 2, 50.0).unwrap();
    let cancelled = mesh.wait(0, None, 2, 50.0).unwrap();
    assert!(mesh.router.wait_cancel(cancelled, mesh.now_us));
    assert!(!mesh.router.wait_cancel(cancelled, mesh.now_us));
    assert_eq!(mesh.router.next_deadline(), Some(50_000));
    assert!(mesh.router.tick(49_999).is_empty());
    assert_eq!(mesh.router.tick(50_000), [2]);
    let answers = mesh.grants(2);
    assert_eq!(
        answers,
        [Grant {
            wait_id: late,
            result: Err(Status::DeadlineExceeded),
            retry_after_ms: 0,
            instance: 0,
            thread: 0
        }]
    );
    assert_eq!(mesh.complete(ticket, Outcome::Ok, 100), Ok(None));
    for (timeout_ms, expected) in [
        (f64::NAN, Status::InvalidArgument),
        (-1.0, Status::InvalidArgument),
        (f64::INFINITY, Status::InvalidArgument),
    ] {
        assert_eq!(mesh.wait(0, None, 2, timeout_ms), Err(expected));
    }
}

#[test]
fn time_alone_frees_a_place_for_whoever_waits() {
    let mut mesh = Mesh::new(r#"{"rejectedMs":200}"#);
    mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    mesh.complete(ticket, Outcome::Rejected, 10).unwrap();
    assert_eq!(mesh.pick(), Err(Status::Saturated));
    mesh.wait(0, None, 5, 1_000.0).unwrap();
    assert_eq!(mesh.router.next_deadline(), Some(200_000));
    assert_eq!(mesh.router.tick(200_000), [5]);
    assert!(mesh.grants(5)[0].result.is_ok());
}

#[test]
fn new_instances_and_raised_limits_serve_the_queue_and_a_removed_service_ends_it() {
    let mut mesh = Mesh::new(TIGHT);
    let instance = mesh.add("{}");
    let (_held, _) = mesh.pick().unwrap();
    mesh.wait(0, None, 2, 1_000.0).unwrap();
    mesh.wait(0, None, 3, 1_000.0).unwrap();
    mesh.router
        .update_instance(instance, r#"{"concurrency":2}"#, 0)
        .unwrap();
    assert!(mesh.grants(2)[0].result.is_ok());
    mesh.add("{}");
    assert!(mesh.grants(3)[0].result.is_ok());
    mesh.wait(0, None, 4, 1_000.0).unwrap();
    mesh.router.remove_service(mesh.service, 0).unwrap();
    assert_eq!(mesh.grants(4)[0].result, Err(Status::NotFound));
}

#[test]
fn a_dead_thread_leaks_neither_ticket_nor_place() {
    let mut mesh = Mesh::new(TIGHT);
    let instance = mesh.router.add_instance(mesh.service, "{}", 9, 0).unwrap();
    let (ticket, _) = mesh.pick().unwrap();
    mesh.wait(0, None, 2, 1_000.0).unwrap();
    mesh.wait(0, None, 2, 1_000.0).unwrap();
    // The grant is made; its thread dies before taking it, with another wait in the queue.
    mesh.complete(ticket, Outcome::Ok, 100).unwrap();
    assert_eq!(mesh.in_flight(instance), 1);
    mesh.router.thread_ended(2, 0);
    assert_eq!(mesh.in_flight(instance), 0);
    assert!(mesh.grants(2).is_empty());
    let (ticket, _) = mesh.pick().unwrap();
    // Now the thread of the instance dies: it is gone, the caller can still complete.
    mesh.router.thread_ended(9, 0);
    assert_eq!(mesh.pick(), Err(Status::NoInstance));
    assert!(mesh.complete(ticket, Outcome::Unknown, -1).is_ok());
}

#[test]
fn a_forgotten_ticket_ends_as_unknown() {
    let mut mesh = Mesh::new(r#"{"ticketLeaseMs":1000,"breaker":{"consecutiveFailures":1}}"#);
    let instance = mesh.add("{}");
    mesh.now_us = 400_000;
    let (ticket, _) = mesh.pick().unwrap();
    mesh.now_us = mesh.router.next_deadline().unwrap();
    mesh.router.tick(mesh.now_us);
    assert_eq!(mesh.in_flight(instance), 1, "looked at, not due");
    mesh.now_us = mesh.router.next_deadline().unwrap();
    assert_eq!(mesh.now_us, 1_400_000);
    mesh.router.tick(mesh.now_us);
    assert_eq!(mesh.in_flight(instance), 0);
    assert_eq!(
        mesh.complete(ticket, Outcome::Ok, 1),
        Err(Status::StaleTicket)
    );
    assert_eq!(
        mesh.pick(),
        Err(Status::BreakerOpen),
        "Unknown is a failure"
    );
}

#[test]
fn an_instance_dies_with_its_lease() {
    let mut mesh = Mesh::new("{}");
    mesh.add(r#"{"leaseMs":100}"#);
    assert!(mesh.pick().is_ok());
    assert_eq!(mesh.router.next_deadline(), Some(100_000));
    mesh.router.tick(100_000);
    assert_eq!(mesh.pick(), Err(Status::NoInstance));
    let events = mesh.router.events_json(0);
    assert!(events.contains("lease-expired"), "{events}");
}

#[test]
fn breaker_changes_are_events_in_order() {
    let mut mesh = Mesh::new(r#"{"breaker":{"consecutiveFailures":1,"probes":1}}"#);
    mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    mesh.complete(ticket, Outcome::Error, 1).unwrap();
    mesh.now_us = 1_000_000;
    let (ticket, _) = mesh.pick().unwrap();
    mesh.complete(ticket, Outcome::Ok, 1).unwrap();
    let batch: serde_json::Value = serde_json::from_str(&mesh.router.events_json(2)).unwrap();
    let changes: Vec<_> = batch["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["from"].as_str(), event["to"].as_str()))
        .collect();
    let words = |from, to| (Some(from), Some(to));
    assert_eq!(
        changes,
        [
            words("closed", "open"),
            words("open", "half-open"),
            words("half-open", "closed")
        ]
    );
}
