//! What goes wrong in other routers, held shut. Each test is named by the trap.

mod mesh;

use std::collections::HashMap;

use linkmesh_registry::Status;
use linkmesh_routing::{Outcome, fmix32};
use mesh::Mesh;

const BALANCERS: [&str; 7] = [
    "round-robin",
    "weighted",
    "least-request",
    "peak-ewma",
    "random",
    "adaptive",
    "maglev",
];

/// Open-loop load: a request a millisecond, each ends `latency(instance)` later as `outcome(instance)`. Picks per instance.
fn open_loop(
    mesh: &mut Mesh,
    milliseconds: u64,
    behave: impl Fn(u32) -> (Outcome, u64),
) -> HashMap<u32, u32> {
    let mut under_way: Vec<(u64, u64, Outcome, u64)> = Vec::new();
    let mut picks = HashMap::new();
    for _ in 0..milliseconds {
        mesh.now_us += 1_000;
        let now = mesh.now_us;
        let (over, left): (Vec<_>, Vec<_>) =
            under_way.into_iter().partition(|request| request.0 <= now);
        under_way = left;
        for (_, ticket, outcome, latency_us) in over {
            mesh.complete(ticket, outcome, latency_us as i64).unwrap();
        }
        if let Ok((ticket, picked)) = mesh.pick() {
            let (outcome, latency_us) = behave(picked.instance);
            *picks.entry(picked.instance).or_insert(0) += 1;
            under_way.push((now + latency_us, ticket, outcome, latency_us));
        }
    }
    for (_, ticket, outcome, latency_us) in under_way {
        mesh.complete(ticket, outcome, latency_us as i64).unwrap();
    }
    picks
}

const NO_BREAKER: &str = r#""breaker":{"enabled":false}"#;

#[test]
fn half_open_stampede() {
    let mut mesh = Mesh::new(r#"{"breaker":{"consecutiveFailures":1}}"#);
    let instance = mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    mesh.complete(ticket, Outcome::Unreachable, 10).unwrap();
    mesh.now_us = 1_000_000;
    let probes: Vec<_> = (0..1_000).filter_map(|_| mesh.pick().ok()).collect();
    assert_eq!(probes.len(), 1, "one probe place");
    assert!(probes[0].1.probe);
    assert_eq!(mesh.in_flight(instance), 1);
}

#[test]
fn wedged_probe() {
    let mut mesh =
        Mesh::new(r#"{"breaker":{"consecutiveFailures":1,"probes":1,"probeLeaseMs":500}}"#);
    mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    mesh.complete(ticket, Outcome::Error, 10).unwrap();
    mesh.now_us = 1_000_000;
    let (forgotten, _) = mesh.pick().unwrap();
    assert_eq!(mesh.pick(), Err(Status::BreakerOpen));
    assert_eq!(mesh.retry_after_ms, 500);
    mesh.now_us += 500_000;
    let (second, picked) = mesh.pick().unwrap();
    assert!(picked.probe);
    mesh.complete(second, Outcome::Ok, 10).unwrap();
    assert!(!mesh.pick().unwrap().1.probe, "closed by the second probe");
    mesh.complete(forgotten, Outcome::Error, 10).unwrap();
    assert!(
        mesh.pick().is_ok(),
        "the late report of the first changes nothing"
    );
}

#[test]
fn fast_errors_attract_load() {
    for balancer in ["least-request", "peak-ewma", "adaptive"] {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}",{NO_BREAKER}}}"#));
        let sinkhole = mesh.add("{}");
        for _ in 0..3 {
            mesh.add("{}");
        }
        // 20 ms of work elsewhere, an error within 100 µs here, no breaker to help.
        let picks = open_loop(&mut mesh, 20_000, |instance| {
            if instance == sinkhole {
                (Outcome::Error, 100)
            } else {
                (Outcome::Ok, 20_000)
            }
        });
        let share = f64::from(picks.get(&sinkhole).copied().unwrap_or(0)) / 20_000.0;
        assert!(
            share < 0.02,
            "{balancer}: {share}, an even share would be 0.25"
        );
    }
}

#[test]
fn rejections_attract_load() {
    for balancer in BALANCERS {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}","rejectedMs":100}}"#));
        let limited = mesh.add("{}");
        for _ in 0..3 {
            mesh.add("{}");
        }
        let picks = open_loop(&mut mesh, 10_000, |instance| {
            if instance == limited {
                (Outcome::Rejected, 100)
            } else {
                (Outcome::Ok, 5_000)
            }
        });
        let rejected = picks.get(&limited).copied().unwrap_or(0);
        assert!(
            rejected <= 101,
            "{balancer}: {rejected} in 10 s, one per 100 ms at most"
        );
        assert!(rejected >= 1, "{balancer}: and it was tried");
    }
}

#[test]
fn count_based_estimate_never_forgets_an_idle_instance() {
    let mut mesh = Mesh::new(r#"{"balancer":"peak-ewma"}"#);
    let slow_once = mesh.add("{}");
    let (ticket, _) = mesh.pick().unwrap();
    mesh.complete(ticket, Outcome::Ok, 2_000_000).unwrap();
    for _ in 0..3 {
        mesh.add("{}");
    }
    let behave = |_| (Outcome::Ok, 2_000);
    let at_first = open_loop(&mut mesh, 5_000, behave);
    assert!(
        at_first.get(&slow_once).copied().unwrap_or(0) < 50,
        "{at_first:?}"
    );
    open_loop(&mut mesh, 150_000, behave);
    let later = open_loop(&mut mesh, 5_000, behave);
    assert!(
        later[&slow_once] > 500,
        "it is fast now and was given the chance to show it: {later:?}"
    );
}

#[test]
fn a_success_rate_hides_a_burst() {
    let mut mesh = Mesh::new("{}");
    mesh.add("{}");
    mesh.spread(50_000);
    for _ in 0..5 {
        let (ticket, _) = mesh.pick().unwrap();
        mesh.complete(ticket, Outcome::Error, 100).unwrap();
    }
    assert_eq!(mesh.pick(), Err(Status::BreakerOpen));
}

#[test]
fn equal_low_weights_get_stuck() {
    let mut mesh = Mesh::new(
        r#"{"balancer":"weighted","breaker":{"consecutiveFailures":1,"openMs":100,"probes":1}}"#,
    );
    let instances = [mesh.add(r#"{"weight":1}"#), mesh.add(r#"{"weight":1}"#)];
    // Both fail, both come back: load must spread again.
    for _ in 0..2 {
        let (ticket, _) = mesh.pick().unwrap();
        mesh.complete(ticket, Outcome::Unreachable, 10).unwrap();
    }
    assert_eq!(mesh.pick(), Err(Status::BreakerOpen));
    mesh.now_us += 100_000;
    let counts = mesh.spread(1_000);
    for instance in instances {
        assert!((450..=550).contains(&counts[&instance]), "{counts:?}");
    }
}

#[test]
fn double_load_after_a_failed_one() {
    for balancer in ["round-robin", "weighted"] {
        let mut mesh = Mesh::new(&format!(
            r#"{{"balancer":"{balancer}","breaker":{{"consecutiveFailures":1,"openMs":3600000}}}}"#
        ));
        let instances: Vec<u32> = (0..4).map(|_| mesh.add("{}")).collect();
        let (ticket, picked) = mesh.pick().unwrap();
        mesh.complete(ticket, Outcome::Error, 10).unwrap();
        let counts = mesh.spread(3_000);
        for survivor in instances
            .iter()
            .filter(|instance| **instance != picked.instance)
        {
            assert!(
                (990..=1_010).contains(&counts[survivor]),
                "{balancer}: {counts:?}"
            );
        }
    }
}

#[test]
fn weights_are_kept_by_each_balancer_when_idle_and_by_keys() {
    for balancer in ["weighted", "least-request"] {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}"}}"#));
        let (light, heavy) = (mesh.add(r#"{"weight":1}"#), mesh.add(r#"{"weight":3}"#));
        let counts = mesh.spread(8_000);
        assert!(
            (1_850..=2_150).contains(&counts[&light]),
            "{balancer}: {counts:?}"
        );
        assert!(counts.contains_key(&heavy));
    }
}

#[test]
fn a_key_stays_where_it_is_while_that_is_eligible() {
    let mut mesh = Mesh::new("{}");
    for n in 0..5 {
        mesh.add(&format!(r#"{{"address":"http://10.0.0.{n}"}}"#));
    }
    let mut homes = HashMap::new();
    for key in 1..=1_000u32 {
        let (ticket, picked) = mesh.pick_key(fmix32(key)).unwrap();
        homes.insert(key, picked.instance);
        mesh.complete(ticket, Outcome::Ok, 100).unwrap();
    }
    let lost = homes[&1];
    mesh.router
        .update_instance(lost, r#"{"health":"draining"}"#, 0)
        .unwrap();
    for (key, home) in &homes {
        let (ticket, picked) = mesh.pick_key(fmix32(*key)).unwrap();
        assert_eq!(
            picked.instance == *home,
            *home != lost,
            "only the lost one's keys move"
        );
        mesh.complete(ticket, Outcome::Ok, 100).unwrap();
    }
    mesh.router
        .update_instance(lost, r#"{"health":"healthy"}"#, 0)
        .unwrap();
    for (key, home) in &homes {
        assert_eq!(
            mesh.pick_key(fmix32(*key)).unwrap().1.instance,
            *home,
            "and they come back"
        );
    }
}

#[test]
fn an_unmeasured_instance_is_neither_flooded_nor_starved() {
    let mut mesh = Mesh::new(r#"{"balancer":"peak-ewma"}"#);
    for _ in 0..4 {
        mesh.add("{}");
    }
    open_loop(&mut mesh, 5_000, |_| (Outcome::Ok, 5_000));
    let fresh = mesh.add("{}");
    // Its first requests take two seconds: until the first answer nothing is known of it.
    let picks = open_loop(&mut mesh, 1_000, |instance| {
        (
            Outcome::Ok,
            if instance == fresh { 2_000_000 } else { 5_000 },
        )
    });
    assert!((1..60).contains(&picks[&fresh]), "{picks:?}");
}

#[test]
fn the_clock_steps_back() {
    let policy = r#"{"breaker":{"consecutiveFailures":1,"probes":1},"rejectedMs":60000}"#;
    for balancer in BALANCERS {
        let mut mesh =
            Mesh::new(&policy.replacen('{', &format!(r#"{{"balancer":"{balancer}","#), 1));
        mesh.now_us = 5_000_000_000;
        mesh.add("{}");
        mesh.add("{}");
        let (a, _) = mesh.pick().unwrap();
        let (b, _) = mesh.pick().unwrap();
        mesh.now_us = 1_000;
        mesh.complete(a, Outcome::Ok, -1).unwrap();
        mesh.complete(b, Outcome::Error, -1).unwrap();
        mesh.router.tick(mesh.now_us);
        for _ in 0..100 {
            let (ticket, _) = mesh.pick().unwrap();
            mesh.complete(ticket, Outcome::Ok, -1).unwrap();
        }
        // Opened at the late time, asked at the early one: not open for an hour.
        mesh.now_us = 3_000_000;
        let counts = mesh.spread(200);
        assert_eq!(counts.len(), 2, "{balancer}: {counts:?}");
    }
}

#[test]
fn an_infinite_or_absurd_latency_wins_or_blocks_nothing() {
    let mut mesh = Mesh::new(r#"{"balancer":"peak-ewma"}"#);
    let (odd, even) = (mesh.add("{}"), mesh.add("{}"));
    for latency in [i64::MAX, 0, i64::MIN, 1] {
        for _ in 0..20 {
            let (ticket, picked) = mesh.pick().unwrap();
            let latency = if picked.instance == odd {
                latency
            } else {
                1_000
            };
            mesh.complete(ticket, Outcome::Ok, latency).unwrap();
        }
    }
    let figures = mesh.router.instance_info_json(odd, 0).unwrap();
    assert!(!figures.contains("null,\"picked\""), "no NaN in {figures}");
    mesh.now_us += 1_000_000_000;
    assert!(mesh.spread(100).contains_key(&even));
}

#[test]
fn weights_and_limits_at_their_edges() {
    let mut mesh = Mesh::new(r#"{"balancer":"weighted","concurrency":1000000}"#);
    for _ in 0..200 {
        mesh.add(r#"{"weight":1000,"concurrency":0}"#);
    }
    mesh.add(r#"{"weight":1,"concurrency":1}"#);
    assert!(mesh.spread(1_000).len() >= 200);
    let error = mesh
        .router
        .add_instance(mesh.service, r#"{"weight":1001}"#, 1, 0)
        .unwrap_err();
    assert_eq!(
        (error.field.as_deref(), error.limit),
        (Some("weight"), Some(1_000.0))
    );
}

#[test]
fn retries_multiply_by_layers() {
    let mut mesh = Mesh::new(
        r#"{"retry":{"minPerSecond":0,"limit":10,"budget":0.1},"breaker":{"enabled":false}}"#,
    );
    mesh.add("{}");
    let mut retried = 0;
    for _ in 0..1_000 {
        // Three layers, each of which tries three times.
        let mut attempts = 1;
        while attempts > 0 {
            attempts -= 1;
            let (ticket, _) = mesh.pick().unwrap();
            mesh.complete(ticket, Outcome::Error, 10).unwrap();
            for attempt in 1..=3 {
                let guard = mesh.reader.pin();
                if mesh
                    .router
                    .retry(&guard, mesh.service, attempt, &mut mesh.caller, mesh.now_us)
                    >= 0
                {
                    retried += 1;
                    attempts += 1;
                }
            }
        }
    }
    assert_eq!(
        retried, 100,
        "a tenth of a thousand requests, not 27 times as many"
    );
}
