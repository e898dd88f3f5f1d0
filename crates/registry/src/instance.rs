//! An instance: what its owner says of it, and how it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::limits::{ADDRESS_BYTES, CONCURRENCY, LEASE_MS, PRIORITY, WEIGHT, ZONE_BYTES};
use crate::{Breaker, Fields, Handle, Health, InstanceLoad, RegistryError, validate};

/// How an instance is registered. Absent fields have the defaults of the contract.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InstanceSpec {
    /// Where it is, at most 2,048 bytes; `None` for one that lives in a thread of this process.
    pub address: Option<String>,
    /// 1 to 1,000; default 1.
    pub weight: Option<u32>,
    /// At most 64 bytes; default empty.
    pub zone: Option<String>,
    /// At most 32 of at most 64 bytes; repeated ones count once.
    pub tags: Option<Vec<String>>,
    /// Semantic version; default empty.
    pub version: Option<String>,
    /// At most 32 entries of at most 64 and 1,024 bytes.
    pub metadata: Option<BTreeMap<String, String>>,
    /// 0 to 15, lower is used first; default 0.
    pub priority: Option<u32>,
    /// Requests in flight; 0 = no limit; default the service's policy.
    pub concurrency: Option<u32>,
    /// Dies unless renewed within this time, milliseconds, at most a day; default none.
    pub lease_ms: Option<u32>,
}

const SPEC_FIELDS: [&str; 9] = [
    "address",
    "weight",
    "zone",
    "tags",
    "version",
    "metadata",
    "priority",
    "concurrency",
    "leaseMs",
];
const PATCH_FIELDS: [&str; 10] = [
    "address",
    "weight",
    "zone",
    "tags",
    "version",
    "metadata",
    "priority",
    "concurrency",
    "leaseMs",
    "health",
];

impl InstanceSpec {
    /// From JSON of the contract's `InstanceSpec`. Checks types and ranges; the registry checks the rest.
    ///
    /// # Errors
    /// `InvalidArgument` or `LimitExceeded` with the path of the field.
    pub fn from_json(json: &str) -> Result<Self, RegistryError> {
        Self::read(&mut Fields::parse(json, "spec", false, &SPEC_FIELDS)?)
    }

    fn read(fields: &mut Fields) -> Result<Self, RegistryError> {
        Ok(Self {
            address: fields.string("address")?,
            weight: fields.integer32("weight", 1, WEIGHT)?,
            zone: fields.string("zone")?,
            tags: fields.strings("tags")?,
            version: fields.string("version")?,
            metadata: fields.string_map("metadata")?,
            priority: fields.integer32("priority", 0, PRIORITY)?,
            concurrency: fields.integer32("concurrency", 0, CONCURRENCY)?,
            lease_ms: fields.integer32("leaseMs", 1, LEASE_MS)?,
        })
    }

    /// Checks every field, in their order.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn validate(&self) -> Result<(), RegistryError> {
        if let Some(address) = &self.address {
            validate::word("address", address, 1, ADDRESS_BYTES)?;
        }
        if let Some(weight) = self.weight {
            validate::range("weight", weight, 1, WEIGHT)?;
        }
        if let Some(zone) = &self.zone {
            validate::word("zone", zone, 0, ZONE_BYTES)?;
        }
        if let Some(tags) = &self.tags {
            validate::tags("tags", tags)?;
        }
        if let Some(version) = &self.version {
            validate::version("version", version)?;
        }
        if let Some(metadata) = &self.metadata {
            validate::metadata("metadata", metadata)?;
        }
        if let Some(priority) = self.priority {
            validate::range("priority", priority, 0, PRIORITY)?;
        }
        if let Some(concurrency) = self.concurrency {
            validate::range("concurrency", concurrency, 0, CONCURRENCY)?;
        }
        if let Some(lease_ms) = self.lease_ms {
            validate::range("leaseMs", lease_ms, 1, LEASE_MS)?;
        }
        Ok(())
    }
}

/// What changes of an instance; absent fields stay.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InstancePatch {
    /// New values. A new lease counts from now. An address can be changed, not given or taken.
    pub spec: InstanceSpec,
    /// New health.
    pub health: Option<Health>,
}

impl InstancePatch {
    /// Only the health.
    pub fn health(health: Health) -> Self {
        Self {
            spec: InstanceSpec::default(),
            health: Some(health),
        }
    }

    /// From JSON of the contract's `Partial<InstanceSpec>` and `health`.
    ///
    /// # Errors
    /// See [`InstanceSpec::from_json`].
    pub fn from_json(json: &str) -> Result<Self, RegistryError> {
        let mut fields = Fields::parse(json, "patch", false, &PATCH_FIELDS)?;
        let spec = InstanceSpec::read(&mut fields)?;
        let health = match fields.string("health")? {
            None => None,
            Some(word) => Some(Health::parse(&word).ok_or_else(|| {
                RegistryError::invalid("health", "must be one of healthy, degraded, draining, dead")
            })?),
        };
        Ok(Self { spec, health })
    }
}

/// An instance as it is kept. Immutable but for the lease, which is extended too often to publish a snapshot for.
#[derive(Debug)]
pub struct InstanceRecord {
    /// Its handle.
    pub handle: Handle,
    /// Handle of its service.
    pub service: Handle,
    /// Name of its service.
    pub service_name: Arc<str>,
    /// Thread it lives in; 0 for one by address.
    pub thread: u32,
    /// Where it is, unless in a thread.
    pub address: Option<String>,
    /// 1 to 1,000.
    pub weight: u32,
    /// Empty when not given.
    pub zone: String,
    /// Without repetitions, in the order given.
    pub tags: Vec<String>,
    /// Empty when not given.
    pub version: String,
    /// By key.
    pub metadata: BTreeMap<String, String>,
    /// 0 to 15, lower is used first.
    pub priority: u32,
    /// Overrides the policy's; 0 = no limit.
    pub concurrency: Option<u32>,
    /// State set by the owner.
    pub health: Health,
    /// End of the lease, microseconds; 0 = none. Relaxed: it is read for display and written under the mutex.
    pub(crate) lease_until_us: AtomicU64,
}

impl InstanceRecord {
    /// When it dies unless renewed, microseconds.
    pub fn lease_until_us(&self) -> Option<u64> {
        match self.lease_until_us.load(Ordering::Relaxed) {
            0 => None,
            until => Some(until),
        }
    }

    pub(crate) fn apply(&mut self, spec: InstanceSpec) {
        if let Some(address) = spec.address {
            self.address = Some(address);
        }
        if let Some(weight) = spec.weight {
            self.weight = weight;
        }
        if let Some(zone) = spec.zone {
            self.zone = zone;
        }
        if let Some(tags) = spec.tags {
            self.tags.clear();
            for tag in tags {
                if !self.tags.contains(&tag) {
                    self.tags.push(tag);
                }
            }
        }
        if let Some(version) = spec.version {
            self.version = version;
        }
        if let Some(metadata) = spec.metadata {
            self.metadata = metadata;
        }
        if let Some(priority) = spec.priority {
            self.priority = priority;
        }
        if let Some(concurrency) = spec.concurrency {
            self.concurrency = Some(concurrency);
        }
    }

    /// The contract's `InstanceInfo`: this record with the figures of the routing floor.
    pub fn info<'a>(&'a self, load: &InstanceLoad) -> InstanceInfo<'a> {
        InstanceInfo {
            handle: self.handle,
            service: &self.service_name,
            address: self.address.as_deref(),
            thread: self.thread,
            weight: self.weight,
            zone: &self.zone,
            tags: &self.tags,
            version: &self.version,
            metadata: &self.metadata,
            priority: self.priority,
            concurrency: load.limit,
            health: self.health,
            breaker: load.breaker,
            in_flight: load.in_flight,
            latency_us: f64::from(load.latency_us),
            picked: load.picked,
            succeeded: load.succeeded,
            failed: load.failed,
            ejected_until_ms: load.ejected_until_us.map(|until| until as f64 / 1_000.0),
            lease_until_ms: self.lease_until_us().map(|until| until as f64 / 1_000.0),
        }
    }
}

impl Clone for InstanceRecord {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle,
            service: self.service,
            service_name: Arc::clone(&self.service_name),
            thread: self.thread,
            address: self.address.clone(),
            weight: self.weight,
            zone: self.zone.clone(),
            tags: self.tags.clone(),
            version: self.version.clone(),
            metadata: self.metadata.clone(),
            priority: self.priority,
            concurrency: self.concurrency,
            health: self.health,
            lease_until_us: AtomicU64::new(self.lease_until_us.load(Ordering::Relaxed)),
        }
    }
}

/// JSON shape of the contract's `InstanceInfo`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "field by field the contract's InstanceInfo, documented there"
)]
pub struct InstanceInfo<'a> {
    pub handle: Handle,
    pub service: &'a str,
    pub address: Option<&'a str>,
    pub thread: u32,
    pub weight: u32,
    pub zone: &'a str,
    pub tags: &'a [String],
    pub version: &'a str,
    pub metadata: &'a BTreeMap<String, String>,
    pub priority: u32,
    /// The limit in force, of the instance or of the policy.
    pub concurrency: u32,
    pub health: Health,
    pub breaker: Breaker,
    pub in_flight: u32,
    /// An `f32` widened: JSON of an `f32` would be shorter digits than JavaScript has for the same bits.
    pub latency_us: f64,
    pub picked: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub ejected_until_ms: Option<f64>,
    pub lease_until_ms: Option<f64>,
}
