//! Why there is no simulation.

use std::fmt;

/// A scenario or a policy that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulationError {
    /// Path of the field, `scenario.servers[0].parallel`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl SimulationError {
    pub(crate) fn new(field: &str, problem: &str) -> Self {
        Self {
            field: field.to_owned(),
            problem: problem.to_owned(),
        }
    }

    /// A number outside its bounds.
    pub(crate) fn range(field: &str, min: f64, max: f64, value: f64) -> Self {
        Self::new(
            field,
            &format!("must be between {min} and {max}, got {value}"),
        )
    }
}

impl fmt::Display for SimulationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)
    }
}

impl std::error::Error for SimulationError {}
