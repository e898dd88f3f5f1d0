//! Random histories against a plain model: who holds what, who waits, what is free.

mod mesh;

use std::collections::{HashMap, HashSet};

use linkmesh_registry::Status;
use linkmesh_routing::{Outcome, Rng};
use mesh::Mesh;

const BALANCERS: [&str; 7] = [
    "round-robin",
    "weighted",
    "least-request",
    "peak-ewma",
    "adaptive",
    "consistent-hash",
    "maglev",
];
const LIMIT: u32 = 3;

/// What must be true, kept by lists.
#[derive(Default)]
struct Model {
    /// Live instances and whether they drain.
    instances: Vec<(u32, bool)>,
    /// Open tickets: instance, holder, end of the lease.
    tickets: HashMap<u64, (u32, u32, u64)>,
    /// Waits that were neither answered nor cancelled.
    waits: HashMap<u32, u32>,
}

impl Model {
    fn held(&self, instance: u32) -> u32 {
        self.tickets
            .values()
            .filter(|ticket| ticket.0 == instance)
            .count() as u32
    }

    fn take_grants(&mut self, mesh: &Mesh) {
        for thread in 1..=3 {
            let mut grants = Vec::new();
            mesh.router.take_grants(thread, 1_000, &mut grants);
            for grant in grants {
                assert_eq!(
                    self.waits.remove(&grant.wait_id),
                    Some(thread),
                    "one answer per wait, to its thread"
                );
                match grant.result {
                    Ok(ticket) => {
                        let lease_until_us = mesh.now_us + 60_000_000;
                        let old = self
                            .tickets
                            .insert(ticket, (grant.instance, thread, lease_until_us));
                        assert!(old.is_none(), "a ticket twice");
                    }
                    Err(status) => assert!(matches!(
                        status,
                        Status::DeadlineExceeded | Status::NotFound
                    )),
                }
            }
        }
    }

    fn check(&self, mesh: &Mesh) {
        for &(instance, _) in &self.instances {
            assert_eq!(mesh.in_flight(instance), self.held(instance));
            assert!(self.held(instance) <= LIMIT);
        }
    }
}

#[allow(
    clippy::too_many_lines,
    reason = "one arm per kind of step reads best in one place"
)]
fn history(balancer: &str, seed: u32) {
    let policy = format!(
        r#"{{"balancer":"{balancer}","concurrency":{LIMIT},"queueLimit":8,"rejectedMs":20,
            "breaker":{{"consecutiveFailures":4,"openMs":50,"probes":2,"probeLeaseMs":40}}}}"#
    );
    let mut mesh = Mesh::new(&policy);
    let mut model = Model::default();
    let mut random = Rng::new(seed, 0);
    for _ in 0..8_000 {
        let thread = 1 + random.below(3);
        match random.below(100) {
            0..2 if model.instances.len() < 12 => {
                let spec = format!(r#"{{"weight":{}}}"#, 1 + random.below(9));
                let instance = mesh
                    .router
                    .add_instance(mesh.service, &spec, 9, mesh.now_us)
                    .unwrap();
                model.instances.push((instance, false));
            }
            2 if !model.instances.is_empty() => {
                let (instance, _) = model
                    .instances
                    .remove(random.below(model.instances.len() as u32) as usize);
                mesh.router.remove_instance(instance, mesh.now_us).unwrap();
            }
            3..5 if !model.instances.is_empty() => {
                let at = random.below(model.instances.len() as u32) as usize;
                let (instance, draining) = &mut model.instances[at];
                *draining = !*draining;
                let patch = if *draining {
                    r#"{"health":"draining"}"#
                } else {
                    r#"{"health":"healthy"}"#
                };
                mesh.router
                    .update_instance(*instance, patch, mesh.now_us)
                    .unwrap();
            }
            5..45 => {
                let key_hash = if random.below(3) == 0 {
                    1 + random.below(50)
                } else {
                    0
                };
                match mesh.pick_key(key_hash) {
                    Ok((ticket, picked)) => {
                        assert!(
                            model.instances.contains(&(picked.instance, false)),
                            "dead or draining was picked"
                        );
                        let lease_until_us = mesh.now_us + 60_000_000;
                        assert!(
                            model
                                .tickets
                                .insert(ticket, (picked.instance, 1, lease_until_us))
                                .is_none()
                        );
                    }
                    Err(Status::NoInstance) => assert!(model.instances.is_empty()),
                    Err(Status::Draining) => {
                        assert!(model.instances.iter().all(|(_, draining)| *draining));
                    }
                    Err(Status::Saturated | Status::BreakerOpen) => {
                        assert!(!model.instances.is_empty());
                    }
                    Err(status) => panic!("{status:?}"),
                }
            }
            45..85 if !model.tickets.is_empty() => {
                // The order of a hash map differs from run to run: sort, so that a seed repeats its history.
                let mut open: Vec<u64> = model.tickets.keys().copied().collect();
                open.sort_unstable();
                let ticket = open[random.below(open.len() as u32) as usize];
                let outcome = Outcome::ALL[if random.below(3) == 0 {
                    random.below(7) as usize
                } else {
                    0
                }];
                mesh.complete(ticket, outcome, -1).unwrap();
                assert_eq!(mesh.complete(ticket, outcome, -1), Err(Status::StaleTicket));
                model.tickets.remove(&ticket);
            }
            85..91 => {
                let timeout_ms = f64::from(random.below(200));
                if let Ok(id) = mesh.wait(0, None, thread, timeout_ms) {
                    assert!(model.waits.insert(id, thread).is_none(), "a wait twice");
                }
                assert!(model.waits.len() <= 8 + 64);
            }
            91..93 => {
                let mut waits: Vec<u32> = model.waits.keys().copied().collect();
                waits.sort_unstable();
                if let Some(&wait_id) = waits.first()
                    && mesh.router.wait_cancel(wait_id, mesh.now_us)
                {
                    model.waits.remove(&wait_id);
                }
            }
            93 => {
                mesh.router.thread_ended(thread, mesh.now_us);
                model.tickets.retain(|_, ticket| ticket.1 != thread);
                model.waits.retain(|_, waiter| *waiter != thread);
            }
            _ => {
                // Now and then the clock steps back.
                mesh.now_us = match random.below(20) {
                    0 => mesh.now_us.saturating_sub(u64::from(random.below(100_000))),
                    _ => mesh.now_us + u64::from(random.below(30_000)),
                };
                mesh.router.tick(mesh.now_us);
            }
        }
        model.take_grants(&mesh);
        model.check(&mesh);
    }
    // The end: all tickets back, all waits answered, nothing in flight.
    mesh.now_us += 10_000_000;
    mesh.router.tick(mesh.now_us);
    model.take_grants(&mesh);
    assert!(
        model.waits.is_empty(),
        "an unanswered wait: {:?}",
        model.waits
    );
    let tickets: HashSet<u64> = model.tickets.drain().map(|(ticket, _)| ticket).collect();
    for ticket in tickets {
        mesh.complete(ticket, Outcome::Ok, 1).unwrap();
    }
    model.take_grants(&mesh);
    model.check(&mesh);
}

#[test]
fn random_histories_keep_every_promise() {
    for (n, balancer) in BALANCERS.into_iter().enumerate() {
        for seed in 0..3 {
            history(balancer, 100 * n as u32 + seed);
        }
    }
}
