//! `cargo bench -p linkmesh-routing`: one thread, everything on, pick and complete of one request.
//!
//! Rounds are shorter than a time slice, so that the best of many is undisturbed even on a busy machine; the median
//! says how busy it was. With a word (`-- least`) only what has it in its name is measured.
#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::hint::black_box;
use std::time::Instant;

use linkmesh_routing::{Balancer, Picked, Router, RouterOptions, fmix32};
use linkmesh_tables::epoch::Domain;

const ROUND: u64 = 2_000;
const ROUNDS: usize = 400;

/// What is picked from.
#[derive(Clone, Copy)]
struct Fleet {
    services: u32,
    /// Of each.
    instances: u32,
    keyed: bool,
}

fn of(instances: u32) -> Fleet {
    Fleet {
        services: 1,
        instances,
        keyed: false,
    }
}

fn keyed(instances: u32) -> Fleet {
    Fleet {
        keyed: true,
        ..of(instances)
    }
}

fn measure(label: &str, policy: &str, fleet: Fleet) {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if wanted.is_some_and(|wanted| !label.contains(&wanted)) {
        return;
    }
    let router = Router::new(RouterOptions::default()).expect("memory");
    let services: Vec<u32> = (0..fleet.services)
        .map(|s| {
            let service = router
                .define_service(&format!("orders-{s}"), policy, 0)
                .expect("a valid policy");
            for n in 0..fleet.instances {
                let weight = 1 + n % 3;
                let spec = format!(r#"{{"address":"http://10.0.{s}.{n}:80","weight":{weight}}}"#);
                router
                    .add_instance(service, &spec, 0, 0)
                    .expect("a valid spec");
            }
            service
        })
        .collect();
    let reader = Domain::global().register();
    let mut caller = router.caller(1).expect("memory");
    let mut now_us = 0;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let start = Instant::now();
            for n in 0..ROUND {
                now_us += 1;
                let drawn = fmix32((round as u32) << 16 | n as u32);
                let service = services[((u64::from(drawn) * services.len() as u64) >> 32) as usize];
                let key = if fleet.keyed { fmix32(n as u32 + 1) } else { 0 };
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
    // `adaptive` is measured by size below.
    let others = Balancer::ALL
        .into_iter()
        .filter(|it| !it.hashes() && *it != Balancer::Adaptive);
    for balancer in others.map(Balancer::as_str) {
        let policy = format!(r#"{{"balancer":"{balancer}"}}"#);
        measure(&format!("{balancer}, 10 instances"), &policy, of(10));
    }
    measure("least-request, 3 instances", "{}", of(3));
    measure("least-request, 1,000 instances", "{}", of(1_000));
    for instances in [2, 10, 100, 1_000] {
        measure(
            &format!("adaptive, {instances} instances"),
            r#"{"balancer":"adaptive"}"#,
            of(instances),
        );
    }
    measure(
        "least-request, all of 10 instances",
        r#"{"balancing":{"fullScan":true}}"#,
        of(10),
    );
    for balancer in [
        "least-request",
        "adaptive",
        "consistent-hash",
        "maglev",
        "rendezvous",
    ] {
        let policy = format!(r#"{{"balancer":"{balancer}"}}"#);
        for instances in [10, 1_000] {
            measure(
                &format!("key, {balancer}, {instances} instances"),
                &policy,
                keyed(instances),
            );
        }
    }
    for instances in [10, 1_000] {
        measure(
            &format!("key, maglev with a bound, {instances} instances"),
            r#"{"balancer":"maglev","balancing":{"hashBalanceFactor":125}}"#,
            keyed(instances),
        );
    }
    let many = Fleet {
        services: 10_000,
        ..of(2)
    };
    measure("least-request, 10,000 services", "{}", many);
}
