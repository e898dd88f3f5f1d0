//! What is simulated: arrivals, servers, what goes wrong and when.

use serde::{Deserialize, Serialize};

use crate::error::SimulationError;
use crate::included::included;

/// Requests of one run.
const MOST_REQUESTS: f64 = 5_000_000.0;
const MOST_SERVERS: u32 = 10_000;
const MOST_FAULTS: usize = 1_000;
const HOUR_MS: f64 = 3_600_000.0;
/// Bytes of a request's JSON.
const MOST_JSON: usize = 64 << 20;

/// One scenario. Times in milliseconds of virtual time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// How it is called.
    pub name: String,
    /// What it shows, one sentence.
    #[serde(default)]
    pub about: String,
    /// Of everything random.
    #[serde(default)]
    pub seed: u32,
    /// Arrivals end then; requests under way are waited for.
    pub duration_ms: f64,
    /// A request that is not answered by then has failed.
    pub deadline_ms: f64,
    /// When requests come.
    pub arrivals: Arrivals,
    /// The fleet, in groups of equal servers.
    pub servers: Vec<Group>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// How callers try again.
    #[serde(default)]
    pub retries: Retries,
    /// From `atMs` on the router's clock is `byMs` behind.
    #[serde(default)]
    pub clock_step: Option<ClockStep>,
    /// Figures are also given for each span up to one of these times.
    #[serde(default)]
    pub phases_ms: Vec<f64>,
    /// Which figure decides who is best.
    #[serde(default)]
    pub goal: Goal,
    /// Policies to compare; empty = all.
    #[serde(default)]
    pub policies: Vec<Named>,
    /// Merged over the policy of every linkmesh balancer: what a user would set for such a service.
    #[serde(default)]
    pub policy: serde_json::Map<String, serde_json::Value>,
}

/// What a scenario is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The share of requests that were answered well in time.
    #[default]
    Success,
    /// The latency that 99 of 100 requests stay below, failures counting as the deadline.
    P99,
}

/// A linkmesh policy under a name of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// In the report; a balancer's or rival's name needs no policy.
    pub name: String,
    /// The contract's `Policy`.
    #[serde(default)]
    pub policy: Option<serde_json::Map<String, serde_json::Value>>,
}

/// When requests come, and with which key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arrivals {
    /// Requests a second, Poisson; each rate for an equal part of the duration.
    #[serde(default)]
    pub rates: Vec<f64>,
    /// Instead: `[time in ms, key]` of each request, in order. Key 0 = none.
    #[serde(default)]
    pub trace: Vec<(f64, u32)>,
    /// Different keys; 0 = none.
    #[serde(default)]
    pub keys: u32,
    /// Share of the requests that have key 1.
    #[serde(default)]
    pub hot_share: f64,
}

/// Servers that are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// How many.
    pub count: u32,
    /// Requests that one works on at a time.
    pub parallel: u32,
    /// Requests that may wait in one; more are rejected.
    #[serde(default = "default_queue")]
    pub queue: u32,
    /// It works on requests that nobody waits for any more, too; default false.
    #[serde(default)]
    pub works_for_nobody: bool,
    /// Median time of work on one request.
    pub work_ms: f64,
    /// Deviation of the logarithm of the work.
    #[serde(default)]
    pub sigma: f64,
    /// They join then.
    #[serde(default)]
    pub join_ms: f64,
    /// After joining, or coming back from `down`, work takes `warmupFactor` times as long, less and less for this time.
    #[serde(default)]
    pub warmup_ms: f64,
    /// See `warmupMs`.
    #[serde(default = "one")]
    pub warmup_factor: f64,
    /// Keys that one remembers, least recently used forgotten; 0 = no cache.
    #[serde(default)]
    pub cache: u32,
    /// Work on a remembered key is this share of the whole.
    #[serde(default = "one")]
    pub hit_factor: f64,
    /// Others on the machine: work takes up to this many times as long, drawn anew for each server every five seconds.
    #[serde(default = "one")]
    pub antagonist: f64,
}

fn default_queue() -> u32 {
    1_000
}

fn one() -> f64 {
    1.0
}

/// What a fault does to a server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Work takes `value` times as long.
    Slow,
    /// Work takes `value` milliseconds, whatever it was.
    Stuck,
    /// Fails after `value` milliseconds.
    Fail,
    /// Takes `value` requests a second and rejects the rest at once.
    Limit,
    /// Cannot be reached.
    Down,
}

/// Something that goes wrong for some servers and some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// See [`FaultKind`].
    #[serde(default)]
    pub value: f64,
    /// First server.
    pub server: u32,
    /// Servers from there on; default 1.
    #[serde(default = "one_server")]
    pub count: u32,
    /// From.
    pub at_ms: f64,
    /// To.
    pub until_ms: f64,
    /// Comes and goes: half of each period on, half off; 0 = on throughout.
    #[serde(default)]
    pub period_ms: f64,
}

fn one_server() -> u32 {
    1
}

/// How callers try again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// Callers above each other, each of which retries; 1 to 3 when there are retries.
    #[serde(default)]
    pub layers: u32,
    /// Attempts after the first, in each layer.
    #[serde(default)]
    pub limit: u32,
}

/// The router's clock steps back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockStep {
    /// When.
    pub at_ms: f64,
    /// How far.
    pub by_ms: f64,
}

/// What `simulate_json` is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) scenario: Scenario,
    pub(crate) policies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    scenario: serde_json::Value,
    #[serde(default)]
    policies: Vec<String>,
    seed: Option<u32>,
    /// Replaces the arrivals of the scenario.
    trace: Option<Vec<(f64, u32)>>,
}

impl Request {
    pub(crate) fn from_json(json: &str) -> Result<Self, SimulationError> {
        if json.len() > MOST_JSON {
            return Err(SimulationError::new(
                "request",
                &format!("may have at most {MOST_JSON} bytes"),
            ));
        }
        let raw: RawRequest = serde_json::from_str(json)
            .map_err(|error| SimulationError::new("request", &error.to_string()))?;
        let mut scenario = match raw.scenario.as_str() {
            Some(name) => included(name).ok_or_else(|| {
                SimulationError::new("scenario", &format!("{name} is not included"))
            })?,
            None => serde_json::from_value(raw.scenario)
                .map_err(|error| SimulationError::new("scenario", &error.to_string()))?,
        };
        if let Some(seed) = raw.seed {
            scenario.seed = seed;
        }
        if let Some(trace) = raw.trace {
            scenario.duration_ms = trace.last().map_or(1.0, |last| last.0 + 1.0);
            scenario.arrivals.trace = trace;
        }
        scenario.check()?;
        Ok(Self {
            scenario,
            policies: raw.policies,
        })
    }
}

fn within(field: &str, value: f64, min: f64, max: f64) -> Result<(), SimulationError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(SimulationError::range(field, min, max, value))
}

impl Scenario {
    /// Servers in all.
    pub fn server_count(&self) -> u32 {
        self.servers.iter().map(|group| group.count).sum()
    }

    /// Checks every bound. Before anything is allocated by them.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), SimulationError> {
        within("scenario.durationMs", self.duration_ms, 1.0, 24.0 * HOUR_MS)?;
        within("scenario.deadlineMs", self.deadline_ms, 0.1, HOUR_MS)?;
        self.check_arrivals()?;
        let mut servers = 0.0;
        for (n, group) in self.servers.iter().enumerate() {
            let at = |field: &str| format!("scenario.servers[{n}].{field}");
            servers += f64::from(group.count);
            within(
                &at("count"),
                f64::from(group.count),
                1.0,
                f64::from(MOST_SERVERS),
            )?;
            within(&at("parallel"), f64::from(group.parallel), 1.0, 100_000.0)?;
            within(&at("queue"), f64::from(group.queue), 0.0, 1_000_000.0)?;
            within(&at("workMs"), group.work_ms, 0.001, HOUR_MS)?;
            within(&at("sigma"), group.sigma, 0.0, 3.0)?;
            within(&at("joinMs"), group.join_ms, 0.0, 24.0 * HOUR_MS)?;
            within(&at("warmupMs"), group.warmup_ms, 0.0, HOUR_MS)?;
            within(&at("warmupFactor"), group.warmup_factor, 1.0, 1_000.0)?;
            within(&at("cache"), f64::from(group.cache), 0.0, 1_000_000.0)?;
            within(&at("hitFactor"), group.hit_factor, 0.001, 1.0)?;
            within(&at("antagonist"), group.antagonist, 1.0, 100.0)?;
        }
        within("scenario.servers", servers, 1.0, f64::from(MOST_SERVERS))?;
        if self.faults.len() > MOST_FAULTS {
            return Err(SimulationError::new(
                "scenario.faults",
                &format!("may have at most {MOST_FAULTS} entries"),
            ));
        }
        for (n, fault) in self.faults.iter().enumerate() {
            let at = |field: &str| format!("scenario.faults[{n}].{field}");
            let last = f64::from(fault.server) + f64::from(fault.count);
            within(&at("server"), last, 1.0, servers)?;
            within(&at("value"), fault.value, 0.0, HOUR_MS)?;
            within(&at("atMs"), fault.at_ms, 0.0, 24.0 * HOUR_MS)?;
            within(&at("untilMs"), fault.until_ms, fault.at_ms, 24.0 * HOUR_MS)?;
            within(&at("periodMs"), fault.period_ms, 0.0, HOUR_MS)?;
        }
        let retries = self.retries;
        within(
            "scenario.retries.layers",
            f64::from(retries.layers),
            0.0,
            3.0,
        )?;
        within(
            "scenario.retries.limit",
            f64::from(retries.limit),
            0.0,
            10.0,
        )?;
        if let Some(step) = self.clock_step {
            within("scenario.clockStep.atMs", step.at_ms, 0.0, 24.0 * HOUR_MS)?;
            within("scenario.clockStep.byMs", step.by_ms, 0.0, step.at_ms)?;
        }
        if self.phases_ms.len() > 64 || self.phases_ms.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(SimulationError::new(
                "scenario.phasesMs",
                "must be at most 64 growing times",
            ));
        }
        Ok(())
    }

    fn check_arrivals(&self) -> Result<(), SimulationError> {
        let arrivals = &self.arrivals;
        within("scenario.arrivals.hotShare", arrivals.hot_share, 0.0, 1.0)?;
        within(
            "scenario.arrivals.trace",
            arrivals.trace.len() as f64,
            0.0,
            MOST_REQUESTS,
        )?;
        let ordered = arrivals.trace.windows(2).all(|pair| pair[0].0 <= pair[1].0);
        if !ordered
            || arrivals
                .trace
                .iter()
                .any(|entry| !(0.0..=24.0 * HOUR_MS).contains(&entry.0))
        {
            return Err(SimulationError::new(
                "scenario.arrivals.trace",
                "must be in the order of its times, which are 0 to a day",
            ));
        }
        if arrivals.trace.is_empty() {
            within(
                "scenario.arrivals.rates",
                arrivals.rates.len() as f64,
                1.0,
                64.0,
            )?;
        }
        for (n, rate) in arrivals.rates.iter().enumerate() {
            let field = format!("scenario.arrivals.rates[{n}]");
            within(&field, *rate, 0.001, 1_000_000.0)?;
        }
        let mean = arrivals.rates.iter().sum::<f64>() / arrivals.rates.len().max(1) as f64;
        let expected = mean * self.duration_ms / 1_000.0;
        within("scenario.arrivals", expected, 0.0, MOST_REQUESTS)
    }
}
