//! `cargo bench -p linkmesh-routing`: one thread, everything on, pick and complete of one request.
//!
//! Rounds are shorter than a time slice, so that the best of many is undisturbed even on a busy machine; the median
//! says how busy it was. With a word (`-- least`) only what has it in its name is measured.
#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::hint::black_box;
use std::time::Instant;

use linkmesh_routing::{Picked, Router, RouterOptions, fmix32};
use linkmesh_tables::epoch::Domain;

const ROUND: u64 = 2_000;
const ROUNDS: usize = 400;

fn measure(label: &str, policy: &str, instances: u32, keyed: bool) {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if wanted.is_some_and(|wanted| !label.contains(&wanted)) {
        return;
    }
    let router = Router::new(RouterOptions::default()).expect("memory");
    let service = router
        .define_service("orders", policy, 0)
        .expect("a valid policy");
    for n in 0..instances {
        let spec = format!(
            r#"{{"address":"http://10.0.0.{n}:80","weight":{}}}"#,
            1 + n % 3
        );
        router
            .add_instance(service, &spec, 0, 0)
            .expect("a valid spec");
    }
    let reader = Domain::global().register();
    let mut caller = router.caller(1).expect("memory");
    let mut now_us = 0;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for n in 0..ROUND {
                now_us += 1;
                let key = if keyed { fmix32(n as u32 + 1) } else { 0 };
                let guard = reader.pin();
                let mut picked = Picked::default();
                let ticket = router
                    .pick(&guard, &mut caller, service, key, now_us, &mut picked)
                    .expect("an instance");
                let completed = router.complete(&guard, ticket, 0, 150 + (n % 50) as i64, now_us);
                black_box((picked, completed.expect("an open ticket")));
            }
            start.elapsed().as_secs_f64() * 1e9 / ROUND as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!(
        "{label:<34} best {:>6.1} ns   median {:>6.1} ns",
        rounds[0],
        rounds[ROUNDS / 2]
    );
}

fn main() {
    for balancer in ["round-robin", "weighted", "least-request", "peak-ewma"] {
        let policy = format!(r#"{{"balancer":"{balancer}"}}"#);
        measure(&format!("{balancer}, 10 instances"), &policy, 10, false);
    }
    measure("least-request, 3 instances", "{}", 3, false);
    measure("least-request, 1,000 instances", "{}", 1_000, false);
    for balancer in ["random", "adaptive"] {
        let policy = format!(r#"{{"balancer":"{balancer}"}}"#);
        measure(&format!("{balancer}, 10 instances"), &policy, 10, false);
    }
    measure(
        "adaptive, 1,000 instances",
        r#"{"balancer":"adaptive"}"#,
        1_000,
        false,
    );
    measure(
        "least-request, all of 10 instances",
        r#"{"balancing":{"fullScan":true}}"#,
        10,
        false,
    );
    for balancer in ["consistent-hash", "maglev"] {
        let policy = format!(r#"{{"balancer":"{balancer}"}}"#);
        measure(&format!("{balancer}, 10 instances"), &policy, 10, true);
        measure(
            &format!("{balancer}, 1,000 instances"),
            &policy,
            1_000,
            true,
        );
    }
    measure("key, 3 instances", "{}", 3, true);
    measure("key, 10 instances", "{}", 10, true);
}
