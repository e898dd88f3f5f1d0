//! Instances of other processes in this router, and those of this process in others.

use std::collections::BTreeMap;

use linkmesh_registry::exchange::Offer;
use linkmesh_registry::{Health, RegistryError};
use serde::Serialize;

use crate::cells::instance_word as word;
use crate::policy::Policy;
use crate::router::{Router, to_json};

/// Metadata key under which an instance of another process carries its node's id.
pub const NODE_KEY: &str = "linkmesh.node";

/// JSON of the contract's `InstanceSpec` with `health`.
#[derive(Serialize)]
struct Entry<'a> {
    weight: u32,
    priority: u32,
    zone: &'a str,
    tags: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    metadata: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<&'a str>,
}

impl Router {
    /// The instances that live in threads for which `is_ours` is true: what this process offers to others. Walks the whole
    /// registry: cold.
    pub fn offers(&self, is_ours: impl Fn(u32) -> bool) -> Vec<Offer> {
        self.with_registry(|registry, guard| {
            registry
                .instances()
                .filter(|instance| {
                    instance.address.is_none()
                        && instance.health != Health::Dead
                        && is_ours(instance.thread)
                })
                .map(|instance| {
                    let policy = self.membership(guard, instance.service).map_or_else(
                        || to_json(&Policy::default()),
                        |membership| to_json(&membership.policy),
                    );
                    Offer::of(instance, policy, &self.options.zone)
                })
                .collect()
        })
    }

    /// Adds an instance of another process, or changes the one that is there as `known`. `thread` stands for that process.
    /// A service that is new here gets the policy it has there.
    ///
    /// # Errors
    /// As [`add_instance`](Self::add_instance) and [`define_service`](Self::define_service).
    pub fn put_remote(
        &self,
        known: Option<u32>,
        offer: &Offer,
        node: &str,
        thread: u32,
        now_us: u64,
    ) -> Result<u32, RegistryError> {
        let mut metadata: BTreeMap<&str, &str> = offer
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        metadata.insert(NODE_KEY, node);
        let mut entry = Entry {
            weight: offer.weight,
            priority: offer.priority,
            zone: &offer.zone,
            tags: &offer.tags,
            version: &offer.version,
            metadata,
            concurrency: offer.concurrency,
            health: Some(&offer.health),
        };
        if let Some(instance) = known {
            self.update_instance(instance, &to_json(&entry), now_us)?;
            return Ok(instance);
        }
        let service = match self.find_service(&offer.service) {
            Some(service) => service,
            None => self.define_service(&offer.service, &offer.policy, now_us)?,
        };
        let health = entry.health.take();
        let instance = self.add_instance(service, &to_json(&entry), thread, now_us)?;
        if health != Some("healthy") {
            entry.health = health;
            self.update_instance(instance, &to_json(&entry), now_us)?;
        }
        Ok(instance)
    }

    /// The thread that an instance lives in: 0 for one by address, `None` when the handle is stale. Two loads.
    #[inline]
    pub fn thread_of(&self, instance: u32) -> Option<u32> {
        let view = self.view(instance);
        (instance != 0 && view.is(instance)).then(|| view.get(word::THREAD))
    }

    /// Grows with every change of services or instances, modulo 2^32.
    pub fn registry_epoch(&self) -> u32 {
        self.header_word(crate::cells::header_word::REGISTRY_EPOCH)
            .load(crate::sync::Ordering::Acquire)
    }
}
