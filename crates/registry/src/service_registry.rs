//! The writer's side of services and instances.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkmesh_tables::epoch::{Guard, Snapshot};

use crate::handle::slot_of;
use crate::limits::LEASE_MS;
use crate::writer::Writer;
use crate::{
    EventBatch, EventKind, EventLog, Handle, Health, InstancePatch, InstanceRecord, InstanceSpec,
    Limits, RegistryError, RegistrySnapshot, ServiceRecord, validate,
};

/// All services and instances of one mesh. `Sync`: readers load a snapshot, writers take one mutex.
///
/// # Costs
/// A write copies one chunk of 128 pointers, the pointers of all chunks (one per 128 slots) and, for an instance, the
/// list of its service. Renewing a lease publishes nothing.
#[derive(Debug)]
pub struct ServiceRegistry {
    published: Snapshot<RegistrySnapshot>,
    /// Copy of the published epoch for readers that hold no guard. Stored with Release after the snapshot, so who
    /// sees the new number (Acquire) also sees the new snapshot.
    epoch: AtomicU32,
    writer: Mutex<Writer>,
    /// Taken inside `writer` by changes, alone by [`ServiceRegistry::record_event`] and readers of the log.
    events: Mutex<EventLog>,
    limits: Limits,
}

impl ServiceRegistry {
    /// An empty registry.
    pub fn new(limits: Limits) -> Self {
        Self {
            published: Snapshot::new(RegistrySnapshot::default()),
            epoch: AtomicU32::new(0),
            writer: Mutex::new(Writer::new(limits)),
            events: Mutex::new(EventLog::new(limits.events)),
            limits,
        }
    }

    // --- readers ----------------------------------------------------------------------------------------------------

    /// Everything as it is now, unchanging while the guard lives. One load.
    #[inline]
    pub fn snapshot<'g>(&self, guard: &'g Guard<'_>) -> &'g RegistrySnapshot {
        self.published.load(guard)
    }

    /// Grows with every change of services or instances, modulo 2^32; renewing a lease is none.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The service of that name. Takes no lock.
    pub fn find(&self, guard: &Guard<'_>, name: &str) -> Option<Handle> {
        self.snapshot(guard)
            .find(name)
            .map(|service| service.handle)
    }

    /// Events after `sequence`. Waits for the log's mutex, which is held briefly.
    pub fn events_since(&self, sequence: u64) -> EventBatch {
        self.events().since(sequence)
    }

    /// Runs `read` on the log, for readers that need no copy.
    pub fn with_events<R>(&self, read: impl FnOnce(&EventLog) -> R) -> R {
        read(&self.events())
    }

    /// When the next lease ends, microseconds; [`ServiceRegistry::expire`] has nothing to do before.
    pub fn next_deadline(&self) -> Option<u64> {
        self.lock().leases.first().map(|&(until, _)| until)
    }

    // --- services ---------------------------------------------------------------------------------------------------

    /// The service of that name, created when there is none; `true` when it was created.
    ///
    /// # Errors
    /// The field is `name`, or `services` when there are too many.
    pub fn define(&self, name: &str, now_us: u64) -> Result<(Handle, bool), RegistryError> {
        validate::name("name", name)?;
        let mut writer = self.lock();
        if let Some(handle) = writer.next.names.get(name) {
            return Ok((handle, false));
        }
        let handle = writer.services.allocate("services")?;
        let name: Arc<str> = name.into();
        let service = Arc::new(ServiceRecord {
            handle,
            name: Arc::clone(&name),
            instances: Vec::new(),
        });
        writer.next.names.insert(&service);
        writer.next.services.set(slot_of(handle), Some(service));
        writer.next.service_count += 1;
        writer.next.names_epoch = writer.next.names_epoch.wrapping_add(1);
        self.publish(
            &mut writer,
            now_us,
            [EventKind::ServiceAdded { service: name }],
        );
        Ok((handle, true))
    }

    /// Removes a service and its instances; returns their handles, in the order of registration.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn remove_service(
        &self,
        service: Handle,
        now_us: u64,
    ) -> Result<Vec<Handle>, RegistryError> {
        let mut writer = self.lock();
        let record = Arc::clone(
            writer
                .next
                .service(service)
                .ok_or_else(|| RegistryError::stale("service"))?,
        );
        let mut events = Vec::with_capacity(record.instances.len() + 1);
        for instance in &record.instances {
            writer.forget(instance);
            events.push(removed(instance));
        }
        writer.next.names.remove(&record.name);
        writer.next.services.set(slot_of(service), None);
        writer.next.service_count -= 1;
        writer.next.names_epoch = writer.next.names_epoch.wrapping_add(1);
        writer.services.free(service);
        events.push(EventKind::ServiceRemoved {
            service: Arc::clone(&record.name),
        });
        self.publish(&mut writer, now_us, events);
        Ok(record
            .instances
            .iter()
            .map(|instance| instance.handle)
            .collect())
    }

    // --- instances --------------------------------------------------------------------------------------------------

    /// Registers an instance by address, or in `thread` (not 0) when it has none. It starts healthy.
    ///
    /// # Errors
    /// The wrong field; `service` when stale; `Duplicate` when the service has an instance at that address;
    /// `LimitExceeded` for `instances`.
    pub fn add_instance(
        &self,
        service: Handle,
        spec: InstanceSpec,
        thread: u32,
        now_us: u64,
    ) -> Result<Handle, RegistryError> {
        spec.validate()?;
        let mut writer = self.lock();
        let record = Arc::clone(
            writer
                .next
                .service(service)
                .ok_or_else(|| RegistryError::stale("service"))?,
        );
        refuse_duplicate(&record, spec.address.as_deref(), 0)?;
        if record.instances.len() >= self.limits.instances_per_service {
            return Err(RegistryError::limit(
                "instances",
                self.limits.instances_per_service,
                "entries of one service",
            ));
        }
        let handle = writer.instances.allocate("instances")?;
        let lease_until_us = spec
            .lease_ms
            .map_or(0, |lease_ms| lease_end(now_us, lease_ms));
        let mut instance = InstanceRecord {
            handle,
            service,
            service_name: Arc::clone(&record.name),
            thread: if spec.address.is_some() { 0 } else { thread },
            address: None,
            weight: 1,
            zone: String::new(),
            tags: Vec::new(),
            version: String::new(),
            metadata: std::collections::BTreeMap::new(),
            priority: 0,
            concurrency: None,
            health: Health::Healthy,
            lease_until_us: AtomicU64::new(lease_until_us),
        };
        instance.apply(spec);
        let instance = Arc::new(instance);
        if lease_until_us != 0 {
            writer.leases.insert((lease_until_us, handle));
        }
        writer
            .next
            .instances
            .set(slot_of(handle), Some(Arc::clone(&instance)));
        writer.next.instance_count += 1;
        writer.replace_instances(&record, |instances| instances.push(Arc::clone(&instance)));
        let event = EventKind::InstanceAdded {
            service: Arc::clone(&record.name),
            instance: handle,
            health: instance.health,
        };
        self.publish(&mut writer, now_us, [event]);
        Ok(handle)
    }

    /// Changes what the patch names. An empty patch changes nothing and is no event.
    ///
    /// # Errors
    /// The wrong field; `instance` when stale; `Duplicate` for an address that is taken.
    pub fn update_instance(
        &self,
        instance: Handle,
        patch: InstancePatch,
        now_us: u64,
    ) -> Result<(), RegistryError> {
        patch.spec.validate()?;
        let mut writer = self.lock();
        let old = Arc::clone(
            writer
                .next
                .instance(instance)
                .ok_or_else(|| RegistryError::stale("instance"))?,
        );
        if patch == InstancePatch::default() {
            return Ok(());
        }
        let service = writer.service_of(&old);
        if patch.spec.address.is_some() {
            if old.address.is_none() {
                return Err(RegistryError::invalid(
                    "address",
                    "cannot be given to an instance that lives in a thread",
                ));
            }
            refuse_duplicate(&service, patch.spec.address.as_deref(), instance)?;
        }
        let mut new = InstanceRecord::clone(&old);
        if let Some(health) = patch.health {
            new.health = health;
        }
        if let Some(lease_ms) = patch.spec.lease_ms {
            writer.extend(&new, lease_end(now_us, lease_ms));
        }
        new.apply(patch.spec);
        let new = Arc::new(new);
        writer
            .next
            .instances
            .set(slot_of(instance), Some(Arc::clone(&new)));
        writer.replace_instances(&service, |instances| {
            for known in instances {
                if known.handle == instance {
                    *known = Arc::clone(&new);
                }
            }
        });
        let event = EventKind::InstanceChanged {
            service: Arc::clone(&service.name),
            instance,
            health: new.health,
        };
        self.publish(&mut writer, now_us, [event]);
        Ok(())
    }

    /// Forgets an instance.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn remove_instance(&self, instance: Handle, now_us: u64) -> Result<(), RegistryError> {
        let mut writer = self.lock();
        let record = Arc::clone(
            writer
                .next
                .instance(instance)
                .ok_or_else(|| RegistryError::stale("instance"))?,
        );
        writer.remove(&record);
        self.publish(&mut writer, now_us, [removed(&record)]);
        Ok(())
    }

    /// Forgets every instance of a thread that ended; returns their handles in slot order. Always an event.
    pub fn remove_thread(&self, thread: u32, now_us: u64) -> Vec<Handle> {
        let mut writer = self.lock();
        let records: Vec<_> = writer
            .next
            .instances()
            .filter(|instance| instance.thread == thread && instance.address.is_none())
            .cloned()
            .collect();
        if records.is_empty() {
            self.events()
                .push(now_us, EventKind::ThreadEnded { thread });
            return Vec::new();
        }
        let mut events = Vec::with_capacity(records.len() + 1);
        for record in &records {
            writer.remove(record);
            events.push(EventKind::InstanceRemoved {
                service: Arc::clone(&record.service_name),
                instance: record.handle,
                health: Health::Dead,
            });
        }
        events.push(EventKind::ThreadEnded { thread });
        self.publish(&mut writer, now_us, events);
        records.iter().map(|record| record.handle).collect()
    }

    /// Makes the lease end `lease_ms` from now; also gives one to an instance that had none. Publishes nothing.
    ///
    /// # Errors
    /// `leaseMs` out of 1 to 86,400,000; `StaleHandle`: the lease ran out, register again.
    pub fn renew(&self, instance: Handle, lease_ms: u32, now_us: u64) -> Result<(), RegistryError> {
        validate::range("leaseMs", lease_ms, 1, LEASE_MS)?;
        let mut writer = self.lock();
        let record = Arc::clone(
            writer
                .next
                .instance(instance)
                .ok_or_else(|| RegistryError::stale("instance"))?,
        );
        writer.extend(&record, lease_end(now_us, lease_ms));
        Ok(())
    }

    /// Removes every instance whose lease has ended by `now_us`; returns their handles, earliest end first.
    pub fn expire(&self, now_us: u64) -> Vec<Handle> {
        let mut writer = self.lock();
        let mut expired = Vec::new();
        let mut events = Vec::new();
        while let Some(&(until, handle)) = writer.leases.first() {
            if until > now_us {
                break;
            }
            writer.leases.pop_first();
            // A lease is dropped with its instance, so the instance is there.
            if let Some(record) = writer.next.instance(handle).cloned() {
                writer.remove(&record);
                events.push(EventKind::LeaseExpired {
                    service: Arc::clone(&record.service_name),
                    instance: handle,
                    health: Health::Dead,
                });
                expired.push(handle);
            }
        }
        if !expired.is_empty() {
            self.publish(&mut writer, now_us, events);
        }
        expired
    }

    // --- events -----------------------------------------------------------------------------------------------------

    /// Adds an event of another floor (a breaker that changed). Takes the log's mutex.
    pub fn record_event(&self, now_us: u64, kind: EventKind) {
        self.events().push(now_us, kind);
    }

    // --- inside -----------------------------------------------------------------------------------------------------

    /// A panic elsewhere is caught at the boundary; every change here is complete before it can panic again.
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, EventLog> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(
        &self,
        writer: &mut Writer,
        now_us: u64,
        events: impl IntoIterator<Item = EventKind>,
    ) {
        writer.next.epoch = writer.next.epoch.wrapping_add(1);
        self.published.store(writer.next.clone());
        self.epoch.store(writer.next.epoch, Ordering::Release);
        let mut log = self.events();
        for kind in events {
            log.push(now_us, kind);
        }
    }
}

/// 0 means no lease, so a lease never ends at 0.
fn lease_end(now_us: u64, lease_ms: u32) -> u64 {
    now_us.saturating_add(u64::from(lease_ms) * 1_000)
}

fn removed(instance: &InstanceRecord) -> EventKind {
    EventKind::InstanceRemoved {
        service: Arc::clone(&instance.service_name),
        instance: instance.handle,
        health: instance.health,
    }
}

fn refuse_duplicate(
    service: &ServiceRecord,
    address: Option<&str>,
    except: Handle,
) -> Result<(), RegistryError> {
    let taken = |instance: &&Arc<InstanceRecord>| {
        instance.handle != except && instance.address.as_deref() == address
    };
    if address.is_some() && service.instances.iter().any(|instance| taken(&instance)) {
        return Err(RegistryError::duplicate(
            "address",
            "is registered for this service already",
        ));
    }
    Ok(())
}
