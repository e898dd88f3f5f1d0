//! Who gets how much, by each balancer and each rule of who comes first.

mod mesh;

use std::collections::HashMap;

use linkmesh_registry::Status;
use linkmesh_routing::{Balancer, Outcome, crc32, fmix32};
use mesh::{Mesh, data};

/// Picks without completing: in-flight grows.
fn hold(mesh: &mut Mesh, requests: u32, key: impl Fn(u32) -> u32) -> HashMap<u32, u32> {
    let mut counts = HashMap::new();
    for n in 0..requests {
        let (_, picked) = mesh.pick_key(key(n)).unwrap();
        *counts.entry(picked.instance).or_insert(0) += 1;
    }
    counts
}

fn not_hashing() -> impl Iterator<Item = &'static str> {
    let balancers = Balancer::ALL.into_iter();
    balancers.filter(|it| !it.hashes()).map(Balancer::as_str)
}

fn fleet(mesh: &mut Mesh, count: u32) -> Vec<u32> {
    (0..count)
        .map(|n| mesh.add(&format!(r#"{{"address":"http://10.0.1.{n}:80"}}"#)))
        .collect()
}

#[test]
fn consistent_hash_decides_as_nginx_does() {
    let Some(decisions) = data("hashing/nginx-ketama.csv") else {
        return;
    };
    let mut mesh = Mesh::new(r#"{"balancer":"consistent-hash","concurrency":0}"#);
    let mut instances = HashMap::new();
    for n in 1..=9 {
        let address = format!("10.0.0.{n}:443");
        let instance = mesh.add(&format!(
            r#"{{"address":"https://{address}","weight":100}}"#
        ));
        instances.insert(instance, address);
    }
    let mut rows = 0;
    for row in decisions.lines() {
        let (path, server) = row.split_once(',').unwrap();
        let (ticket, picked) = mesh.pick_key(crc32(path.as_bytes())).unwrap();
        assert_eq!(instances[&picked.instance], server, "{path}");
        mesh.complete(ticket, Outcome::Ok, 100).unwrap();
        rows += 1;
    }
    assert!(rows >= 1_000, "{rows}");
}

#[test]
fn bounded_loads_keep_a_hot_key_from_burying_its_instance() {
    for balancer in ["consistent-hash", "maglev", "rendezvous"] {
        let policy = format!(
            r#"{{"balancer":"{balancer}","concurrency":0,"balancing":{{"hashBalanceFactor":125}}}}"#
        );
        let mut mesh = Mesh::new(&policy);
        fleet(&mut mesh, 10);
        // Half of the requests have one key.
        let counts = hold(&mut mesh, 1_000, |n| if n % 2 == 0 { 7 } else { fmix32(n) });
        let most = counts.values().max().unwrap();
        assert!(
            *most <= 125,
            "{balancer}: {counts:?}, 1.25 of the mean of 100"
        );
    }
}

#[test]
fn without_a_bound_a_key_stays_whatever_the_load() {
    for balancer in ["consistent-hash", "maglev", "rendezvous"] {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}","concurrency":0}}"#));
        fleet(&mut mesh, 10);
        assert_eq!(hold(&mut mesh, 500, |_| 7).len(), 1, "{balancer}");
    }
}

#[test]
fn a_key_stays_at_home_with_balancers_that_do_not_hash_too() {
    // `adaptive` gives a home up; the next test is its own.
    for balancer in not_hashing().filter(|name| *name != "adaptive") {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}","concurrency":0}}"#));
        fleet(&mut mesh, 10);
        assert_eq!(hold(&mut mesh, 500, |_| 7).len(), 1, "{balancer}");
    }
}

#[test]
fn with_adaptive_a_key_leaves_a_home_that_is_worse_off_unless_its_order_counts() {
    let mut mesh = Mesh::new(r#"{"balancer":"adaptive","concurrency":0}"#);
    fleet(&mut mesh, 10);
    let home = mesh.pick_key(7).unwrap();
    mesh.complete(home.0, Outcome::Ok, 100).unwrap();
    for _ in 0..100 {
        let (ticket, picked) = mesh.pick_key(7).unwrap();
        assert_eq!(
            picked.instance, home.1.instance,
            "nothing speaks against it"
        );
        mesh.complete(ticket, Outcome::Ok, 100).unwrap();
    }
    let counts = hold(&mut mesh, 500, |_| 7);
    let most = counts.values().max().unwrap();
    assert!(*most <= 103, "{counts:?}: twice the mean of 50");
    let policy = r#"{"balancer":"adaptive","concurrency":0,"ordering":"key"}"#;
    let mut ordered = Mesh::new(policy);
    fleet(&mut ordered, 10);
    assert_eq!(hold(&mut ordered, 500, |_| 7).len(), 1);
}

#[test]
fn a_key_comes_back_when_its_instance_does() {
    for balancer in ["consistent-hash", "maglev", "rendezvous"] {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}"}}"#));
        fleet(&mut mesh, 8);
        let mut homes = HashMap::new();
        for key in 1..=500u32 {
            let (ticket, picked) = mesh.pick_key(fmix32(key)).unwrap();
            mesh.complete(ticket, Outcome::Ok, 100).unwrap();
            homes.insert(key, picked.instance);
        }
        let lost = homes[&1];
        for health in ["draining", "healthy"] {
            mesh.router
                .update_instance(lost, &format!(r#"{{"health":"{health}"}}"#), 0)
                .unwrap();
            for (key, home) in &homes {
                let (ticket, picked) = mesh.pick_key(fmix32(*key)).unwrap();
                mesh.complete(ticket, Outcome::Ok, 100).unwrap();
                let at_home = picked.instance == *home;
                assert_eq!(at_home, health == "healthy" || *home != lost, "{balancer}");
            }
        }
    }
}

#[test]
fn random_goes_by_weight() {
    let mut mesh = Mesh::new(r#"{"balancer":"random"}"#);
    let (light, heavy) = (mesh.add(r#"{"weight":1}"#), mesh.add(r#"{"weight":3}"#));
    let counts = mesh.spread(8_000);
    assert!((1_850..=2_150).contains(&counts[&light]), "{counts:?}");
    assert!(counts.contains_key(&heavy));
}

#[test]
fn a_full_scan_finds_the_least_loaded_every_time() {
    let mut mesh = Mesh::new(r#"{"balancing":{"fullScan":true}}"#);
    fleet(&mut mesh, 50);
    // Joining the shortest queue: after each round everybody has the same.
    for round in 1..=4 {
        hold(&mut mesh, 50, |_| 0);
        let info = mesh.router.service_info_json(mesh.service, 0).unwrap();
        assert_eq!(
            info.matches(&format!("\"inFlight\":{round},")).count(),
            50,
            "{info}"
        );
    }
}

fn zoned(policy: &str) -> (Mesh, Vec<u32>, Vec<u32>) {
    let mut mesh = Mesh::in_zone(policy, "eu");
    let near = (0..4).map(|_| mesh.add(r#"{"zone":"eu"}"#)).collect();
    let far = (0..4).map(|_| mesh.add(r#"{"zone":"us"}"#)).collect();
    (mesh, near, far)
}

fn share(counts: &HashMap<u32, u32>, of: &[u32]) -> f64 {
    let total: u32 = counts.values().sum();
    let sum: u32 = of
        .iter()
        .map(|instance| counts.get(instance).copied().unwrap_or(0))
        .sum();
    f64::from(sum) / f64::from(total)
}

#[test]
fn the_own_zone_comes_first_and_spills_over_as_its_health_falls() {
    for balancer in [
        "round-robin",
        "weighted",
        "random",
        "least-request",
        "adaptive",
    ] {
        let (mut mesh, near, _) = zoned(&format!(
            r#"{{"balancer":"{balancer}","balancing":{{"zoneFirst":true}}}}"#
        ));
        assert!((share(&mesh.spread(1_000), &near) - 1.0).abs() < f64::EPSILON);
        // Three of four healthy can take 1.4 · 75 %: still all of it. Two can take 70 %, one 35 %.
        for (gone, wanted) in [(0, 1.0), (1, 0.7), (2, 0.35), (3, 0.0)] {
            mesh.router
                .update_instance(near[gone], r#"{"health":"draining"}"#, mesh.now_us)
                .unwrap();
            mesh.now_us += 1_000;
            let got = share(&mesh.spread(4_000), &near);
            assert!((got - wanted).abs() < 0.03, "{balancer}: {got} of {wanted}");
        }
    }
}

#[test]
fn keys_stay_in_their_tier_while_shares_do() {
    let (mut mesh, near, far) = zoned(r#"{"balancer":"maglev","balancing":{"zoneFirst":true}}"#);
    for gone in &near[..2] {
        mesh.router
            .update_instance(*gone, r#"{"health":"draining"}"#, 0)
            .unwrap();
    }
    let mut at_far = 0;
    for key in 1..=1_000u32 {
        let picked: Vec<u32> = (0..2)
            .map(|_| {
                let (ticket, picked) = mesh.pick_key(fmix32(key)).unwrap();
                mesh.complete(ticket, Outcome::Ok, 100).unwrap();
                picked.instance
            })
            .collect();
        assert_eq!(picked[0], picked[1]);
        at_far += u32::from(far.contains(&picked[0]));
    }
    assert!((250..=350).contains(&at_far), "{at_far} of 30 %");
}

#[test]
fn priorities_are_used_in_their_order() {
    let mut mesh = Mesh::new("{}");
    let standby = mesh.add(r#"{"priority":1}"#);
    let (a, b) = (mesh.add("{}"), mesh.add(r#"{"priority":0}"#));
    let counts = mesh.spread(500);
    assert_eq!(counts.len(), 2, "{counts:?}");
    for instance in [a, b] {
        mesh.router.remove_instance(instance, mesh.now_us).unwrap();
    }
    assert_eq!(mesh.spread(100)[&standby], 100);
}

#[test]
fn a_busy_tier_gives_to_the_next_before_anything_is_refused() {
    let mut mesh = Mesh::new(r#"{"concurrency":1}"#);
    let (first, second) = (mesh.add("{}"), mesh.add(r#"{"priority":1}"#));
    assert_eq!(mesh.pick().unwrap().1.instance, first);
    assert_eq!(mesh.pick().unwrap().1.instance, second);
    assert_eq!(mesh.pick(), Err(Status::Saturated));
}

#[test]
fn a_subset_by_tags_is_used_first_or_alone() {
    for (fallback, others) in [("any", true), ("none", false)] {
        let mut mesh = Mesh::new(&format!(
            r#"{{"balancing":{{"subset":["v2","gpu"],"subsetFallback":"{fallback}"}}}}"#
        ));
        mesh.add(r#"{"tags":["v2"]}"#);
        let inside = mesh.add(r#"{"tags":["gpu","v2","x"]}"#);
        assert_eq!(mesh.spread(100)[&inside], 100);
        mesh.router.remove_instance(inside, mesh.now_us).unwrap();
        mesh.now_us += 1_000;
        assert_eq!(mesh.pick().is_ok(), others, "{fallback}");
        if !others {
            assert_eq!(mesh.pick(), Err(Status::NoInstance));
        }
    }
}

#[test]
fn a_new_instance_starts_slowly() {
    for balancer in not_hashing() {
        let mut mesh = Mesh::new(&format!(
            r#"{{"balancer":"{balancer}","balancing":{{"slowStartMs":40000}}}}"#
        ));
        mesh.now_us = 1;
        for _ in 0..3 {
            mesh.add("{}");
        }
        mesh.now_us += 60_000_000;
        let fresh = mesh.add("{}");
        // A fourth of the way: a quarter of its share, a sixteenth of the whole at most, and not nothing.
        let early = share(&mesh.spread(8_000), &[fresh]);
        assert!((0.005..0.1).contains(&early), "{balancer}: {early}");
        mesh.now_us += 60_000_000;
        let late = share(&mesh.spread(8_000), &[fresh]);
        assert!((0.22..0.28).contains(&late), "{balancer}: {late}");
    }
}

#[test]
fn a_fleet_that_starts_as_a_whole_refuses_nobody() {
    for balancer in ["round-robin", "random", "least-request", "adaptive"] {
        let mut mesh = Mesh::new(&format!(
            r#"{{"balancer":"{balancer}","balancing":{{"slowStartMs":60000}}}}"#
        ));
        fleet(&mut mesh, 3);
        assert_eq!(mesh.spread(300).len(), 3, "{balancer}");
    }
}

#[test]
fn a_panic_uses_everybody_that_is_alive() {
    let policy = |panic| {
        format!(
            r#"{{"balancer":"round-robin","balancing":{{"panicThreshold":{panic}}},
                "breaker":{{"consecutiveFailures":1,"openMs":3600000}}}}"#
        )
    };
    for (panic, alive) in [("0.5", 10), ("0", 4)] {
        let mut mesh = Mesh::new(&policy(panic));
        fleet(&mut mesh, 10);
        for _ in 0..6 {
            let (ticket, _) = mesh.pick().unwrap();
            mesh.complete(ticket, Outcome::Unreachable, 10).unwrap();
        }
        mesh.now_us += 2_000;
        assert_eq!(mesh.spread(1_000).len(), alive, "panicThreshold {panic}");
    }
}

#[test]
fn a_weight_is_changed_live() {
    for balancer in ["weighted", "random", "least-request"] {
        let mut mesh = Mesh::new(&format!(r#"{{"balancer":"{balancer}"}}"#));
        let (a, b) = (mesh.add("{}"), mesh.add("{}"));
        mesh.router
            .update_instance(a, r#"{"weight":9}"#, 0)
            .unwrap();
        let counts = mesh.spread(4_000);
        assert!((300..=500).contains(&counts[&b]), "{balancer}: {counts:?}");
    }
}

#[test]
fn adaptive_leaves_a_silent_instance_before_its_first_late_answer() {
    let mut mesh = Mesh::new(r#"{"balancer":"adaptive"}"#);
    let instances = fleet(&mut mesh, 4);
    mesh.spread(200);
    // From here on the first answers nothing; the others go on answering in a millisecond.
    let mut stuck = 0;
    for _ in 0..1_000 {
        let (ticket, picked) = mesh.pick().unwrap();
        mesh.now_us += 1_000;
        if picked.instance == instances[0] {
            stuck += 1;
        } else {
            mesh.complete(ticket, Outcome::Ok, 1_000).unwrap();
        }
    }
    assert!(stuck <= 2, "{stuck} requests were lost to it");
}
