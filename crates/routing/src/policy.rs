//! What a service wants of its router.

use linkmesh_registry::{Fields, RegistryError};
use serde::Serialize;

/// Which instance of the eligible ones is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Balancer {
    /// One after the other.
    RoundRobin = 0,
    /// One after the other, each as often as its weight says, evenly interleaved.
    Weighted = 1,
    /// The less loaded of two random ones.
    #[default]
    LeastRequest = 2,
    /// The one of two random ones that answers sooner, by latency and load.
    PeakEwma = 3,
}

impl Balancer {
    const ALL: [Self; 4] = [
        Self::RoundRobin,
        Self::Weighted,
        Self::LeastRequest,
        Self::PeakEwma,
    ];

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted",
            Self::LeastRequest => "least-request",
            Self::PeakEwma => "peak-ewma",
        }
    }

    /// By number, the default for any other.
    pub(crate) fn from_code(code: u8) -> Self {
        Self::ALL
            .get(usize::from(code))
            .copied()
            .unwrap_or_default()
    }
}

/// When an instance is ejected and how it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerPolicy {
    /// Default true.
    pub enabled: bool,
    /// Opens after this many failures in a row; 0 to 1,000, default 5, 0 = off.
    pub consecutive_failures: u32,
    /// Opens when this share of the window failed; above 0 to 1, default 0.5.
    pub error_rate: f64,
    /// The rate counts only with at least this many requests in the window; 1 to 1,000,000, default 20.
    pub min_requests: u32,
    /// Sliding window, milliseconds, in ten buckets; 100 to an hour, default 10,000.
    pub window_ms: u32,
    /// First open time, milliseconds; 1 to an hour, default 1,000.
    pub open_ms: u32,
    /// It doubles up to this; `open_ms` to an hour, default 30,000 or `open_ms` when that is longer.
    pub max_open_ms: u32,
    /// Successful probes that close it; 1 to 100, default 3.
    pub probes: u32,
    /// Probes in flight at one time; 1 to 8, default 1.
    pub concurrent_probes: u32,
    /// A probe that nobody completed frees its place after this, milliseconds; 1 to an hour, default 10,000.
    pub probe_lease_ms: u32,
}

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

/// Policy of a service, every field filled. JSON shape of the contract's `Required<Policy>`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Default `least-request`.
    pub balancer: Balancer,
    /// Default deadline of a request, milliseconds; 1 to a day, default 5,000. Kept for the caller: the router does
    /// not watch requests.
    pub timeout_ms: u32,
    /// Requests in flight per instance; 0 to 1,000,000, default 256, 0 = no limit.
    pub concurrency: u32,
    /// Requests that may wait for the service; 0 to 65,536, default 1,024.
    pub queue_limit: u32,
    /// See [`BreakerPolicy`].
    pub breaker: BreakerPolicy,
    /// See [`RetryPolicy`].
    pub retry: RetryPolicy,
    /// How long an instance that answered Rejected is left alone, milliseconds; 0 to 60,000, default 250.
    pub rejected_ms: u32,
    /// A ticket that nobody completed is closed as Unknown after this, milliseconds; 1 to a day, default 60,000.
    pub ticket_lease_ms: u32,
}

const HOUR_MS: u32 = 3_600_000;
const DAY_MS: u32 = 86_400_000;
/// Probe places an instance has memory for.
pub(crate) const PROBE_PLACES: usize = 8;

const FIELDS: [&str; 8] = [
    "balancer",
    "timeoutMs",
    "concurrency",
    "queueLimit",
    "breaker",
    "retry",
    "rejectedMs",
    "ticketLeaseMs",
];
const BREAKER_FIELDS: [&str; 10] = [
    "enabled",
    "consecutiveFailures",
    "errorRate",
    "minRequests",
    "windowMs",
    "openMs",
    "maxOpenMs",
    "probes",
    "concurrentProbes",
    "probeLeaseMs",
];
const RETRY_FIELDS: [&str; 5] = [
    "limit",
    "budget",
    "minPerSecond",
    "minBackoffMs",
    "maxBackoffMs",
];

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            consecutive_failures: 5,
            error_rate: 0.5,
            min_requests: 20,
            window_ms: 10_000,
            open_ms: 1_000,
            max_open_ms: 30_000,
            probes: 3,
            concurrent_probes: 1,
            probe_lease_ms: 10_000,
        }
    }
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

impl Default for Policy {
    fn default() -> Self {
        Self {
            balancer: Balancer::default(),
            timeout_ms: 5_000,
            concurrency: 256,
            queue_limit: 1_024,
            breaker: BreakerPolicy::default(),
            retry: RetryPolicy::default(),
            rejected_ms: 250,
            ticket_lease_ms: 60_000,
        }
    }
}

impl BreakerPolicy {
    fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let or = Self::default();
        let enabled = fields.boolean("enabled")?.unwrap_or(or.enabled);
        let consecutive_failures = fields
            .integer32("consecutiveFailures", 0, 1_000)?
            .unwrap_or(or.consecutive_failures);
        let error_rate = fields
            .number("errorRate", 0.001, 1.0)?
            .unwrap_or(or.error_rate);
        let min_requests = fields
            .integer32("minRequests", 1, 1_000_000)?
            .unwrap_or(or.min_requests);
        let window_ms = fields
            .integer32("windowMs", 100, HOUR_MS)?
            .unwrap_or(or.window_ms);
        let open_ms = fields
            .integer32("openMs", 1, HOUR_MS)?
            .unwrap_or(or.open_ms);
        let max_open_ms = fields
            .integer32("maxOpenMs", open_ms, HOUR_MS)?
            .unwrap_or(or.max_open_ms.max(open_ms));
        let probes = fields.integer32("probes", 1, 100)?.unwrap_or(or.probes);
        let concurrent_probes = fields
            .integer32("concurrentProbes", 1, PROBE_PLACES as u32)?
            .unwrap_or(or.concurrent_probes);
        let probe_lease_ms = fields
            .integer32("probeLeaseMs", 1, HOUR_MS)?
            .unwrap_or(or.probe_lease_ms);
        Ok(Self {
            enabled,
            consecutive_failures,
            error_rate,
            min_requests,
            window_ms,
            open_ms,
            max_open_ms,
            probes,
            concurrent_probes,
            probe_lease_ms,
        })
    }
}

impl RetryPolicy {
    fn read(mut fields: Fields) -> Result<Self, RegistryError> {
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

impl Policy {
    /// From JSON of the contract's `Policy`. Fields that are not given have their defaults.
    ///
    /// # Errors
    /// `InvalidArgument` or `LimitExceeded` with the path of the field (`policy.breaker.openMs`) and the bound.
    pub fn from_json(json: &str) -> Result<Self, RegistryError> {
        let or = Self::default();
        let mut fields = Fields::parse(json, "policy", true, &FIELDS)?;
        let balancer = match fields.string("balancer")? {
            None => or.balancer,
            Some(word) => Balancer::ALL
                .into_iter()
                .find(|balancer| balancer.as_str() == word)
                .ok_or_else(|| {
                    RegistryError::invalid(
                        "policy.balancer",
                        "must be one of round-robin, weighted, least-request, peak-ewma",
                    )
                })?,
        };
        let timeout_ms = fields
            .integer32("timeoutMs", 1, DAY_MS)?
            .unwrap_or(or.timeout_ms);
        let concurrency = fields
            .integer32("concurrency", 0, 1_000_000)?
            .unwrap_or(or.concurrency);
        let queue_limit = fields
            .integer32("queueLimit", 0, 65_536)?
            .unwrap_or(or.queue_limit);
        let breaker = match fields.object("breaker", &BREAKER_FIELDS)? {
            None => or.breaker,
            Some(fields) => BreakerPolicy::read(fields)?,
        };
        let retry = match fields.object("retry", &RETRY_FIELDS)? {
            None => or.retry,
            Some(fields) => RetryPolicy::read(fields)?,
        };
        let rejected_ms = fields
            .integer32("rejectedMs", 0, 60_000)?
            .unwrap_or(or.rejected_ms);
        let ticket_lease_ms = fields
            .integer32("ticketLeaseMs", 1, DAY_MS)?
            .unwrap_or(or.ticket_lease_ms);
        Ok(Self {
            balancer,
            timeout_ms,
            concurrency,
            queue_limit,
            breaker,
            retry,
            rejected_ms,
            ticket_lease_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_contracts() {
        assert_eq!(Policy::from_json("{}").unwrap(), Policy::default());
        let json = serde_json::to_value(Policy::default()).unwrap();
        assert_eq!(json["balancer"], "least-request");
        assert_eq!(json["breaker"]["maxOpenMs"], 30_000);
        assert_eq!(json["retry"]["minPerSecond"], 5);
        assert_eq!(
            Policy::from_json(&json.to_string()).unwrap(),
            Policy::default()
        );
    }

    #[test]
    fn each_wrong_field_is_named_with_its_limit() {
        let cases = [
            (
                r#"{"breaker":{"openMs":0}}"#,
                "policy.breaker.openMs",
                Some(1.0),
            ),
            (
                r#"{"breaker":{"openMs":"1"}}"#,
                "policy.breaker.openMs",
                None,
            ),
            (
                r#"{"breaker":{"openMs":100,"maxOpenMs":50}}"#,
                "policy.breaker.maxOpenMs",
                Some(100.0),
            ),
            (
                r#"{"breaker":{"concurrentProbes":9}}"#,
                "policy.breaker.concurrentProbes",
                Some(8.0),
            ),
            (
                r#"{"breaker":{"errorRate":0}}"#,
                "policy.breaker.errorRate",
                Some(0.001),
            ),
            (
                r#"{"breaker":{"errorRate":null}}"#,
                "policy.breaker.errorRate",
                None,
            ),
            (
                r#"{"breaker":{"enabled":1}}"#,
                "policy.breaker.enabled",
                None,
            ),
            (r#"{"breaker":7}"#, "policy.breaker", None),
            (
                r#"{"retry":{"budget":1.5}}"#,
                "policy.retry.budget",
                Some(1.0),
            ),
            (r#"{"retry":{"limit":-1}}"#, "policy.retry.limit", Some(0.0)),
            (r#"{"retry":{"wat":1}}"#, "policy.retry.wat", None),
            (r#"{"concurrency":1.5}"#, "policy.concurrency", None),
            (
                r#"{"queueLimit":1e300}"#,
                "policy.queueLimit",
                Some(65_536.0),
            ),
            (r#"{"balancer":"random"}"#, "policy.balancer", None),
            (r#"{"__proto__":{}}"#, "policy.__proto__", None),
            ("[]", "policy", None),
            ("", "policy", None),
        ];
        for (json, field, limit) in cases {
            let error = Policy::from_json(json).unwrap_err();
            assert_eq!(
                (error.field.as_deref(), error.limit),
                (Some(field), limit),
                "{json}"
            );
        }
    }

    #[test]
    fn a_long_open_time_carries_its_maximum_along() {
        let policy =
            Policy::from_json(r#"{"breaker":{"openMs":60000},"retry":{"minBackoffMs":500}}"#)
                .unwrap();
        assert_eq!(
            (policy.breaker.max_open_ms, policy.retry.max_backoff_ms),
            (60_000, 500)
        );
    }
}
