//! Everything a service wants of its router, in one value.

use linkmesh_registry::{Fields, RegistryError};
use serde::Serialize;

use crate::policy::{
    AdaptiveConcurrencyPolicy, Backpressure, Balancer, BalancingPolicy, BreakerPolicy, HedgePolicy,
    IdempotencyPolicy, OrderingPolicy, OutlierPolicy, QosPolicy, RateLimitPolicy, RetryPolicy,
    WatermarkPolicy,
};

const DAY_MS: u32 = 86_400_000;

/// Policy of a service, every field filled. JSON shape of the contract's `Required<Policy>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Default `least-request`.
    pub balancer: Balancer,
    /// See [`BalancingPolicy`].
    pub balancing: BalancingPolicy,
    /// Default deadline of a request, milliseconds; 1 to a day, default 5,000. Kept for the caller: the router does
    /// not watch requests.
    pub timeout_ms: u32,
    /// Requests in flight per instance; 0 to 1,000,000, default 256, 0 = no limit.
    pub concurrency: u32,
    /// Requests that may wait for the service; 0 to 65,536, default 1,024.
    pub queue_limit: u32,
    /// See [`Backpressure`].
    pub backpressure: Backpressure,
    /// See [`WatermarkPolicy`].
    pub watermarks: WatermarkPolicy,
    /// See [`QosPolicy`].
    pub qos: QosPolicy,
    /// See [`HedgePolicy`].
    pub hedge: HedgePolicy,
    /// See [`RateLimitPolicy`].
    pub rate_limit: RateLimitPolicy,
    /// See [`AdaptiveConcurrencyPolicy`].
    pub adaptive_concurrency: AdaptiveConcurrencyPolicy,
    /// See [`OutlierPolicy`].
    pub outlier: OutlierPolicy,
    /// See [`BreakerPolicy`].
    pub breaker: BreakerPolicy,
    /// See [`RetryPolicy`].
    pub retry: RetryPolicy,
    /// See [`OrderingPolicy`].
    pub ordering: OrderingPolicy,
    /// See [`IdempotencyPolicy`].
    pub idempotency: IdempotencyPolicy,
    /// How long an instance that answered Rejected is left alone, milliseconds; 0 to 60,000, default 250.
    pub rejected_ms: u32,
    /// A ticket that nobody completed is closed as Unknown after this, milliseconds; 1 to a day, default 60,000.
    pub ticket_lease_ms: u32,
}

const FIELDS: [&str; 18] = [
    "balancer",
    "balancing",
    "timeoutMs",
    "concurrency",
    "queueLimit",
    "backpressure",
    "watermarks",
    "qos",
    "hedge",
    "rateLimit",
    "adaptiveConcurrency",
    "outlier",
    "breaker",
    "retry",
    "ordering",
    "idempotency",
    "rejectedMs",
    "ticketLeaseMs",
];

impl Default for Policy {
    fn default() -> Self {
        Self {
            balancer: Balancer::default(),
            balancing: BalancingPolicy::default(),
            timeout_ms: 5_000,
            concurrency: 256,
            queue_limit: 1_024,
            backpressure: Backpressure::default(),
            watermarks: WatermarkPolicy::default(),
            qos: QosPolicy::default(),
            hedge: HedgePolicy::default(),
            rate_limit: RateLimitPolicy::default(),
            adaptive_concurrency: AdaptiveConcurrencyPolicy::default(),
            outlier: OutlierPolicy::default(),
            breaker: BreakerPolicy::default(),
            retry: RetryPolicy::default(),
            ordering: OrderingPolicy::default(),
            idempotency: IdempotencyPolicy::default(),
            rejected_ms: 250,
            ticket_lease_ms: 60_000,
        }
    }
}

impl Policy {
    /// Whether requests queue when every instance is at its limit.
    pub(crate) fn may_wait(&self) -> bool {
        self.backpressure != Backpressure::Reject && self.queue_limit != 0
    }

    /// From JSON of the contract's `Policy`. Fields that are not given have their defaults.
    ///
    /// # Errors
    /// `InvalidArgument` or `LimitExceeded` with the path of the field (`policy.breaker.openMs`) and the bound.
    pub fn from_json(json: &str) -> Result<Self, RegistryError> {
        let or = Self::default();
        let mut fields = Fields::parse(json, "policy", true, &FIELDS)?;
        let balancer = match fields.string("balancer")? {
            None => or.balancer,
            Some(word) => Balancer::from_word(&word).ok_or_else(|| {
                let known = Balancer::ALL.map(Balancer::as_str).join(", ");
                RegistryError::invalid("policy.balancer", &format!("must be one of {known}"))
            })?,
        };
        let balancing = match fields.object("balancing", &BalancingPolicy::FIELDS)? {
            None => or.balancing,
            Some(fields) => BalancingPolicy::read(fields)?,
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
        let backpressure = match fields.string("backpressure")? {
            None => or.backpressure,
            Some(word) => Backpressure::from_word(&word).ok_or_else(|| {
                RegistryError::invalid(
                    "policy.backpressure",
                    "must be one of reject, delay, drop-oldest, shed-lowest",
                )
            })?,
        };
        let watermarks = match fields.object("watermarks", &WatermarkPolicy::FIELDS)? {
            None => or.watermarks,
            Some(fields) => WatermarkPolicy::read(fields)?,
        };
        let qos = match fields.object("qos", &QosPolicy::FIELDS)? {
            None => or.qos,
            Some(fields) => QosPolicy::read(fields)?,
        };
        let hedge = match fields.object("hedge", &HedgePolicy::FIELDS)? {
            None => or.hedge,
            Some(fields) => HedgePolicy::read(fields)?,
        };
        let rate_limit = match fields.object("rateLimit", &RateLimitPolicy::FIELDS)? {
            None => or.rate_limit,
            Some(fields) => RateLimitPolicy::read(fields)?,
        };
        let adaptive_concurrency =
            match fields.object("adaptiveConcurrency", &AdaptiveConcurrencyPolicy::FIELDS)? {
                None => or.adaptive_concurrency,
                Some(fields) => AdaptiveConcurrencyPolicy::read(fields)?,
            };
        let outlier = match fields.object("outlier", &OutlierPolicy::FIELDS)? {
            None => or.outlier,
            Some(fields) => OutlierPolicy::read(fields)?,
        };
        let breaker = match fields.object("breaker", &BreakerPolicy::FIELDS)? {
            None => or.breaker,
            Some(fields) => BreakerPolicy::read(fields)?,
        };
        let retry = match fields.object("retry", &RetryPolicy::FIELDS)? {
            None => or.retry,
            Some(fields) => RetryPolicy::read(fields)?,
        };
        let ordering = match fields.string("ordering")? {
            None => or.ordering,
            Some(word) => OrderingPolicy::from_word(&word).ok_or_else(|| {
                RegistryError::invalid("policy.ordering", "must be one of none, key")
            })?,
        };
        let idempotency = match fields.object("idempotency", &IdempotencyPolicy::FIELDS)? {
            None => or.idempotency,
            Some(fields) => IdempotencyPolicy::read(fields)?,
        };
        let rejected_ms = fields
            .integer32("rejectedMs", 0, 60_000)?
            .unwrap_or(or.rejected_ms);
        let ticket_lease_ms = fields
            .integer32("ticketLeaseMs", 1, DAY_MS)?
            .unwrap_or(or.ticket_lease_ms);
        Ok(Self {
            balancer,
            balancing,
            timeout_ms,
            concurrency,
            queue_limit,
            backpressure,
            watermarks,
            qos,
            hedge,
            rate_limit,
            adaptive_concurrency,
            outlier,
            breaker,
            retry,
            ordering,
            idempotency,
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
    #[allow(clippy::too_many_lines, reason = "a table")]
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
            (r#"{"balancer":"magic"}"#, "policy.balancer", None),
            (
                r#"{"balancing":{"hashBalanceFactor":99}}"#,
                "policy.balancing.hashBalanceFactor",
                Some(100.0),
            ),
            (
                r#"{"balancing":{"overprovisioning":0.9}}"#,
                "policy.balancing.overprovisioning",
                Some(1.0),
            ),
            (
                r#"{"balancing":{"subset":[""]}}"#,
                "policy.balancing.subset",
                None,
            ),
            (
                r#"{"balancing":{"subsetFallback":"some"}}"#,
                "policy.balancing.subsetFallback",
                None,
            ),
            (r#"{"ordering":"strict"}"#, "policy.ordering", None),
            (
                r#"{"idempotency":{"maxBytes":1}}"#,
                "policy.idempotency.maxBytes",
                Some(1_024.0),
            ),
            (r#"{"backpressure":"drop"}"#, "policy.backpressure", None),
            (
                r#"{"watermarks":{"high":0.4,"low":0.5}}"#,
                "policy.watermarks.low",
                Some(0.4),
            ),
            (r#"{"qos":{"class":"vip"}}"#, "policy.qos.class", None),
            (
                r#"{"qos":{"shares":{"best-effort":0}}}"#,
                "policy.qos.shares.best-effort",
                Some(0.001),
            ),
            (
                r#"{"qos":{"shares":{"vip":1}}}"#,
                "policy.qos.shares.vip",
                None,
            ),
            (
                r#"{"hedge":{"minSamples":9}}"#,
                "policy.hedge.minSamples",
                Some(10.0),
            ),
            (
                r#"{"rateLimit":{"burst":-1}}"#,
                "policy.rateLimit.burst",
                Some(0.0),
            ),
            (
                r#"{"adaptiveConcurrency":{"min":50,"max":10}}"#,
                "policy.adaptiveConcurrency.max",
                Some(50.0),
            ),
            (
                r#"{"outlier":{"maxEjected":2}}"#,
                "policy.outlier.maxEjected",
                Some(1.0),
            ),
            (
                r#"{"breaker":{"slowCallRate":0}}"#,
                "policy.breaker.slowCallRate",
                Some(0.001),
            ),
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
