//! Moleculer's latency strategy: every ten seconds each host is pinged; of five random ones (of all in their order, when
//! there are no more than five) the first whose mean ping is below 10 ms is taken, else the one with the lowest; a host
//! without pings is taken when nobody has any. The pings see the host, not the service.
//!
//! `npm run bench -- strategies` compares its choices with those of Moleculer's own class.

use std::collections::VecDeque;

use linkmesh_routing::{Outcome, Rng};

use super::naive_retry::backoff_ms;
use crate::chooser::Chooser;

const SAMPLES: usize = 5;
const COLLECT: usize = 5;
const LOW_US: f64 = 10_000.0;
const PING_EVERY_US: u64 = 10_000_000;

pub(crate) struct Latency {
    servers: Vec<u32>,
    /// Latest pings of each server, by its number.
    pings: Vec<VecDeque<u64>>,
    rng: Rng,
}

impl Latency {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            servers: Vec::new(),
            pings: Vec::new(),
            rng,
        }
    }

    fn mean_us(&self, server: u32) -> Option<f64> {
        let pings = self.pings.get(server as usize)?;
        (!pings.is_empty()).then(|| pings.iter().sum::<u64>() as f64 / pings.len() as f64)
    }
}

impl Chooser for Latency {
    fn join(&mut self, server: u32, _: u64) {
        self.servers.push(server);
    }

    fn pick(&mut self, _: u32, _: u64) -> Option<(u32, u64)> {
        let count = self.servers.len() as u32;
        let mut best: Option<(f64, u32)> = None;
        for at in 0..SAMPLES.min(self.servers.len()) {
            let at = if self.servers.len() <= SAMPLES {
                at
            } else {
                self.rng.below(count) as usize
            };
            let server = *self.servers.get(at)?;
            let Some(latency_us) = self.mean_us(server) else {
                continue;
            };
            if latency_us < LOW_US {
                return Some((server, 0));
            }
            if best.is_none_or(|best| latency_us < best.0) {
                best = Some((latency_us, server));
            }
        }
        match best {
            Some((_, server)) => Some((server, 0)),
            None => Some((*self.servers.get(self.rng.below(count) as usize)?, 0)),
        }
    }

    fn complete(&mut self, _: u64, _: u32, _: Outcome, _: u64, _: u64) {}

    fn retry(&mut self, attempt: u32, _: u64) -> Option<u32> {
        Some(backoff_ms(attempt))
    }

    fn pong(&mut self, server: u32, latency_us: u64) {
        if self.pings.len() <= server as usize {
            self.pings.resize_with(server as usize + 1, VecDeque::new);
        }
        let pings = &mut self.pings[server as usize];
        pings.push_back(latency_us);
        if pings.len() > COLLECT {
            pings.pop_front();
        }
    }

    fn ping_every_us(&self) -> u64 {
        PING_EVERY_US
    }
}
