//! Classes of service: how far each is let in, who goes first, who is shed first, what the queue says of it, and whose
//! slow requests are sent twice.

mod mesh;

use linkmesh_registry::Status;
use linkmesh_routing::{Outcome, Picked, Qos};
use mesh::Mesh;

#[test]
fn a_class_with_a_share_leaves_the_rest_to_the_others() {
    let mut mesh =
        Mesh::new(r#"{"concurrency":10,"qos":{"shares":{"best-effort":0.5,"low-latency":0.85}}}"#);
    let instance = mesh.add("{}");
    let mut tickets = Vec::new();
    while let Ok((ticket, _)) = mesh.pick() {
        tickets.push(ticket);
    }
    assert_eq!(
        tickets.len(),
        5,
        "requests that name no class are best-effort"
    );
    assert_eq!(mesh.pick(), Err(Status::Saturated));
    while let Ok((ticket, _)) = mesh.pick_for(Qos::LowLatency) {
        tickets.push(ticket);
    }
    assert_eq!(tickets.len(), 9, "a share is rounded up to a whole request");
    tickets.push(mesh.pick_for(Qos::Critical).unwrap().0);
    assert_eq!(mesh.pick_for(Qos::Critical), Err(Status::Saturated));
    for ticket in tickets {
        mesh.complete(ticket, Outcome::Ok, 100).unwrap();
    }
    assert_eq!(mesh.in_flight(instance), 0);
}

#[test]
fn without_a_limit_there_is_nothing_to_share() {
    let mut mesh = Mesh::new(r#"{"concurrency":0,"qos":{"shares":{"best-effort":0.001}}}"#);
    mesh.add("{}");
    for _ in 0..1_000 {
        mesh.pick().unwrap();
    }
}

#[test]
fn an_explanation_says_the_class() {
    let mut mesh = Mesh::new(r#"{"qos":{"class":"high-throughput"}}"#);
    mesh.add("{}");
    let (usual, _) = mesh.pick().unwrap();
    let (critical, _) = mesh.pick_for(Qos::Critical).unwrap();
    let class = |ticket| mesh.router.explain(ticket, mesh.now_us).unwrap().qos;
    assert_eq!(class(usual), Qos::HighThroughput);
    assert_eq!(class(critical), Qos::Critical);
    let text = mesh.router.explain_json(critical, mesh.now_us).unwrap();
    assert!(text.contains(r#""qos":"critical""#), "{text}");
}

#[test]
fn the_most_urgent_class_is_served_first_and_within_one_who_came_first() {
    let mut mesh = Mesh::new(r#"{"concurrency":1}"#);
    mesh.add("{}");
    let (mut held, _) = mesh.pick().unwrap();
    let arrivals = [
        Qos::BestEffort,
        Qos::HighReliability,
        Qos::LowLatency,
        Qos::Critical,
        Qos::HighThroughput,
        Qos::LowLatency,
        Qos::Critical,
    ];
    let waits: Vec<u32> = arrivals
        .iter()
        .map(|class| mesh.wait_for(*class, 2).unwrap())
        .collect();
    let mut served = Vec::new();
    for _ in &waits {
        mesh.complete(held, Outcome::Ok, 100).unwrap();
        let grant = mesh.grants(2)[0];
        held = grant.result.unwrap();
        served.push(waits.iter().position(|id| *id == grant.wait_id).unwrap());
    }
    assert_eq!(served, [3, 6, 2, 5, 1, 4, 0]);
}

#[test]
fn a_place_that_one_class_may_not_have_goes_to_the_next() {
    let mut mesh = Mesh::new(r#"{"concurrency":2,"qos":{"shares":{"low-latency":0.5}}}"#);
    mesh.add("{}");
    let (first, _) = mesh.pick().unwrap();
    mesh.pick().unwrap();
    let held_back = mesh.wait_for(Qos::LowLatency, 2).unwrap();
    let let_in = mesh.wait_for(Qos::BestEffort, 3).unwrap();
    mesh.complete(first, Outcome::Ok, 100).unwrap();
    assert_eq!(mesh.grants(3)[0].wait_id, let_in);
    assert!(mesh.grants(2).is_empty());
    assert!(mesh.router.wait_cancel(held_back, mesh.now_us));
}

#[test]
fn shed_lowest_refuses_the_newest_of_the_lowest_class_below_the_newcomers() {
    let mut mesh = Mesh::new(r#"{"concurrency":1,"queueLimit":3,"backpressure":"shed-lowest"}"#);
    mesh.add("{}");
    mesh.pick().unwrap();
    mesh.wait_for(Qos::BestEffort, 2).unwrap();
    let newest = mesh.wait_for(Qos::BestEffort, 2).unwrap();
    mesh.wait_for(Qos::HighThroughput, 2).unwrap();
    assert_eq!(
        mesh.wait_for(Qos::BestEffort, 2),
        Err(Status::QueueFull),
        "nobody is below"
    );
    mesh.wait_for(Qos::Critical, 3).unwrap();
    let shed = mesh.grants(2)[0];
    assert_eq!(
        (shed.wait_id, shed.result),
        (newest, Err(Status::QueueFull))
    );
    assert!(shed.retry_after_ms > 0, "it is told when to come back");
    mesh.wait_for(Qos::Critical, 3).unwrap();
    mesh.wait_for(Qos::Critical, 3).unwrap();
    assert_eq!(mesh.wait_for(Qos::Critical, 3), Err(Status::QueueFull));
    assert_eq!(
        mesh.info()["shed"],
        serde_json::json!({"best-effort": 3, "high-throughput": 1, "critical": 1})
    );
    assert_eq!(mesh.info()["queued"], 3);
}

#[test]
fn drop_oldest_never_drops_who_is_above_the_newcomer() {
    let mut mesh = Mesh::new(r#"{"concurrency":1,"queueLimit":2,"backpressure":"drop-oldest"}"#);
    mesh.add("{}");
    mesh.pick().unwrap();
    mesh.wait_for(Qos::Critical, 2).unwrap();
    let oldest = mesh.wait_for(Qos::LowLatency, 2).unwrap();
    assert_eq!(mesh.wait_for(Qos::BestEffort, 2), Err(Status::QueueFull));
    mesh.wait_for(Qos::LowLatency, 2).unwrap();
    assert_eq!(mesh.grants(2)[0].wait_id, oldest);
}

#[test]
fn who_may_not_wait_is_counted_as_shed_once() {
    for policy in [
        r#"{"concurrency":1,"backpressure":"reject"}"#,
        r#"{"concurrency":1,"queueLimit":0}"#,
    ] {
        let mut mesh = Mesh::new(policy);
        mesh.add("{}");
        mesh.pick().unwrap();
        assert_eq!(mesh.pick_for(Qos::Critical), Err(Status::Saturated));
        assert_eq!(mesh.info()["shed"], serde_json::json!({"critical": 1}));
    }
}

#[test]
fn who_still_knows_a_policy_with_a_queue_is_counted_as_shed_once() {
    for policy in [
        r#"{"concurrency":1,"backpressure":"reject"}"#,
        r#"{"concurrency":1,"queueLimit":0,"backpressure":"drop-oldest"}"#,
    ] {
        let mut mesh =
            Mesh::new(r#"{"concurrency":1,"queueLimit":2,"backpressure":"drop-oldest"}"#);
        mesh.add("{}");
        mesh.pick().unwrap();
        let waits = mesh.wait_for(Qos::Critical, 2).unwrap();
        mesh.router
            .define_service("orders", policy, mesh.now_us)
            .unwrap();
        // What a thread does that has not read the new policy yet.
        assert_eq!(mesh.pick_for(Qos::Critical), Err(Status::Saturated));
        assert_eq!(mesh.wait_for(Qos::Critical, 3), Err(Status::Saturated));
        assert_eq!(mesh.info()["shed"], serde_json::json!({"critical": 1}));
        // Who waits already was promised a place.
        assert!(mesh.grants(2).is_empty(), "{waits} is not sent away");
        assert_eq!(mesh.info()["queued"], 1);
    }
}

#[test]
fn the_queue_says_when_it_fills_and_when_it_has_emptied() {
    let mut mesh =
        Mesh::new(r#"{"concurrency":1,"queueLimit":10,"watermarks":{"high":0.5,"low":0.2}}"#);
    mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    let levels = |mesh: &Mesh| -> Vec<(String, u64)> {
        let batch: serde_json::Value = serde_json::from_str(&mesh.router.events_json(0)).unwrap();
        let events = batch["events"].as_array().unwrap().iter();
        events
            .filter(|event| event["kind"] == "backpressure")
            .map(|event| {
                assert_eq!(event["limit"], 10);
                let level = event["level"].as_str().unwrap().to_owned();
                (level, event["queued"].as_u64().unwrap())
            })
            .collect()
    };
    let mut waits: Vec<u32> = (0..4)
        .map(|_| mesh.wait_for(Qos::BestEffort, 2).unwrap())
        .collect();
    assert_eq!(levels(&mesh), []);
    waits.extend((0..3).map(|_| mesh.wait_for(Qos::BestEffort, 2).unwrap()));
    let high = ("high".to_owned(), 5);
    assert_eq!(
        levels(&mesh),
        std::slice::from_ref(&high),
        "once, not for each more"
    );
    mesh.complete(ticket, Outcome::Ok, 100).unwrap();
    for wait in &waits[1..4] {
        assert!(mesh.router.wait_cancel(*wait, mesh.now_us));
    }
    assert_eq!(levels(&mesh).len(), 1, "three still wait");
    mesh.now_us = 10_000_000;
    mesh.router.tick(mesh.now_us);
    assert_eq!(levels(&mesh), [high, ("low".to_owned(), 0)]);
}

fn hedge(mesh: &mut Mesh, first: u32) -> Result<(u64, u32), Status> {
    let (guard, mut picked) = (mesh.reader.pin(), Picked::default());
    let ticket = mesh.router.hedge(
        &guard,
        &mut mesh.caller,
        mesh.service,
        first,
        Some(Qos::Critical),
        mesh.now_us,
        &mut picked,
    );
    ticket.map(|ticket| (ticket, picked.instance))
}

#[test]
fn a_hedge_goes_to_the_least_busy_of_the_others_and_respects_their_limits() {
    let mut mesh = Mesh::new(r#"{"concurrency":2,"hedge":{"enabled":true,"budget":1}}"#);
    let instances: Vec<u32> = (0..3).map(|_| mesh.add("{}")).collect();
    mesh.spread(100);
    let (_held, first) = mesh.pick().unwrap();
    let (_second, other) = hedge(&mut mesh, first.instance).unwrap();
    let (_third, last) = hedge(&mut mesh, first.instance).unwrap();
    let mut seen = [first.instance, other, last];
    seen.sort_unstable();
    assert_eq!(
        seen, *instances,
        "each is busier than the one that was left"
    );
    while hedge(&mut mesh, first.instance).is_ok() {}
    assert_eq!(mesh.in_flight(first.instance), 1);
    assert_eq!(mesh.in_flight(other), 2);
    assert_eq!(mesh.in_flight(last), 2);
}

#[test]
fn a_hedge_passes_over_who_fails_and_who_is_half_open() {
    let mut mesh = Mesh::new(
        r#"{"hedge":{"enabled":true,"budget":1},"breaker":{"consecutiveFailures":0,"errorRate":1}}"#,
    );
    let (sick, well, first) = (mesh.add("{}"), mesh.add("{}"), mesh.add("{}"));
    for _ in 0..60 {
        let (ticket, picked) = mesh.pick().unwrap();
        let outcome = if picked.instance == sick {
            Outcome::Error
        } else {
            Outcome::Ok
        };
        mesh.now_us += 1_000;
        mesh.complete(ticket, outcome, 1_000).unwrap();
    }
    assert_eq!(hedge(&mut mesh, first).unwrap().1, well);
}

#[test]
fn hedges_are_a_share_of_the_requests_and_no_retries() {
    let mut mesh = Mesh::new(
        r#"{"hedge":{"enabled":true,"budget":0.05},"retry":{"minPerSecond":0,"budget":0.2}}"#,
    );
    let instances = [mesh.add("{}"), mesh.add("{}")];
    let mut granted = 0;
    for _ in 0..2_000 {
        let (ticket, picked) = mesh.pick().unwrap();
        if let Ok((second, _)) = hedge(&mut mesh, picked.instance) {
            mesh.complete(second, Outcome::Ok, 100).unwrap();
            granted += 1;
        }
        mesh.complete(ticket, Outcome::Cancelled, 100).unwrap();
    }
    assert_eq!(granted, 100);
    assert_eq!(mesh.info()["hedges"], 100);
    assert_eq!(mesh.info()["retries"], 0);
    assert!(instances.iter().all(|one| mesh.in_flight(*one) == 0));
}

#[test]
fn the_percentile_is_of_the_latest_latencies() {
    let mut mesh = Mesh::new(r#"{"hedge":{"enabled":true,"minSamples":50}}"#);
    mesh.add("{}");
    let after = |mesh: &Mesh, qos| {
        let guard = mesh.reader.pin();
        mesh.router
            .hedge_after(&guard, mesh.service, qos, mesh.now_us)
    };
    let answer = |mesh: &mut Mesh, count: u32, latency_us: i64| {
        for _ in 0..count {
            let (ticket, _) = mesh.pick().unwrap();
            mesh.complete(ticket, Outcome::Ok, latency_us).unwrap();
            mesh.now_us += 10_000;
        }
    };
    let near = |found: Option<u64>, wanted: f64| {
        let found = found.unwrap() as f64;
        assert!((found / wanted - 1.0).abs() < 0.02, "{found} for {wanted}");
    };
    answer(&mut mesh, 49, 1_000);
    assert_eq!(after(&mesh, Some(Qos::Critical)), None, "too few");
    answer(&mut mesh, 1_000, 1_000);
    near(after(&mesh, Some(Qos::Critical)), 1_000.0);
    assert_eq!(after(&mesh, None), None, "best-effort is not hedged");
    // What was long ago counts no longer: else a service that became slow would be hedged for ever.
    answer(&mut mesh, 200, 80_000);
    near(after(&mesh, Some(Qos::LowLatency)), 80_000.0);
}
