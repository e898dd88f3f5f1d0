//! Handles and tickets that nobody gave out; explanations; metrics that a parser would take.

mod mesh;

use std::collections::HashSet;

use linkmesh_metrics::{Collector, render_prometheus};
use linkmesh_registry::Status;
use linkmesh_routing::{
    Balancer, EXPLAINED_CANDIDATES, Filter, Outcome, Picked, RECORDED_CANDIDATES, Rng,
};
use mesh::Mesh;

#[test]
fn a_hundred_thousand_forged_numbers_do_nothing() {
    let mut mesh = Mesh::new("{}");
    let instance = mesh.add("{}");
    let (real, _) = mesh.pick().unwrap();
    let mut forge = Rng::new(99, 0);
    let guard = mesh.reader.pin();
    for n in 0..100_000u32 {
        let wild = u64::from(forge.next_u32()) << 32 | u64::from(forge.next_u32());
        // Half of them near the real one.
        let ticket = if n % 2 == 0 {
            wild
        } else {
            real ^ (1 << (n % 64))
        };
        if ticket != real {
            let closed = mesh.router.complete(&guard, ticket, (n % 9) as u8, -1, 0);
            assert!(
                matches!(closed, Err(Status::StaleTicket | Status::InvalidArgument)),
                "{ticket}"
            );
        }
        let handle = if n % 2 == 0 {
            forge.next_u32()
        } else {
            mesh.service ^ (1 << (n % 32))
        };
        if handle != mesh.service {
            let mut picked = Picked::default();
            let pick = mesh
                .router
                .pick(&guard, &mut mesh.caller, handle, 0, 0, &mut picked);
            assert_eq!(pick, Err(Status::StaleHandle), "{handle}");
            assert_eq!(
                mesh.router.retry(&guard, handle, 1, &mut mesh.caller, 0),
                -1
            );
        }
        if n % 100 == 0 && handle != instance {
            assert!(mesh.router.update_instance(handle, "{}", 0).is_err());
            assert!(mesh.router.instance_info_json(handle, 0).is_err());
            assert!(!mesh.router.wait_cancel(handle, mesh.now_us));
            assert!(mesh.router.explain_json(ticket, mesh.now_us).is_none() || ticket == real);
        }
    }
    drop(guard);
    assert_eq!(mesh.in_flight(instance), 1);
    mesh.complete(real, Outcome::Ok, 1).unwrap();
}

#[test]
fn an_explanation_says_what_the_pick_saw() {
    let mut mesh = Mesh::new(
        r#"{"concurrency":1,"breaker":{"consecutiveFailures":1},"rejectedMs":1000,"balancing":{"fullScan":true}}"#,
    );
    let instances: Vec<u32> = (0..5)
        .map(|n| mesh.add(&format!(r#"{{"address":"http://h/{n}"}}"#)))
        .collect();
    let force = |mesh: &mut Mesh, wanted: u32, outcome: Option<Outcome>| loop {
        let (ticket, picked) = mesh.pick().unwrap();
        if picked.instance == wanted {
            if let Some(outcome) = outcome {
                mesh.complete(ticket, outcome, 10).unwrap();
            }
            return;
        }
        mesh.complete(ticket, Outcome::Ok, 10).unwrap();
    };
    force(&mut mesh, instances[0], None);
    force(&mut mesh, instances[1], Some(Outcome::Error));
    force(&mut mesh, instances[2], Some(Outcome::Rejected));
    mesh.router
        .update_instance(instances[3], r#"{"health":"draining"}"#, 0)
        .unwrap();
    let (ticket, picked) = mesh.pick().unwrap();
    assert_eq!(picked.instance, instances[4]);
    let why: serde_json::Value =
        serde_json::from_str(&mesh.router.explain_json(ticket, mesh.now_us).unwrap()).unwrap();
    assert_eq!(why["ticket"], ticket);
    assert_eq!(
        (why["service"].as_str(), why["keyHash"].as_u64()),
        (Some("orders"), Some(0))
    );
    assert_eq!(why["rest"], 0);
    let candidates = why["candidates"].as_array().unwrap();
    let of = |instance: u32| {
        let found = candidates
            .iter()
            .find(|one| one["instance"].as_u64() == Some(u64::from(instance)));
        found.expect("all were looked at")
    };
    let filters = instances.iter().map(|&one| of(one)["filter"].as_str());
    assert!(filters.eq([
        Some("at-limit"),
        Some("breaker-open"),
        Some("rejected-recently"),
        Some("draining"),
        None
    ]));
    assert_eq!(of(instances[4])["score"].as_f64(), Some(0.0), "idle");
    assert_eq!(of(instances[0])["score"].as_f64(), None);
    assert!(why["retryBudget"].as_f64().unwrap() >= 5.0);
}

#[test]
fn with_a_key_an_explanation_names_the_homes_that_were_asked_and_who_else_there_is() {
    for balancer in Balancer::ALL.map(Balancer::as_str) {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}","concurrency":1}}"#));
        for n in 0..100 {
            mesh.add(&format!(r#"{{"address":"http://h/{n}"}}"#));
        }
        let home = mesh.pick_key(77).unwrap().1.instance;
        let (ticket, picked) = mesh.pick_key(77).unwrap();
        let why = mesh.router.explain(ticket, mesh.now_us).unwrap();
        assert_eq!((why.key_hash, why.chosen), (77, picked.instance));
        let asked: Vec<_> = why.candidates.iter().map_while(|one| one.asked).collect();
        assert!(
            (1..=RECORDED_CANDIDATES).contains(&asked.len()),
            "{balancer}"
        );
        assert!(
            asked.iter().copied().eq(1..=asked.len() as u32),
            "{balancer}"
        );
        let first = &why.candidates[0];
        assert_eq!(
            (first.instance, first.filter),
            (home, Some(Filter::AtLimit)),
            "{balancer}"
        );
        assert_eq!(why.candidates.len(), EXPLAINED_CANDIDATES);
        assert_eq!(why.rest, 36);
        let listed: HashSet<u32> = why.candidates.iter().map(|one| one.instance).collect();
        assert_eq!(listed.len(), EXPLAINED_CANDIDATES, "each once");
        // Those that the pick did not come to are as they are now.
        let idle = why.candidates.last().unwrap().instance;
        mesh.router
            .update_instance(idle, r#"{"health":"draining"}"#, 0)
            .unwrap();
        let why = mesh.router.explain(ticket, mesh.now_us).unwrap();
        let idle = why.candidates.iter().find(|one| one.instance == idle);
        let idle = idle.expect("as before");
        assert_eq!((idle.asked, idle.filter), (None, Some(Filter::Draining)));
        let (ticket, _) = mesh.pick().unwrap();
        let why = mesh.router.explain(ticket, mesh.now_us).unwrap();
        assert!(why.candidates.iter().all(|one| one.asked.is_some()));
        assert_eq!(why.candidates.len() + why.rest as usize, 100, "{balancer}");
    }
}

#[test]
fn the_last_1024_picks_are_remembered_and_none_before() {
    let mut mesh = Mesh::new("{}");
    mesh.add("{}");
    let tickets: Vec<u64> = (0..1_030)
        .filter_map(|_| mesh.pick().ok())
        .map(|(ticket, _)| ticket)
        .collect();
    assert_eq!(tickets.len(), 256, "the concurrency limit");
    mesh.router
        .define_service("orders", r#"{"concurrency":0}"#, 0)
        .unwrap();
    // One entry more than are remembered is there for the pick under way.
    let more: Vec<u64> = (0..1_025).map(|_| mesh.pick().unwrap().0).collect();
    assert!(
        more[1..]
            .iter()
            .all(|ticket| mesh.router.explain(*ticket, mesh.now_us).is_some())
    );
    assert!(
        tickets
            .iter()
            .all(|ticket| mesh.router.explain(*ticket, mesh.now_us).is_none())
    );
}

#[test]
fn metrics_have_their_names() {
    let mut mesh = Mesh::new(r#"{"breaker":{"consecutiveFailures":1}}"#);
    mesh.add(r#"{"address":"http://10.0.0.7:8080"}"#);
    let (ticket, _) = mesh.pick().unwrap();
    mesh.complete(ticket, Outcome::Timeout, 5_000_000).unwrap();
    let mut collector = Collector::new();
    mesh.router.collect_metrics(&mut collector, 0);
    let text = render_prometheus(&collector.finish());
    for line in [
        r#"linkmesh_requests_total{service="orders",instance="http://10.0.0.7:8080",outcome="timeout"} 1"#,
        r#"linkmesh_breaker_state{service="orders",instance="http://10.0.0.7:8080"} 1"#,
        r#"linkmesh_request_duration_seconds_count{service="orders"} 1"#,
        r#"linkmesh_queue_depth{service="orders"} 0"#,
        r#"linkmesh_retries_total{service="orders"} 0"#,
        r#"linkmesh_instance_in_flight{service="orders",instance="http://10.0.0.7:8080"} 0"#,
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    let info: serde_json::Value =
        serde_json::from_str(&mesh.router.service_info_json(mesh.service, 0).unwrap()).unwrap();
    assert_eq!(info["latency"]["count"], 1);
    assert_eq!(info["instances"][0]["breaker"], "open");
    assert!(
        mesh.router
            .discover_json(r#"{"prefix":"ord"}"#, &|| 0)
            .unwrap()
            .contains("orders")
    );
}
