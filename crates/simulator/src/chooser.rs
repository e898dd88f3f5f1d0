//! Who decides where a request goes: the production router or a rival, behind one face.

use linkmesh_routing::{Balancer, Outcome};

use crate::error::SimulationError;
use crate::production::Production;
use crate::rivals;
use crate::scenario::Scenario;

/// Picks servers and learns how it went. Servers are numbers from 0; times are microseconds of its own clock.
pub(crate) trait Chooser {
    /// A server has joined.
    fn join(&mut self, server: u32, now_us: u64);

    /// A server for a request, and a number that its end is reported by; `None`: the request is refused, or may wait.
    fn pick(&mut self, key: u32, now_us: u64) -> Option<(u32, u64)>;

    /// After a refusal: queues for the next place, for so many milliseconds. A number that the answer is known by.
    fn wait(&mut self, _key: u32, _timeout_ms: f64, _now_us: u64) -> Option<u32> {
        None
    }

    /// Answers to waits since the last call: the wait, and the server with the number of the request, or a refusal.
    fn granted(&mut self, _out: &mut Vec<(u32, Option<(u32, u64)>)>) {}

    /// A request ended.
    fn complete(
        &mut self,
        ticket: u64,
        server: u32,
        outcome: Outcome,
        latency_us: u64,
        now_us: u64,
    );

    /// Whether a failed request may be tried again: after how many milliseconds. `attempt` 1 is the first retry.
    fn retry(&mut self, attempt: u32, now_us: u64) -> Option<u32>;

    /// Time passed; called every 100 ms.
    fn tick(&mut self, _now_us: u64) {}

    /// The answer to the ping of a server, for who pings.
    fn pong(&mut self, _server: u32, _latency_us: u64) {}

    /// How often it pings, microseconds; 0 = never.
    fn ping_every_us(&self) -> u64 {
        0
    }
}

/// A policy by name.
#[derive(Debug, Clone)]
pub struct Policies {
    name: String,
    /// The contract's `Policy`; `None` for a rival.
    policy: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Policies {
    /// Those asked for, those of the scenario, or all.
    ///
    /// # Errors
    /// A name that is neither a balancer, a rival nor one of the scenario's.
    pub fn of(scenario: &Scenario, names: &[String]) -> Result<Vec<Self>, SimulationError> {
        let defaults = || {
            let balancers = ["adaptive", "least-request", "peak-ewma", "round-robin"];
            let rivals = rivals::NAMES.iter().copied();
            balancers
                .into_iter()
                .chain(rivals)
                .map(str::to_owned)
                .collect()
        };
        let own = || {
            scenario
                .policies
                .iter()
                .map(|named| named.name.clone())
                .collect()
        };
        let names: Vec<String> = match (names.is_empty(), scenario.policies.is_empty()) {
            (false, _) => names.to_vec(),
            (true, false) => own(),
            (true, true) => defaults(),
        };
        if names.len() > 64 {
            return Err(SimulationError::new("policies", "may be at most 64"));
        }
        names
            .into_iter()
            .map(|name| Self::named(scenario, name))
            .collect()
    }

    fn named(scenario: &Scenario, name: String) -> Result<Self, SimulationError> {
        if rivals::NAMES.contains(&name.as_str()) {
            return Ok(Self { name, policy: None });
        }
        let mut policy = scenario.policy.clone();
        let own = scenario.policies.iter().find(|named| named.name == name);
        if let Some(own) = own.and_then(|own| own.policy.as_ref()) {
            policy.extend(own.clone());
        } else if Balancer::from_word(&name).is_some() {
            policy.insert("balancer".to_owned(), name.clone().into());
        } else {
            let balancers = Balancer::ALL.map(Balancer::as_str).join(", ");
            let rivals = rivals::NAMES.join(", ");
            let problem = format!("has no {name}; there are {balancers}; rivals: {rivals}");
            return Err(SimulationError::new("policies", &problem));
        }
        Ok(Self {
            name,
            policy: Some(policy),
        })
    }

    /// Its name in the report.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn make(&self, scenario: &Scenario) -> Result<Box<dyn Chooser>, SimulationError> {
        match &self.policy {
            Some(policy) => Ok(Box::new(Production::new(policy, scenario.seed)?)),
            None => rivals::make(&self.name, scenario.seed)
                .ok_or_else(|| SimulationError::new("policies", "has no such rival")),
        }
    }
}
