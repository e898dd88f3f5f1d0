//! The immutable picture that readers see.

use std::sync::Arc;

use crate::chunked::Chunked;
use crate::handle::slot_of;
use crate::name_index::NameIndex;
use crate::{Handle, InstanceRecord};

/// One service as it was when the snapshot was published.
#[derive(Debug, Clone)]
pub struct ServiceRecord {
    /// Its handle.
    pub handle: Handle,
    /// Its name, unique in the registry.
    pub name: Arc<str>,
    /// Its instances in the order of their registration, dead and draining ones included.
    pub instances: Vec<Arc<InstanceRecord>>,
}

/// Every service and instance at one moment. Reading takes no lock.
#[derive(Debug, Clone, Default)]
pub struct RegistrySnapshot {
    pub(crate) epoch: u32,
    pub(crate) names_epoch: u32,
    pub(crate) service_count: usize,
    pub(crate) instance_count: usize,
    pub(crate) names: NameIndex,
    pub(crate) services: Chunked<ServiceRecord>,
    pub(crate) instances: Chunked<InstanceRecord>,
}

impl RegistrySnapshot {
    /// The service, or `None` when the handle is stale. Three dependent loads.
    #[inline]
    pub fn service(&self, handle: Handle) -> Option<&Arc<ServiceRecord>> {
        self.services
            .get(slot_of(handle))
            .filter(|service| service.handle == handle)
    }

    /// The service of that name. A hash and a short scan.
    pub fn find(&self, name: &str) -> Option<&Arc<ServiceRecord>> {
        self.service(self.names.get(name)?)
    }

    /// The service that holds a slot now.
    #[inline]
    pub fn service_at(&self, slot: usize) -> Option<&Arc<ServiceRecord>> {
        self.services.get(slot)
    }

    /// The instance, or `None` when the handle is stale.
    #[inline]
    pub fn instance(&self, handle: Handle) -> Option<&Arc<InstanceRecord>> {
        self.instances
            .get(slot_of(handle))
            .filter(|instance| instance.handle == handle)
    }

    /// All services in slot order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceRecord>> {
        self.services.iter()
    }

    /// All services by name. Sorts: cold.
    pub fn services_by_name(&self) -> Vec<&Arc<ServiceRecord>> {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        services
    }

    /// All instances in slot order.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<InstanceRecord>> {
        self.instances.iter()
    }

    /// Number of services.
    pub fn service_count(&self) -> usize {
        self.service_count
    }

    /// Number of instances.
    pub fn instance_count(&self) -> usize {
        self.instance_count
    }

    /// Grows with every change, modulo 2^32.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Grows when a service comes or goes, modulo 2^32: the set of names is the same while it is.
    pub fn names_epoch(&self) -> u32 {
        self.names_epoch
    }
}
