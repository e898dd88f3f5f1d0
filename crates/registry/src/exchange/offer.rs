//! An instance as it is offered to another process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Handle, Health, InstanceRecord};

/// One instance that a process serves. The receiver checks every field as it checks a registration of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    /// Its handle in the process that serves it: the name under which requests ask for it.
    pub instance: Handle,
    /// Name of its service.
    pub service: String,
    /// JSON of the service's policy, for a process that has none of its own.
    pub policy: String,
    /// 1 to 1,000.
    pub weight: u32,
    /// Tier: 0 is tried first.
    pub priority: u32,
    /// Empty when there is none.
    pub zone: String,
    /// Without repetitions.
    pub tags: Vec<String>,
    /// Semantic version, or empty.
    pub version: String,
    /// By key.
    pub metadata: BTreeMap<String, String>,
    /// Overrides the policy's limit; 0 = none.
    pub concurrency: Option<u32>,
    /// `healthy`, `degraded`, `draining`.
    pub health: String,
}

impl Offer {
    /// What is offered of an instance. `zone`: of the process, for an instance that names none.
    pub fn of(record: &InstanceRecord, policy: String, zone: &str) -> Self {
        let word = match record.health {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Draining => "draining",
            Health::Dead => "dead",
        };
        Self {
            instance: record.handle,
            service: record.service_name.to_string(),
            policy,
            weight: record.weight,
            priority: record.priority,
            zone: if record.zone.is_empty() {
                zone
            } else {
                &record.zone
            }
            .to_owned(),
            tags: record.tags.clone(),
            version: record.version.clone(),
            metadata: record.metadata.clone(),
            concurrency: record.concurrency,
            health: word.to_owned(),
        }
    }
}
