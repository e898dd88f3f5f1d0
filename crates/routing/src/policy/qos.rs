//! What a service makes of classes: which its requests have, how far each is let in, when a slow one is asked again.

use linkmesh_registry::{Fields, RegistryError};
use serde::Serialize;

use crate::budget::Refill;
use crate::qos::{CODES, Qos};

/// Least share that a class can have.
const LEAST_SHARE: f64 = 0.001;
/// Thousandths of the whole.
pub(crate) const WHOLE: u32 = 1_000;

/// Classes of a service's requests. Shape of the contract's `QosPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct QosPolicy {
    /// Of requests that name none; default `best-effort`.
    pub class: Qos,
    /// See [`QosShares`].
    pub shares: QosShares,
}

/// A class is let in while fewer requests than this share of its limit are in flight on an instance, whatever their
/// class: what is left of the limit is kept for the other classes. 0.001 to 1, in thousandths, default 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "one for each class")]
pub struct QosShares {
    pub best_effort: f64,
    pub high_throughput: f64,
    pub low_latency: f64,
    pub high_reliability: f64,
    pub critical: f64,
}

impl Default for QosShares {
    fn default() -> Self {
        Self {
            best_effort: 1.0,
            high_throughput: 1.0,
            low_latency: 1.0,
            high_reliability: 1.0,
            critical: 1.0,
        }
    }
}

impl QosShares {
    fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let mut share = |class: Qos| -> Result<f64, RegistryError> {
            Ok(fields
                .number(class.as_str(), LEAST_SHARE, 1.0)?
                .unwrap_or(1.0))
        };
        Ok(Self {
            best_effort: share(Qos::BestEffort)?,
            high_throughput: share(Qos::HighThroughput)?,
            low_latency: share(Qos::LowLatency)?,
            high_reliability: share(Qos::HighReliability)?,
            critical: share(Qos::Critical)?,
        })
    }

    /// Thousandths, by number of the class.
    pub(crate) fn thousandths(&self) -> [u32; CODES] {
        let round = |share: f64| (share * f64::from(WHOLE) + 0.5) as u32;
        [
            WHOLE,
            round(self.best_effort),
            round(self.high_throughput),
            round(self.low_latency),
            round(self.high_reliability),
            round(self.critical),
        ]
    }
}

impl QosPolicy {
    pub(crate) const FIELDS: [&str; 2] = ["class", "shares"];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let path = fields.at("class");
        let class = match fields.string("class")? {
            None => Qos::default(),
            Some(word) => Qos::from_word(&word).ok_or_else(|| {
                let known = Qos::ALL.map(Qos::as_str).join(", ");
                RegistryError::invalid(&path, &format!("must be one of {known}"))
            })?,
        };
        let shares = match fields.object("shares", &Qos::ALL.map(Qos::as_str))? {
            None => QosShares::default(),
            Some(fields) => QosShares::read(fields)?,
        };
        Ok(Self { class, shares })
    }
}

/// When the queue says that it fills, and that it is empty enough again: shares of the queue's limit. Shape of the
/// contract's `WatermarkPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatermarkPolicy {
    /// 0.001 to 1, default 0.8.
    pub high: f64,
    /// 0 to `high`, default 0.5 or `high` when that is less.
    pub low: f64,
}

impl Default for WatermarkPolicy {
    fn default() -> Self {
        Self {
            high: 0.8,
            low: 0.5,
        }
    }
}

impl WatermarkPolicy {
    pub(crate) const FIELDS: [&str; 2] = ["high", "low"];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let or = Self::default();
        let high = fields.number("high", LEAST_SHARE, 1.0)?.unwrap_or(or.high);
        let low = fields.number("low", 0.0, high)?.unwrap_or(or.low.min(high));
        Ok(Self { high, low })
    }

    /// Requests that wait when the high mark is reached, at least one.
    pub(crate) fn high_of(&self, limit: u32) -> u32 {
        ((self.high * f64::from(limit)).ceil() as u32).max(1)
    }

    /// Requests that wait when the low mark is reached.
    pub(crate) fn low_of(&self, limit: u32) -> u32 {
        ((self.low * f64::from(limit)) as u32).min(self.high_of(limit) - 1)
    }
}

/// When a request that takes long is sent to a second instance. Shape of the contract's `HedgePolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HedgePolicy {
    /// Default false.
    pub enabled: bool,
    /// Hedges per request, 0 to 1, default 0.05; counted in thousandths.
    pub budget: f64,
    /// Latencies that must be known before their 95th percentile is believed; 10 to 1,000,000, default 100.
    pub min_samples: u32,
}

impl Default for HedgePolicy {
    fn default() -> Self {
        Self {
            enabled: false,
            budget: 0.05,
            min_samples: 100,
        }
    }
}

impl HedgePolicy {
    pub(crate) const FIELDS: [&str; 3] = ["enabled", "budget", "minSamples"];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let or = Self::default();
        let enabled = fields.boolean("enabled")?.unwrap_or(or.enabled);
        let budget = fields.number("budget", 0.0, 1.0)?.unwrap_or(or.budget);
        let min_samples = fields
            .integer32("minSamples", 10, 1_000_000)?
            .unwrap_or(or.min_samples);
        Ok(Self {
            enabled,
            budget,
            min_samples,
        })
    }

    /// What fills its budget: requests alone.
    pub(crate) fn refill(&self) -> Refill {
        Refill::new(self.budget, 0)
    }
}
