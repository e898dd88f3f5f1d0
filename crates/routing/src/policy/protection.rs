//! What protects instances from too much and callers from bad instances, beyond the breaker.

use linkmesh_registry::{Fields, RegistryError};
use serde::Serialize;

const HOUR_MS: u32 = 3_600_000;

/// When an instance that differs from its peers is kept out for a while. Shape of the contract's `OutlierPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierPolicy {
    /// Default false.
    pub enabled: bool,
    /// Peers are compared this often, milliseconds; 10 to an hour, default 1,000.
    pub interval_ms: u32,
    /// Kept out after this many failures in a row; 0 to 1,000, default 5, 0 = off.
    pub consecutive_failures: u32,
    /// Only instances with at least this many requests in the interval are compared; 1 to 1,000,000, default 20.
    pub min_requests: u32,
    /// Only services with at least this many such instances; 2 to 1,000, default 3.
    pub min_instances: u32,
    /// Kept out when its success rate is this many standard deviations below the mean; 0 to 10, default 1.9, 0 = off.
    pub success_rate_deviations: f64,
    /// Kept out when this share of its requests failed; 0 to 1, default 0.85, 0 = off.
    pub failure_rate: f64,
    /// Kept out when its latency is this many times the median of its peers; 0 to 1,000, default 0 = off.
    pub latency_factor: f64,
    /// First time out, milliseconds; each further one is longer by as much. 1 to an hour, default 5,000.
    pub ejection_ms: u32,
    /// Longest time out, milliseconds; `ejection_ms` to an hour, default 300,000.
    pub max_ejection_ms: u32,
    /// At most this share of the instances is out, one at least; 0 to 1, default 0.3.
    pub max_ejected: f64,
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Self {
            enabled: false,
            interval_ms: 1_000,
            consecutive_failures: 5,
            min_requests: 20,
            min_instances: 3,
            success_rate_deviations: 1.9,
            failure_rate: 0.85,
            latency_factor: 0.0,
            ejection_ms: 5_000,
            max_ejection_ms: 300_000,
            max_ejected: 0.3,
        }
    }
}

impl OutlierPolicy {
    pub(crate) const FIELDS: [&str; 11] = [
        "enabled",
        "intervalMs",
        "consecutiveFailures",
        "minRequests",
        "minInstances",
        "successRateDeviations",
        "failureRate",
        "latencyFactor",
        "ejectionMs",
        "maxEjectionMs",
        "maxEjected",
    ];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let or = Self::default();
        let enabled = fields.boolean("enabled")?.unwrap_or(or.enabled);
        let interval_ms = fields
            .integer32("intervalMs", 10, HOUR_MS)?
            .unwrap_or(or.interval_ms);
        let consecutive_failures = fields
            .integer32("consecutiveFailures", 0, 1_000)?
            .unwrap_or(or.consecutive_failures);
        let min_requests = fields
            .integer32("minRequests", 1, 1_000_000)?
            .unwrap_or(or.min_requests);
        let min_instances = fields
            .integer32("minInstances", 2, 1_000)?
            .unwrap_or(or.min_instances);
        let success_rate_deviations = fields
            .number("successRateDeviations", 0.0, 10.0)?
            .unwrap_or(or.success_rate_deviations);
        let failure_rate = fields
            .number("failureRate", 0.0, 1.0)?
            .unwrap_or(or.failure_rate);
        let latency_factor = fields
            .number("latencyFactor", 0.0, 1_000.0)?
            .unwrap_or(or.latency_factor);
        let ejection_ms = fields
            .integer32("ejectionMs", 1, HOUR_MS)?
            .unwrap_or(or.ejection_ms);
        let max_ejection_ms = fields
            .integer32("maxEjectionMs", ejection_ms, HOUR_MS)?
            .unwrap_or(or.max_ejection_ms.max(ejection_ms));
        let max_ejected = fields
            .number("maxEjected", 0.0, 1.0)?
            .unwrap_or(or.max_ejected);
        Ok(Self {
            enabled,
            interval_ms,
            consecutive_failures,
            min_requests,
            min_instances,
            success_rate_deviations,
            failure_rate,
            latency_factor,
            ejection_ms,
            max_ejection_ms,
            max_ejected,
        })
    }
}

/// How many requests are let through. Shape of the contract's `RateLimitPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitPolicy {
    /// Requests a second to the service; 0 to 1,000,000, default 0 = no limit.
    pub per_second: u32,
    /// Requests at once after a pause; 0 to 1,000,000, default 0 = `per_second`.
    pub burst: u32,
    /// Requests a second with one key; 0 to 10,000, default 0 = no limit.
    pub key_per_second: u32,
    /// Requests with one key at once after a pause; 0 to 10,000, default 0 = `key_per_second`.
    pub key_burst: u32,
}

impl RateLimitPolicy {
    pub(crate) const FIELDS: [&str; 4] = ["perSecond", "burst", "keyPerSecond", "keyBurst"];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let per_second = fields.integer32("perSecond", 0, 1_000_000)?.unwrap_or(0);
        let burst = fields.integer32("burst", 0, 1_000_000)?.unwrap_or(0);
        let key_per_second = fields.integer32("keyPerSecond", 0, 10_000)?.unwrap_or(0);
        let key_burst = fields.integer32("keyBurst", 0, 10_000)?.unwrap_or(0);
        Ok(Self {
            per_second,
            burst,
            key_per_second,
            key_burst,
        })
    }

    /// Whether anything is limited.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.per_second | self.key_per_second != 0
    }
}

/// Concurrency limits that follow latency. Shape of the contract's `AdaptiveConcurrencyPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdaptiveConcurrencyPolicy {
    /// Default false. Then the limit of each instance moves between `min` and `max`, whatever `concurrency` says.
    pub enabled: bool,
    /// 1 to 100,000, default 4.
    pub min: u32,
    /// `min` to 1,000,000, default 1,000 or `min`.
    pub max: u32,
    /// Of a new instance; `min` to `max`, default 20 within them.
    pub initial: u32,
    /// Latency up to this multiple of the base is no sign of queueing; 1 to 10, default 1.5.
    pub tolerance: f64,
    /// Latency is averaged over this, milliseconds; 10 to 60,000, default 100.
    pub window_ms: u32,
}

impl Default for AdaptiveConcurrencyPolicy {
    fn default() -> Self {
        Self {
            enabled: false,
            min: 4,
            max: 1_000,
            initial: 20,
            tolerance: 1.5,
            window_ms: 100,
        }
    }
}

impl AdaptiveConcurrencyPolicy {
    pub(crate) const FIELDS: [&str; 6] =
        ["enabled", "min", "max", "initial", "tolerance", "windowMs"];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let or = Self::default();
        let enabled = fields.boolean("enabled")?.unwrap_or(or.enabled);
        let min = fields.integer32("min", 1, 100_000)?.unwrap_or(or.min);
        let max = fields
            .integer32("max", min, 1_000_000)?
            .unwrap_or(or.max.max(min));
        let initial = fields
            .integer32("initial", min, max)?
            .unwrap_or(or.initial.clamp(min, max));
        let tolerance = fields
            .number("tolerance", 1.0, 10.0)?
            .unwrap_or(or.tolerance);
        let window_ms = fields
            .integer32("windowMs", 10, 60_000)?
            .unwrap_or(or.window_ms);
        Ok(Self {
            enabled,
            min,
            max,
            initial,
            tolerance,
            window_ms,
        })
    }
}

/// What becomes of a request when every instance is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Backpressure {
    /// It is refused at once.
    Reject,
    /// It waits; refused when the queue is full.
    #[default]
    Delay,
    /// It waits; when the queue is full, the one of the lowest class, not above its own, that waits longest is refused.
    DropOldest,
    /// It waits; when the queue is full, the newest of the lowest class is refused if that is below its own.
    ShedLowest,
}

impl Backpressure {
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "reject" => Some(Self::Reject),
            "delay" => Some(Self::Delay),
            "drop-oldest" => Some(Self::DropOldest),
            "shed-lowest" => Some(Self::ShedLowest),
            _ => None,
        }
    }
}
