//! How good a find is. The formulas are in the module docs of discovery.

use serde::Serialize;

use super::query::TagQuery;
use crate::{Breaker, Health, InstanceRecord, LoadSource, ServiceRecord};

/// Requests in flight at which an instance without a limit counts as half loaded.
const HALF_LOADED: f64 = 32.0;
/// Latency that counts half, microseconds.
const HALF_LATENCY_US: f64 = 50_000.0;

/// Which criterion found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words are their own documentation")]
pub enum MatchKind {
    Exact,
    Prefix,
    Fuzzy,
    Tags,
    All,
}

/// The parts of a score, each 0..=1 before its weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the parts are documented with their formulas in the module docs of discovery"
)]
pub struct Why {
    #[serde(rename = "match")]
    pub matched: f64,
    pub health: f64,
    pub load: f64,
    pub latency: f64,
    pub zone: f64,
    pub kind: MatchKind,
}

impl Why {
    /// The weighted sum, from left to right.
    pub fn score(&self) -> f64 {
        0.50 * self.matched
            + 0.20 * self.health
            + 0.15 * self.load
            + 0.10 * self.latency
            + 0.05 * self.zone
    }
}

/// The figures of a service; `None` when tags are asked and no instance fits. `matched` is what the name gave.
pub(crate) fn rank(
    service: &ServiceRecord,
    tags: &TagQuery,
    zone: &str,
    load: &dyn LoadSource,
    matched: f64,
    kind: MatchKind,
) -> Option<Why> {
    let (mut count, mut share) = (0_u32, 0.0_f64);
    let (mut health, mut free, mut latency, mut near) = (0.0, 0.0, 0.0, 0.0);
    for instance in &service.instances {
        if instance.health == Health::Dead || !tags.accepts(&instance.tags) {
            continue;
        }
        let now = load.load(instance.handle);
        count += 1;
        share = share.max(tags.share(&instance.tags));
        health += health_part(instance.health, now.breaker);
        free += load_part(now.in_flight, now.limit);
        latency += latency_part(now.latency_us);
        near += zone_part(instance, zone);
    }
    if count == 0 {
        let nothing = Why {
            matched,
            health: 0.0,
            load: 0.0,
            latency: 0.0,
            zone: 0.0,
            kind,
        };
        return tags.is_empty().then_some(nothing);
    }
    let count = f64::from(count);
    Some(Why {
        matched: if tags.is_empty() {
            matched
        } else {
            matched.min(share)
        },
        health: health / count,
        load: free / count,
        latency: latency / count,
        zone: near / count,
        kind,
    })
}

fn health_part(health: Health, breaker: Breaker) -> f64 {
    let health = match health {
        Health::Healthy => 1.0,
        Health::Degraded => 0.5,
        Health::Draining => 0.1,
        Health::Dead => 0.0,
    };
    health
        * match breaker {
            Breaker::Closed => 1.0,
            Breaker::HalfOpen => 0.5,
            Breaker::Open => 0.0,
        }
}

fn load_part(in_flight: u32, limit: u32) -> f64 {
    let in_flight = f64::from(in_flight);
    if limit == 0 {
        HALF_LOADED / (in_flight + HALF_LOADED)
    } else {
        1.0 - (in_flight / f64::from(limit)).min(1.0)
    }
}

fn latency_part(latency_us: f32) -> f64 {
    if !latency_us.is_finite() || latency_us <= 0.0 {
        return 0.5;
    }
    HALF_LATENCY_US / (HALF_LATENCY_US + f64::from(latency_us))
}

fn zone_part(instance: &InstanceRecord, zone: &str) -> f64 {
    if zone.is_empty() || instance.zone == zone {
        1.0
    } else if instance.zone.is_empty() {
        0.5
    } else {
        0.0
    }
}
