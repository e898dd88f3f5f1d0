//! Outlier detection, rate limits, concurrency limits that follow latency, Retry-After, slow calls, backpressure.

mod mesh;

use std::collections::HashMap;

use linkmesh_registry::Status;
use linkmesh_routing::{Outcome, fmix32};
use mesh::Mesh;

const NO_BREAKER: &str = r#""breaker":{"enabled":false}"#;

/// One request a millisecond, each ends at once as `behave` says. Picks per instance.
fn run(
    mesh: &mut Mesh,
    milliseconds: u32,
    behave: impl Fn(u32) -> (Outcome, i64),
) -> HashMap<u32, u32> {
    let mut picks = HashMap::new();
    for n in 0..milliseconds {
        let (ticket, picked) = mesh.pick().unwrap();
        mesh.now_us += 1_000;
        let (outcome, latency_us) = behave(picked.instance);
        mesh.complete(ticket, outcome, latency_us).unwrap();
        *picks.entry(picked.instance).or_insert(0) += 1;
        if n % 50 == 0 {
            mesh.router.tick(mesh.now_us);
        }
    }
    picks
}

fn outlier(rules: &str) -> Mesh {
    Mesh::new(&format!(
        r#"{{"balancer":"round-robin",{NO_BREAKER},"outlier":{{"enabled":true,"intervalMs":200,"ejectionMs":1000,
            "consecutiveFailures":0,"successRateDeviations":0,"failureRate":0,{rules}}}}}"#
    ))
}

fn fleet(mesh: &mut Mesh, count: u32) -> Vec<u32> {
    (0..count).map(|_| mesh.add("{}")).collect()
}

fn share(picks: &HashMap<u32, u32>, instance: u32) -> f64 {
    let total: u32 = picks.values().sum();
    f64::from(picks.get(&instance).copied().unwrap_or(0)) / f64::from(total)
}

#[test]
fn an_instance_that_fails_in_a_row_is_out_at_once() {
    let mut mesh = outlier(r#""consecutiveFailures":3"#);
    let bad = fleet(&mut mesh, 5)[0];
    let picks = run(&mut mesh, 900, |instance| {
        (
            if instance == bad {
                Outcome::Error
            } else {
                Outcome::Ok
            },
            100,
        )
    });
    assert_eq!(picks[&bad], 3);
}

#[test]
fn an_instance_worse_than_its_peers_is_out_though_it_mostly_works() {
    let mut mesh = outlier(r#""successRateDeviations":1.5,"minRequests":20"#);
    let bad = fleet(&mut mesh, 5)[0];
    let mut n = 0u32;
    let mut picks = 0;
    for _ in 0..1_100 {
        let (ticket, picked) = mesh.pick().unwrap();
        mesh.now_us += 1_000;
        n += 1;
        let fails = picked.instance == bad && n.is_multiple_of(3);
        let outcome = if fails { Outcome::Error } else { Outcome::Ok };
        mesh.complete(ticket, outcome, 100).unwrap();
        picks += u32::from(picked.instance == bad);
        mesh.router.tick(mesh.now_us);
    }
    assert!(
        (40..80).contains(&picks),
        "{picks}: out after the first interval"
    );
}

#[test]
fn equal_peers_are_left_alone_however_bad() {
    let mut mesh = outlier(r#""successRateDeviations":1.9,"minRequests":20"#);
    fleet(&mut mesh, 5);
    let picks = run(&mut mesh, 2_000, |_| (Outcome::Error, 100));
    assert_eq!(picks.len(), 5);
    assert!(picks.values().all(|count| *count == 400), "{picks:?}");
}

#[test]
fn a_share_of_failures_or_a_latency_above_the_peers_puts_one_out() {
    for (rule, outcome, latency_us) in [
        (
            r#""failureRate":0.6,"minRequests":20"#,
            Outcome::Error,
            1_000,
        ),
        (r#""latencyFactor":3"#, Outcome::Ok, 9_000),
    ] {
        let mut mesh = outlier(rule);
        let bad = fleet(&mut mesh, 5)[0];
        let picks = run(&mut mesh, 1_000, |instance| {
            if instance == bad {
                (outcome, latency_us)
            } else {
                (Outcome::Ok, 1_000)
            }
        });
        assert!(share(&picks, bad) < 0.08, "{rule}: {picks:?}");
    }
}

#[test]
fn times_out_grow_and_are_forgiven() {
    let mut mesh = outlier(r#""consecutiveFailures":2"#);
    let bad = fleet(&mut mesh, 4)[0];
    let failing = |instance| {
        (
            if instance == bad {
                Outcome::Error
            } else {
                Outcome::Ok
            },
            100,
        )
    };
    // Out 1 s, 2 s, 3 s: the second and third interval without ejections forgive nothing while it is out.
    let picks = run(&mut mesh, 5_900, failing);
    assert!((4..=8).contains(&picks[&bad]), "{picks:?}");
    run(&mut mesh, 10_000, |_| (Outcome::Ok, 100));
    let picks = run(&mut mesh, 1_000, failing);
    let out_again = run(&mut mesh, 1_000, |_| (Outcome::Ok, 100));
    assert!(
        picks[&bad] <= 4 && out_again[&bad] > 100,
        "{picks:?} {out_again:?}"
    );
}

#[test]
fn no_more_than_the_share_is_ever_out() {
    let mut mesh = outlier(r#""consecutiveFailures":1,"maxEjected":0.4"#);
    fleet(&mut mesh, 5);
    let picks = run(&mut mesh, 900, |_| (Outcome::Error, 100));
    let busy = picks.values().filter(|count| **count > 100).count();
    assert_eq!(busy, 3, "{picks:?}");
}

#[test]
fn the_last_instance_is_never_out() {
    let mut mesh = outlier(r#""consecutiveFailures":1,"maxEjected":1"#);
    fleet(&mut mesh, 1);
    assert_eq!(run(&mut mesh, 100, |_| (Outcome::Error, 100)).len(), 1);
}

#[test]
fn a_clock_that_steps_back_keeps_nobody_out_for_long() {
    let mut mesh = outlier(r#""consecutiveFailures":1,"maxEjected":0.5"#);
    mesh.now_us = 7_200_000_000;
    fleet(&mut mesh, 2);
    let (ticket, _) = mesh.pick().unwrap();
    mesh.complete(ticket, Outcome::Error, 100).unwrap();
    assert_eq!(mesh.spread(10).len(), 1);
    mesh.now_us = 1_000_000;
    assert_eq!(mesh.spread(10).len(), 2);
}

#[test]
fn a_rate_is_kept_and_says_when_to_come_back() {
    let mut mesh = Mesh::new(r#"{"rateLimit":{"perSecond":100,"burst":20}}"#);
    mesh.add("{}");
    mesh.now_us = 1_000_000;
    let mut passed = 0;
    for _ in 0..10_000 {
        match mesh.pick() {
            Ok((ticket, _)) => {
                passed += 1;
                mesh.complete(ticket, Outcome::Ok, 10).unwrap();
            }
            Err(status) => {
                assert_eq!(status, Status::RateLimited);
                assert!((1..=10).contains(&mesh.retry_after_ms));
            }
        }
        mesh.now_us += 100;
    }
    assert!(
        (118..=122).contains(&passed),
        "{passed}: 20 and 100 a second"
    );
}

#[test]
fn a_request_without_a_place_costs_no_token() {
    let mut mesh = Mesh::new(r#"{"concurrency":1,"rateLimit":{"perSecond":10,"burst":2}}"#);
    mesh.add("{}");
    mesh.now_us = 1_000_000;
    let (ticket, _) = mesh.pick().unwrap();
    for _ in 0..5 {
        assert_eq!(mesh.pick(), Err(Status::Saturated));
    }
    mesh.complete(ticket, Outcome::Ok, 10).unwrap();
    assert!(mesh.pick().is_ok());
}

#[test]
fn one_key_cannot_take_what_belongs_to_others() {
    let mut mesh = Mesh::new(r#"{"concurrency":0,"rateLimit":{"keyPerSecond":10}}"#);
    mesh.add("{}");
    mesh.now_us = 1_000_000;
    let greedy = (0..100)
        .filter(|_| mesh.pick_key(fmix32(1)).is_ok())
        .count();
    assert_eq!(greedy, 10);
    assert!((2..200).all(|key| mesh.pick_key(fmix32(key)).is_ok()));
}

#[test]
fn retry_after_is_honoured_within_bounds_and_is_not_health() {
    let mut mesh = Mesh::new(r#"{"balancer":"round-robin","rejectedMs":100}"#);
    let instances = fleet(&mut mesh, 2);
    let reject = |mesh: &mut Mesh, retry_after_ms| {
        loop {
            let (ticket, picked) = mesh.pick().unwrap();
            let guard = mesh.reader.pin();
            if picked.instance == instances[0] {
                mesh.router
                    .complete_rejected(&guard, ticket, 50, retry_after_ms, mesh.now_us)
                    .unwrap();
                return;
            }
            mesh.router
                .complete(&guard, ticket, Outcome::Ok as u8, 50, mesh.now_us)
                .unwrap();
        }
    };
    for (said_ms, out_ms) in [(3_000, 3_000), (0, 100), (u32::MAX, 300_000)] {
        reject(&mut mesh, said_ms);
        let until_us = mesh.now_us + out_ms * 1_000;
        while mesh.now_us < until_us - 2_000 {
            let (ticket, picked) = mesh.pick().unwrap();
            assert_eq!(picked.instance, instances[1], "{said_ms}");
            mesh.complete(ticket, Outcome::Ok, 50).unwrap();
            mesh.now_us += (until_us - mesh.now_us) / 2;
        }
        mesh.now_us = until_us + 1_000_000;
    }
    let info = mesh.router.instance_info_json(instances[0], 0).unwrap();
    assert!(info.contains(r#""breaker":"closed""#), "{info}");
}

#[test]
fn slow_answers_open_the_breaker_and_a_slow_probe_does_not_close_it() {
    let policy = r#"{"breaker":{"slowCallMs":100,"slowCallRate":0.5,"minRequests":10,"openMs":1000,"probes":1}}"#;
    let mut mesh = Mesh::new(policy);
    mesh.add("{}");
    for n in 0..10 {
        let (ticket, _) = mesh.pick().unwrap();
        let latency_us = if n % 2 == 0 { 50_000 } else { 150_000 };
        mesh.complete(ticket, Outcome::Ok, latency_us).unwrap();
    }
    assert_eq!(mesh.pick(), Err(Status::BreakerOpen));
    mesh.now_us += 1_000_000;
    let (probe, picked) = mesh.pick().unwrap();
    assert!(picked.probe);
    mesh.complete(probe, Outcome::Ok, 150_000).unwrap();
    assert_eq!(mesh.pick(), Err(Status::BreakerOpen), "slow is not back");
    mesh.now_us += 2_000_000;
    let (probe, _) = mesh.pick().unwrap();
    mesh.complete(probe, Outcome::Ok, 50_000).unwrap();
    assert!(!mesh.pick().unwrap().1.probe);
}

#[test]
fn the_limit_follows_latency_and_survives_a_change_of_the_service() {
    let mut mesh = Mesh::new(
        r#"{"adaptiveConcurrency":{"enabled":true,"initial":50,"min":2,"windowMs":100},"breaker":{"enabled":false}}"#,
    );
    let instance = mesh.add("{}");
    let mut open = std::collections::VecDeque::new();
    // Ten workers of 10 ms: what is in flight beyond them waits.
    for _ in 0..6_000 {
        mesh.now_us += 1_000;
        while let Ok((ticket, _)) = mesh.pick() {
            open.push_back((ticket, mesh.now_us));
        }
        if let Some((ticket, since_us)) = open.pop_front() {
            let latency_us = (mesh.now_us - since_us).max(10_000) as i64;
            mesh.complete(ticket, Outcome::Ok, latency_us).unwrap();
        }
    }
    let limit = |mesh: &Mesh| {
        let info = mesh.router.instance_info_json(instance, 0).unwrap();
        let at = info.find(r#""concurrency":"#).unwrap() + 14;
        info[at..]
            .split(',')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    let settled = limit(&mesh);
    assert!((8..=30).contains(&settled), "{settled}");
    mesh.router
        .update_instance(instance, r#"{"weight":2}"#, mesh.now_us)
        .unwrap();
    assert_eq!(limit(&mesh), settled);
}

#[test]
fn backpressure_rejects_delays_or_drops_the_oldest() {
    for (word, second, third) in [
        ("reject", Err(Status::Saturated), Err(Status::Saturated)),
        ("delay", Ok(()), Err(Status::QueueFull)),
        ("drop-oldest", Ok(()), Ok(())),
    ] {
        let mut mesh = Mesh::new(&format!(
            r#"{{"concurrency":1,"queueLimit":1,"backpressure":"{word}"}}"#
        ));
        mesh.add("{}");
        let (ticket, _) = mesh.pick().unwrap();
        let guard = mesh.reader.pin();
        let wait = || {
            let waiting = mesh
                .router
                .wait(&guard, mesh.service, 0, None, 1, 1_000.0, 0);
            waiting.map(|waiting| waiting.id).map_err(|refused| {
                assert!(refused.retry_after_ms > 0);
                refused.status
            })
        };
        let (first, next) = (wait(), wait());
        assert_eq!(
            (first.map(|_| ()), next.map(|_| ())),
            (second, third),
            "{word}"
        );
        let mut grants = Vec::new();
        mesh.router.take_grants(1, 10, &mut grants);
        if word == "drop-oldest" {
            assert_eq!(
                (grants[0].wait_id, grants[0].result),
                (first.unwrap(), Err(Status::QueueFull))
            );
        } else {
            assert_eq!(grants, []);
        }
        drop(guard);
        mesh.complete(ticket, Outcome::Ok, 10).unwrap();
        grants.clear();
        mesh.router.take_grants(1, 10, &mut grants);
        let granted = if word == "drop-oldest" { next } else { first };
        if word == "reject" {
            assert_eq!(grants, []);
        } else {
            assert_eq!(grants[0].wait_id, granted.unwrap(), "{word}");
            assert!(grants[0].result.is_ok());
        }
    }
}
