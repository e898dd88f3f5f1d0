//! Least request as Envoy has it for equal weights: the one of two random hosts with fewer requests in flight.

use linkmesh_routing::{Outcome, Rng};

use super::naive_retry::backoff_ms;
use super::two;
use crate::chooser::Chooser;

pub(crate) struct LeastRequest {
    /// Server and requests in flight.
    servers: Vec<(u32, u32)>,
    rng: Rng,
}

impl LeastRequest {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            servers: Vec::new(),
            rng,
        }
    }
}

impl Chooser for LeastRequest {
    fn join(&mut self, server: u32, _: u64) {
        self.servers.push((server, 0));
    }

    fn pick(&mut self, _: u32, _: u64) -> Option<(u32, u64)> {
        if self.servers.is_empty() {
            return None;
        }
        let (a, b) = two(&mut self.rng, self.servers.len());
        let at = if self.servers[b].1 < self.servers[a].1 {
            b
        } else {
            a
        };
        self.servers[at].1 += 1;
        Some((self.servers[at].0, at as u64))
    }

    fn complete(&mut self, at: u64, _: u32, _: Outcome, _: u64, _: u64) {
        self.servers[at as usize].1 -= 1;
    }

    fn retry(&mut self, attempt: u32, _: u64) -> Option<u32> {
        Some(backoff_ms(attempt))
    }
}
