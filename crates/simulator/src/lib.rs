//! What would have happened: the production router, and rivals, at virtual time against a modelled fleet.
//!
//! Enters here: scenarios, the model of servers and callers, rivals as their sources describe them, figures.
//! Deliberately absent: clocks, threads, files, drawing. Everything random comes from the scenario's seed and every
//! time is a whole number of microseconds, so that one seed gives the same bytes on every machine.
#![forbid(unsafe_code)]

mod chooser;
mod draw;
mod error;
mod figures;
mod fleet;
mod included;
mod production;
mod rivals;
mod run;
mod scenario;

pub use chooser::Policies;
pub use error::SimulationError;
pub use figures::{Figures, Phase, Report};
pub use included::{INCLUDED, included};
pub use scenario::{Goal, Scenario};

use chooser::Chooser;

/// Runs a scenario once for each policy. `policies` empty: those of the scenario, else all rivals and balancers.
///
/// # Errors
/// The field of the scenario that is wrong, or a policy that there is not.
pub fn simulate(scenario: &Scenario, policies: &[String]) -> Result<Report, SimulationError> {
    let policies = Policies::of(scenario, policies)?;
    let mut report = Report::new(scenario);
    for policy in policies {
        let chooser: Box<dyn Chooser> = policy.make(scenario)?;
        report
            .policies
            .push(run::run(scenario, policy.name(), chooser));
    }
    Ok(report)
}

/// As [`simulate`], from and to JSON. `request`: `{"scenario": name or scenario, "policies": [names], "seed": n}`.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_json(request: &str) -> Result<String, SimulationError> {
    let request = scenario::Request::from_json(request)?;
    let report = simulate(&request.scenario, &request.policies)?;
    serde_json::to_string(&report)
        .map_err(|error| SimulationError::new("report", &error.to_string()))
}
