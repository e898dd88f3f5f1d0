//! The servers: a bounded queue before some workers each, and what goes wrong with them.

use std::collections::{HashMap, VecDeque};

use linkmesh_routing::{Outcome, Rng, fmix32};

use crate::draw::log_normal;
use crate::scenario::{Fault, FaultKind, Group, Scenario};

/// To say no takes this long, microseconds; to find nobody there, too.
const REFUSAL_US: u64 = 500;
/// Others on the machine change this often, microseconds.
const ANTAGONIST_US: u64 = 5_000_000;
/// There and back, without work, microseconds.
const NETWORK_US: f64 = 500.0;

pub(crate) fn to_us(ms: f64) -> u64 {
    (ms * 1_000.0) as u64
}

/// A request as a server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) request: u32,
    pub(crate) attempt: u32,
    pub(crate) key: u32,
}

/// What a server does with a request that comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reaction {
    /// Answers after this time, microseconds, without work.
    Answers(Outcome, u64),
    /// A worker has it, for this time, microseconds.
    Works(u64),
    /// It waits for a worker.
    Waits,
}

/// Keys a server remembers; the stamp of the last use decides who is forgotten.
#[derive(Debug, Default)]
struct Cache {
    stamps: HashMap<u32, u64>,
    uses: VecDeque<(u32, u64)>,
    clock: u64,
}

impl Cache {
    /// Whether the key was there; it is now.
    fn touch(&mut self, key: u32, capacity: u32) -> bool {
        self.clock += 1;
        let known = self.stamps.insert(key, self.clock).is_some();
        self.uses.push_back((key, self.clock));
        while self.stamps.len() > capacity as usize {
            let Some((old, stamp)) = self.uses.pop_front() else {
                break;
            };
            if self.stamps.get(&old) == Some(&stamp) {
                self.stamps.remove(&old);
            }
        }
        known
    }
}

#[derive(Debug)]
struct Server {
    group: usize,
    busy: u32,
    waiting: VecDeque<Job>,
    /// When a `Limit` fault admits the next one, microseconds.
    limit_us: f64,
    cache: Cache,
}

/// All servers of a scenario.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    groups: &'a [Group],
    faults: &'a [Fault],
    servers: Vec<Server>,
    seed: u32,
    rng: Rng,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        let groups = scenario.servers.iter().enumerate();
        let servers = groups.flat_map(|(group, of)| {
            (0..of.count).map(move |_| Server {
                group,
                busy: 0,
                waiting: VecDeque::new(),
                limit_us: 0.0,
                cache: Cache::default(),
            })
        });
        Self {
            groups: &scenario.servers,
            faults: &scenario.faults,
            servers: servers.collect(),
            seed: scenario.seed,
            rng: Rng::new(scenario.seed, 0x776f_726b),
        }
    }

    /// When each server joins, microseconds.
    pub(crate) fn joins(&self) -> impl Iterator<Item = (u32, u64)> {
        self.servers
            .iter()
            .enumerate()
            .map(|(server, of)| (server as u32, to_us(self.groups[of.group].join_ms)))
    }

    fn fault(&self, server: u32, kind: FaultKind, now_us: u64) -> Option<f64> {
        let now_ms = now_us as f64 / 1_000.0;
        self.faults
            .iter()
            .find(|fault| {
                fault.kind == kind
                    && (fault.server..fault.server + fault.count).contains(&server)
                    && (fault.at_ms..fault.until_ms).contains(&now_ms)
                    && (fault.period_ms <= 0.0
                        || (now_ms - fault.at_ms) % fault.period_ms < fault.period_ms / 2.0)
            })
            .map(|fault| fault.value)
    }

    /// A request comes in.
    pub(crate) fn receive(&mut self, server: u32, job: Job, now_us: u64) -> Reaction {
        if self.fault(server, FaultKind::Down, now_us).is_some() {
            return Reaction::Answers(Outcome::Unreachable, REFUSAL_US);
        }
        if let Some(after_ms) = self.fault(server, FaultKind::Fail, now_us) {
            return Reaction::Answers(Outcome::Error, to_us(after_ms).max(1));
        }
        if let Some(rate) = self.fault(server, FaultKind::Limit, now_us) {
            let of = &mut self.servers[server as usize];
            let now = now_us as f64;
            if of.limit_us > now {
                return Reaction::Answers(Outcome::Rejected, REFUSAL_US);
            }
            of.limit_us = now + 1e6 / rate.max(0.001);
        }
        let group = &self.groups[self.servers[server as usize].group];
        if self.servers[server as usize].busy < group.parallel {
            return Reaction::Works(self.begin(server, job.key, now_us));
        }
        let of = &mut self.servers[server as usize];
        if of.waiting.len() >= group.queue as usize {
            return Reaction::Answers(Outcome::Rejected, REFUSAL_US);
        }
        of.waiting.push_back(job);
        Reaction::Waits
    }

    /// A worker is done. The next job that is still wanted, and how long it takes, microseconds.
    pub(crate) fn finish(
        &mut self,
        server: u32,
        now_us: u64,
        wanted: impl Fn(&Job) -> bool,
    ) -> Option<(Job, u64)> {
        self.servers[server as usize].busy -= 1;
        let of_nobody = self.groups[self.servers[server as usize].group].works_for_nobody;
        loop {
            let job = self.servers[server as usize].waiting.pop_front()?;
            if of_nobody || wanted(&job) {
                return Some((job, self.begin(server, job.key, now_us)));
            }
        }
    }

    fn begin(&mut self, server: u32, key: u32, now_us: u64) -> u64 {
        let group = &self.groups[self.servers[server as usize].group];
        self.servers[server as usize].busy += 1;
        let mut work_us = log_normal(&mut self.rng, group.work_ms, group.sigma) * 1_000.0;
        work_us *= self.warmup(server, now_us) * self.antagonist(server, now_us);
        if let Some(factor) = self.fault(server, FaultKind::Slow, now_us) {
            work_us *= factor;
        }
        if group.cache != 0 && key != 0 {
            let of = &mut self.servers[server as usize];
            if of.cache.touch(key, group.cache) {
                work_us *= group.hit_factor;
            }
        }
        if let Some(stuck_ms) = self.fault(server, FaultKind::Stuck, now_us) {
            work_us = stuck_ms * 1_000.0;
        }
        (work_us + NETWORK_US) as u64
    }

    /// How much longer work takes since the server joined, or came back.
    fn warmup(&self, server: u32, now_us: u64) -> f64 {
        let group = &self.groups[self.servers[server as usize].group];
        if group.warmup_ms <= 0.0 {
            return 1.0;
        }
        let now_ms = now_us as f64 / 1_000.0;
        let back_ms = self
            .faults
            .iter()
            .filter(|fault| {
                fault.kind == FaultKind::Down
                    && (fault.server..fault.server + fault.count).contains(&server)
                    && fault.until_ms <= now_ms
            })
            .fold(group.join_ms, |last, fault| last.max(fault.until_ms));
        let left = 1.0 - (now_ms - back_ms) / group.warmup_ms;
        1.0 + (group.warmup_factor - 1.0) * left.clamp(0.0, 1.0)
    }

    fn antagonist(&self, server: u32, now_us: u64) -> f64 {
        let most = self.groups[self.servers[server as usize].group].antagonist;
        if most <= 1.0 {
            return 1.0;
        }
        let span = (now_us / ANTAGONIST_US) as u32;
        let h = fmix32(fmix32(self.seed ^ server.wrapping_mul(0x9e37_79b9)) ^ span);
        1.0 + (most - 1.0) * f64::from(h) / 4_294_967_296.0
    }

    /// How long a ping takes, microseconds: a millisecond as slow as the machine is now. `None`: nobody is there.
    pub(crate) fn ping(&self, server: u32, now_us: u64) -> Option<u64> {
        if self.fault(server, FaultKind::Down, now_us).is_some() {
            return None;
        }
        let slow = self.fault(server, FaultKind::Slow, now_us).unwrap_or(1.0);
        Some((1_000.0 * slow * self.antagonist(server, now_us)) as u64)
    }
}
