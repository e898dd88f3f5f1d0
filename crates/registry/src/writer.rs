//! The working copy behind the registry's mutex, and the steps that keep its parts in agreement.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::handle::slot_of;
use crate::{Handle, HandleAllocator, InstanceRecord, Limits, RegistrySnapshot, ServiceRecord};

/// Everything that changes under the registry's mutex.
#[derive(Debug)]
pub(crate) struct Writer {
    /// What will be published next; shares its chunks with what is published.
    pub(crate) next: RegistrySnapshot,
    pub(crate) services: HandleAllocator,
    pub(crate) instances: HandleAllocator,
    /// (end of the lease, instance), earliest first.
    pub(crate) leases: BTreeSet<(u64, Handle)>,
}

impl Writer {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            next: RegistrySnapshot::default(),
            services: HandleAllocator::new(limits.services),
            instances: HandleAllocator::new(limits.instances),
            leases: BTreeSet::new(),
        }
    }

    /// An instance's service; a service goes with its instances, so it is there.
    pub(crate) fn service_of(&self, instance: &InstanceRecord) -> Arc<ServiceRecord> {
        Arc::clone(
            self.next
                .service(instance.service)
                .expect("a live instance belongs to a live service"),
        )
    }

    pub(crate) fn replace_instances(
        &mut self,
        service: &ServiceRecord,
        change: impl FnOnce(&mut Vec<Arc<InstanceRecord>>),
    ) {
        let mut instances = service.instances.clone();
        change(&mut instances);
        let service = ServiceRecord {
            handle: service.handle,
            name: Arc::clone(&service.name),
            instances,
        };
        self.next
            .services
            .set(slot_of(service.handle), Some(Arc::new(service)));
    }

    pub(crate) fn remove(&mut self, instance: &InstanceRecord) {
        let service = self.service_of(instance);
        self.replace_instances(&service, |instances| {
            instances.retain(|known| known.handle != instance.handle);
        });
        self.forget(instance);
    }

    /// Everything but the service's list.
    pub(crate) fn forget(&mut self, instance: &InstanceRecord) {
        self.leases.remove(&(
            instance.lease_until_us.load(Ordering::Relaxed),
            instance.handle,
        ));
        self.next.instances.set(slot_of(instance.handle), None);
        self.next.instance_count -= 1;
        self.instances.free(instance.handle);
    }

    pub(crate) fn extend(&mut self, instance: &InstanceRecord, until_us: u64) {
        let old = instance.lease_until_us.swap(until_us, Ordering::Relaxed);
        self.leases.remove(&(old, instance.handle));
        self.leases.insert((until_us, instance.handle));
    }
}
