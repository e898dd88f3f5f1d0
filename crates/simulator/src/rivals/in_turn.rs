//! Round robin and random.

use linkmesh_routing::{Outcome, Rng};

use super::naive_retry::backoff_ms;
use crate::chooser::Chooser;

/// One after the other.
#[derive(Default)]
pub(crate) struct InTurn {
    servers: Vec<u32>,
    next: usize,
}

impl Chooser for InTurn {
    fn join(&mut self, server: u32, _: u64) {
        self.servers.push(server);
    }

    fn pick(&mut self, _: u32, _: u64) -> Option<(u32, u64)> {
        let server = *self.servers.get(self.next % self.servers.len().max(1))?;
        self.next += 1;
        Some((server, 0))
    }

    fn complete(&mut self, _: u64, _: u32, _: Outcome, _: u64, _: u64) {}

    fn retry(&mut self, attempt: u32, _: u64) -> Option<u32> {
        Some(backoff_ms(attempt))
    }
}

/// Any.
pub(crate) struct Random {
    servers: Vec<u32>,
    rng: Rng,
}

impl Random {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            servers: Vec::new(),
            rng,
        }
    }
}

impl Chooser for Random {
    fn join(&mut self, server: u32, _: u64) {
        self.servers.push(server);
    }

    fn pick(&mut self, _: u32, _: u64) -> Option<(u32, u64)> {
        let at = self.rng.below(self.servers.len() as u32) as usize;
        Some((*self.servers.get(at)?, 0))
    }

    fn complete(&mut self, _: u64, _: u32, _: Outcome, _: u64, _: u64) {}

    fn retry(&mut self, attempt: u32, _: u64) -> Option<u32> {
        Some(backoff_ms(attempt))
    }
}
