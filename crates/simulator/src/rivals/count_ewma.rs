//! An EWMA per answer, not per time, as agentgateway's load balancer has it: two random choices by
//! `health / (1 + latency · (1 + 0.1 · pending))`, latency in seconds, both averages moved 0.3 towards each answer. What
//! is not picked learns nothing and is never forgiven.

use linkmesh_routing::{Outcome, Rng};

use super::naive_retry::backoff_ms;
use super::two;
use crate::chooser::Chooser;

const STEP: f64 = 0.3;

struct Server {
    number: u32,
    pending: f64,
    health: f64,
    latency_s: f64,
}

pub(crate) struct CountEwma {
    servers: Vec<Server>,
    rng: Rng,
}

impl CountEwma {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            servers: Vec::new(),
            rng,
        }
    }

    fn score(&self, at: usize) -> f64 {
        let server = &self.servers[at];
        server.health / (1.0 + server.latency_s * (1.0 + 0.1 * server.pending))
    }
}

impl Chooser for CountEwma {
    fn join(&mut self, server: u32, _: u64) {
        self.servers.push(Server {
            number: server,
            pending: 0.0,
            health: 1.0,
            latency_s: 0.0,
        });
    }

    fn pick(&mut self, _: u32, _: u64) -> Option<(u32, u64)> {
        if self.servers.is_empty() {
            return None;
        }
        let (a, b) = two(&mut self.rng, self.servers.len());
        let at = if self.score(b) > self.score(a) { b } else { a };
        self.servers[at].pending += 1.0;
        Some((self.servers[at].number, at as u64))
    }

    fn complete(&mut self, at: u64, _: u32, outcome: Outcome, latency_us: u64, _: u64) {
        let server = &mut self.servers[at as usize];
        server.pending -= 1.0;
        let good = if outcome == Outcome::Ok { 1.0 } else { 0.0 };
        server.health += (good - server.health) * STEP;
        server.latency_s += (latency_us as f64 / 1e6 - server.latency_s) * STEP;
    }

    fn retry(&mut self, attempt: u32, _: u64) -> Option<u32> {
        Some(backoff_ms(attempt))
    }
}
