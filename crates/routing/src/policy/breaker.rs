//! When an instance is ejected by its own circuit breaker.

use linkmesh_registry::{Fields, RegistryError};
use serde::Serialize;

const HOUR_MS: u32 = 3_600_000;
/// Probe places an instance has memory for.
pub(crate) const PROBE_PLACES: usize = 8;

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
    /// A good answer that took at least this, milliseconds, counts as slow; 0 to an hour, default 0 = none does.
    pub slow_call_ms: u32,
    /// Opens when this share of the window was slow; above 0 to 1, default 0.5.
    pub slow_call_rate: f64,
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

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            consecutive_failures: 5,
            error_rate: 0.5,
            min_requests: 20,
            slow_call_ms: 0,
            slow_call_rate: 0.5,
            window_ms: 10_000,
            open_ms: 1_000,
            max_open_ms: 30_000,
            probes: 3,
            concurrent_probes: 1,
            probe_lease_ms: 10_000,
        }
    }
}

impl BreakerPolicy {
    pub(crate) const FIELDS: [&str; 12] = [
        "enabled",
        "consecutiveFailures",
        "errorRate",
        "minRequests",
        "slowCallMs",
        "slowCallRate",
        "windowMs",
        "openMs",
        "maxOpenMs",
        "probes",
        "concurrentProbes",
        "probeLeaseMs",
    ];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
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
        let slow_call_ms = fields
            .integer32("slowCallMs", 0, HOUR_MS)?
            .unwrap_or(or.slow_call_ms);
        let slow_call_rate = fields
            .number("slowCallRate", 0.001, 1.0)?
            .unwrap_or(or.slow_call_rate);
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
            slow_call_ms,
            slow_call_rate,
            window_ms,
            open_ms,
            max_open_ms,
            probes,
            concurrent_probes,
            probe_lease_ms,
        })
    }
}
