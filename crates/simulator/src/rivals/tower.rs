//! tower's `p2c::Balance` over `load::PeakEwma`: the one of two random services with the smaller cost
//! `estimate · (pending + 1)`. The estimate starts at 30 ms, jumps to any answer above it, and else moves towards it by
//! the time since the last, with a decay of ten seconds: linkerd's defaults. Failures count like answers.

use linkmesh_routing::{Outcome, Rng, decay};

use super::naive_retry::backoff_ms;
use super::two;
use crate::chooser::Chooser;

/// e^(-t / 10 s) is 2^(-t / 6.931 s).
const HALF_LIFE_MS: u32 = 6_931;
const DEFAULT_US: f64 = 30_000.0;

struct Server {
    number: u32,
    pending: f64,
    estimate_us: f64,
    updated_us: u64,
}

pub(crate) struct PeakEwma {
    servers: Vec<Server>,
    rng: Rng,
}

impl PeakEwma {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            servers: Vec::new(),
            rng,
        }
    }

    /// The estimate fades when it is looked at, too.
    fn cost(&self, at: usize, now_us: u64) -> f64 {
        let server = &self.servers[at];
        server.estimate_us * faded(server.updated_us, now_us) * (server.pending + 1.0)
    }
}

fn faded(then_us: u64, now_us: u64) -> f64 {
    decay(
        (now_us.saturating_sub(then_us) / 1_000) as u32,
        HALF_LIFE_MS,
    )
}

impl Chooser for PeakEwma {
    fn join(&mut self, server: u32, now_us: u64) {
        self.servers.push(Server {
            number: server,
            pending: 0.0,
            estimate_us: DEFAULT_US,
            updated_us: now_us,
        });
    }

    fn pick(&mut self, _: u32, now_us: u64) -> Option<(u32, u64)> {
        if self.servers.is_empty() {
            return None;
        }
        let (a, b) = two(&mut self.rng, self.servers.len());
        let at = if self.cost(b, now_us) < self.cost(a, now_us) {
            b
        } else {
            a
        };
        self.servers[at].pending += 1.0;
        Some((self.servers[at].number, at as u64))
    }

    fn complete(&mut self, at: u64, _: u32, _: Outcome, latency_us: u64, now_us: u64) {
        let server = &mut self.servers[at as usize];
        server.pending -= 1.0;
        let sample = latency_us as f64;
        if sample > server.estimate_us {
            server.estimate_us = sample;
        } else {
            let share = faded(server.updated_us, now_us);
            server.estimate_us = server.estimate_us * share + sample * (1.0 - share);
        }
        server.updated_us = now_us;
    }

    fn retry(&mut self, attempt: u32, _: u64) -> Option<u32> {
        Some(backoff_ms(attempt))
    }
}
