//! What a run is judged by.

use std::collections::HashMap;

use linkmesh_routing::Outcome;
use serde::Serialize;

use crate::fleet::to_us;
use crate::scenario::{Goal, Scenario};

/// Steps of a latency distribution in the report.
const STEPS: usize = 100;

/// All policies of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Of the scenario.
    pub scenario: String,
    /// Of the scenario.
    pub about: String,
    /// Of the scenario.
    pub seed: u32,
    /// Of the scenario.
    pub goal: Goal,
    /// Of the scenario.
    pub deadline_ms: f64,
    /// Of the scenario.
    pub duration_ms: f64,
    /// One each, in the order asked for.
    pub policies: Vec<Figures>,
}

impl Report {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            seed: scenario.seed,
            goal: scenario.goal,
            deadline_ms: scenario.deadline_ms,
            duration_ms: scenario.duration_ms,
            policies: Vec::new(),
        }
    }
}

/// One policy. Latencies in microseconds from the first attempt to the good answer; a request that failed counts as
/// one that took until the deadline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Its name.
    pub policy: String,
    /// The whole run.
    pub whole: Phase,
    /// Spans of the run, when the scenario has any.
    pub phases: Vec<Phase>,
    /// Attempts, retries included; refused ones excepted.
    pub attempts: u64,
    /// Attempts that no server was found for.
    pub refused: u64,
    /// Attempts by outcome, in the order of the contract's `Outcome`.
    pub outcomes: [u64; 7],
    /// Attempts by server.
    pub picks: Vec<u64>,
    /// Failed attempts by server.
    pub failures: Vec<u64>,
    /// Requests whose key went to another server than the time before.
    pub moves: u64,
    /// Latency at 1 %, 2 %, … 100 % of the requests.
    pub distribution: Vec<u32>,
}

/// One span of a run, by the arrival of its requests.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// End of the span, milliseconds.
    pub until_ms: f64,
    /// Requests that came.
    pub requests: u64,
    /// Those that were answered well in time.
    pub succeeded: u64,
    /// Share of the requests.
    pub success: f64,
    /// Latencies.
    pub p50_us: u32,
    /// Latencies.
    pub p90_us: u32,
    /// Latencies.
    pub p99_us: u32,
    /// Latencies.
    pub p999_us: u32,
}

/// Collects while a policy runs.
#[derive(Debug)]
pub(crate) struct Recorder {
    deadline_us: u32,
    ends_us: Vec<u64>,
    ends_ms: Vec<f64>,
    /// By phase: latencies, failures as the deadline.
    latencies: Vec<Vec<u32>>,
    failed: Vec<u64>,
    attempts: u64,
    refused: u64,
    outcomes: [u64; 7],
    picks: Vec<u64>,
    failures: Vec<u64>,
    homes: HashMap<u32, u32>,
    moves: u64,
}

impl Recorder {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut ends_ms = scenario.phases_ms.clone();
        ends_ms.push(scenario.duration_ms);
        let servers = scenario.server_count() as usize;
        Self {
            deadline_us: to_us(scenario.deadline_ms).min(u64::from(u32::MAX)) as u32,
            ends_us: ends_ms.iter().map(|end| to_us(*end)).collect(),
            latencies: vec![Vec::new(); ends_ms.len()],
            failed: vec![0; ends_ms.len()],
            ends_ms,
            attempts: 0,
            refused: 0,
            outcomes: [0; 7],
            picks: vec![0; servers],
            failures: vec![0; servers],
            homes: HashMap::new(),
            moves: 0,
        }
    }

    fn phase(&self, started_us: u64) -> usize {
        let at = self.ends_us.partition_point(|end| *end <= started_us);
        at.min(self.ends_us.len() - 1)
    }

    pub(crate) fn picked(&mut self, server: u32, key: u32) {
        self.attempts += 1;
        self.picks[server as usize] += 1;
        if key != 0
            && self
                .homes
                .insert(key, server)
                .is_some_and(|old| old != server)
        {
            self.moves += 1;
        }
    }

    pub(crate) fn refused(&mut self) {
        self.refused += 1;
    }

    pub(crate) fn answered(&mut self, server: u32, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
        self.failures[server as usize] += u64::from(outcome != Outcome::Ok);
    }

    pub(crate) fn succeeded(&mut self, started_us: u64, latency_us: u64) {
        let phase = self.phase(started_us);
        self.latencies[phase].push(latency_us.min(u64::from(u32::MAX)) as u32);
    }

    pub(crate) fn failed(&mut self, started_us: u64) {
        let phase = self.phase(started_us);
        self.failed[phase] += 1;
        self.latencies[phase].push(self.deadline_us);
    }

    pub(crate) fn finish(mut self, name: &str) -> Figures {
        let mut phases: Vec<Phase> = Vec::new();
        for (at, until_ms) in self.ends_ms.iter().enumerate() {
            self.latencies[at].sort_unstable();
            phases.push(Phase::of(&self.latencies[at], self.failed[at], *until_ms));
        }
        let mut all = self.latencies.concat();
        all.sort_unstable();
        let until_ms = self.ends_ms.last().copied().unwrap_or(0.0);
        if phases.len() == 1 {
            phases.clear();
        }
        Figures {
            policy: name.to_owned(),
            whole: Phase::of(&all, self.failed.iter().sum(), until_ms),
            phases,
            attempts: self.attempts,
            refused: self.refused,
            outcomes: self.outcomes,
            picks: self.picks,
            failures: self.failures,
            moves: self.moves,
            distribution: (1..=STEPS)
                .map(|step| quantile(&all, step as f64 / STEPS as f64))
                .collect(),
        }
    }
}

/// The value that this share of sorted values does not exceed; 0 of none.
fn quantile(sorted: &[u32], share: f64) -> u32 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

impl Phase {
    fn of(sorted: &[u32], failed: u64, until_ms: f64) -> Self {
        let requests = sorted.len() as u64;
        Self {
            until_ms,
            requests,
            succeeded: requests - failed,
            success: (requests - failed) as f64 / requests.max(1) as f64,
            p50_us: quantile(sorted, 0.5),
            p90_us: quantile(sorted, 0.9),
            p99_us: quantile(sorted, 0.99),
            p999_us: quantile(sorted, 0.999),
        }
    }
}
