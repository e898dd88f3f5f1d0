//! How often a failed request may be tried again.

use linkmesh_registry::{Fields, RegistryError};
use serde::Serialize;

use crate::budget::Refill;

/// How many retries a service affords.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// Attempts after the first; 0 to 10, default 2.
    pub limit: u32,
    /// Retries per request, 0 to 1, default 0.2; counted in thousandths.
    pub budget: f64,
    /// Retries a second that are always allowed; 0 to 10,000, default 5.
    pub min_per_second: u32,
    /// Shortest backoff, milliseconds; 0 to 60,000, default 5.
    pub min_backoff_ms: u32,
    /// Longest backoff, milliseconds; `min_backoff_ms` to 60,000, default 250 or `min_backoff_ms` when that is longer.
    pub max_backoff_ms: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            limit: 2,
            budget: 0.2,
            min_per_second: 5,
            min_backoff_ms: 5,
            max_backoff_ms: 250,
        }
    }
}

impl RetryPolicy {
    /// What fills its budget.
    #[inline]
    pub(crate) fn refill(&self) -> Refill {
        Refill::new(self.budget, self.min_per_second)
    }

    pub(crate) const FIELDS: [&str; 5] = [
        "limit",
        "budget",
        "minPerSecond",
        "minBackoffMs",
        "maxBackoffMs",
    ];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let or = Self::default();
        let limit = fields.integer32("limit", 0, 10)?.unwrap_or(or.limit);
        let budget = fields.number("budget", 0.0, 1.0)?.unwrap_or(or.budget);
        let min_per_second = fields
            .integer32("minPerSecond", 0, 10_000)?
            .unwrap_or(or.min_per_second);
        let min_backoff_ms = fields
            .integer32("minBackoffMs", 0, 60_000)?
            .unwrap_or(or.min_backoff_ms);
        let max_backoff_ms = fields
            .integer32("maxBackoffMs", min_backoff_ms, 60_000)?
            .unwrap_or(or.max_backoff_ms.max(min_backoff_ms));
        Ok(Self {
            limit,
            budget,
            min_per_second,
            min_backoff_ms,
            max_backoff_ms,
        })
    }
}
