//! The one error of this floor, as data that crosses the boundary unchanged.

use std::fmt;

use serde::Serialize;

use crate::Status;

/// A refused call. Serialises as `ErrorData` of the contract; TypeScript builds the class from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegistryError {
    /// Why, as a number of the contract.
    pub status: Status,
    /// What was wrong, what was expected, and what to do.
    pub message: String,
    /// Path of the wrong field, `policy.breaker.openMs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The bound that was crossed, in the unit of the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

impl RegistryError {
    /// Any status with its words.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            field: None,
            limit: None,
        }
    }

    /// Wrong type, form or value of `field`.
    pub fn invalid(field: &str, problem: &str) -> Self {
        Self {
            status: Status::InvalidArgument,
            message: format!("{field} {problem}"),
            field: Some(field.to_owned()),
            limit: None,
        }
    }

    /// A number outside its range; `limit` is the bound it crossed.
    pub fn out_of_range(field: &str, min: f64, max: f64, value: f64) -> Self {
        Self {
            status: Status::InvalidArgument,
            message: format!("{field} must be between {min} and {max}, got {value}"),
            field: Some(field.to_owned()),
            limit: Some(if value > max { max } else { min }),
        }
    }

    /// More than `limit` of something: `what` is its plural, `bytes`, `tags`, `services`.
    pub fn limit(field: &str, limit: usize, what: &str) -> Self {
        Self {
            status: Status::LimitExceeded,
            message: format!("{field} may have at most {limit} {what}"),
            field: Some(field.to_owned()),
            limit: Some(limit as f64),
        }
    }

    /// A handle whose slot is empty or was given to something else.
    pub fn stale(field: &str) -> Self {
        Self {
            status: Status::StaleHandle,
            message: format!(
                "{field} handle is stale or was never given out: what it named is gone"
            ),
            field: Some(field.to_owned()),
            limit: None,
        }
    }

    /// No such name.
    pub fn not_found(field: &str, name: &str) -> Self {
        Self {
            status: Status::NotFound,
            message: format!("no {field} is called {name:?}"),
            field: Some(field.to_owned()),
            limit: None,
        }
    }

    /// It is there already.
    pub fn duplicate(field: &str, problem: &str) -> Self {
        Self {
            status: Status::Duplicate,
            message: format!("{field} {problem}"),
            field: Some(field.to_owned()),
            limit: None,
        }
    }

    /// JSON of `ErrorData`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|_| format!("{{\"status\":{}}}", self.status.code()))
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RegistryError {}
