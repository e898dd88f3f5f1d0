//! Services and instances come, change and go: the registry first, then the cells, then what pickers see.

use std::sync::Arc;

use linkmesh_registry::{
    EventKind, InstancePatch, InstanceRecord, InstanceSpec, RegistryError, RegistrySnapshot,
    slot_of,
};

use crate::cells::{Placement, instance_word as word};
use crate::hash::{fmix32, hash_key};
use crate::hashing::{Node, calm_us};
use crate::heartbeat::Pulse;
use crate::membership::{Member, Membership, NewMember};
use crate::policy::{BalancingPolicy, Policy, SubsetFallback};
use crate::router::Router;
use crate::service::ServiceState;
use crate::sync::Ordering;

impl Router {
    /// Defines a service, or finds the one of that name. `policy`: JSON of the contract's `Policy`; empty leaves it as
    /// it is (a new one gets the defaults).
    ///
    /// # Errors
    /// The field that is wrong, `name` or `policy…`, or `services` when there are too many.
    pub fn define_service(
        &self,
        name: &str,
        policy: &str,
        now_us: u64,
    ) -> Result<u32, RegistryError> {
        let policy = if policy.is_empty() {
            None
        } else {
            Some(Policy::from_json(policy)?)
        };
        let _order = self.administer();
        self.log_changes();
        let (service, created) = self.registry.define(name, now_us)?;
        let slot = self.services.make(slot_of(service));
        // Each of a thousand registrations may name the policy that is there already.
        let policy = policy.filter(|policy| created || !self.has_policy(service, policy));
        if created || policy.is_some() {
            let policy = policy.unwrap_or_default();
            let lease_us = u64::from(policy.ticket_lease_ms) * 1_000;
            self.shortest_lease_us
                .fetch_min(lease_us, Ordering::Relaxed);
            self.next_sweep_us
                .fetch_min(now_us.saturating_add(lease_us), Ordering::Relaxed);
            if policy.outlier.enabled {
                let interval_us = u64::from(policy.outlier.interval_ms) * 1_000;
                self.next_comparison_us
                    .fetch_min(now_us.saturating_add(interval_us), Ordering::Relaxed);
            }
            if created {
                let state = Arc::new(ServiceState::new(&policy.retry, now_us));
                let empty = Membership::new(policy.clone(), Vec::new(), state, None, now_us);
                slot.membership.store(Some(empty));
                // Release pairs with the Acquire in `membership`.
                slot.handle.store(service, Ordering::Release);
            }
            // By one swap: whoever picks meanwhile finds its members under the old policy or under the new one.
            self.republish(service, Some(policy), now_us);
        } else {
            self.republish_header();
        }
        self.grant_changed(now_us);
        Ok(service)
    }

    fn has_policy(&self, service: u32, policy: &Policy) -> bool {
        self.with_registry(|_, guard| {
            self.membership(guard, service)
                .is_some_and(|known| known.policy == *policy)
        })
    }

    /// The service of that name.
    pub fn find_service(&self, name: &str) -> Option<u32> {
        self.with_registry(|_, guard| self.registry.find(guard, name))
    }

    /// Removes a service and its instances; who waits for it is told `NotFound`.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn remove_service(&self, service: u32, now_us: u64) -> Result<(), RegistryError> {
        let _order = self.administer();
        self.log_changes();
        let removed = self.registry.remove_service(service, now_us)?;
        if let Some(slot) = self.services.get(slot_of(service)) {
            slot.handle.store(0, Ordering::Release);
            slot.membership.store(None);
        }
        for instance in removed {
            self.view(instance).clear();
            if let Some(state) = self.cells.state(instance) {
                self.series.take_back(instance, state, None);
            }
        }
        self.drop_ledger(service);
        self.republish_header();
        self.grant_changed(now_us);
        Ok(())
    }

    /// Adds an instance. `spec`: JSON of the contract's `InstanceSpec`. `thread`: where it lives when it has no address.
    ///
    /// # Errors
    /// `StaleHandle`, `Duplicate`, or the field that is wrong.
    pub fn add_instance(
        &self,
        service: u32,
        spec: &str,
        thread: u32,
        now_us: u64,
    ) -> Result<u32, RegistryError> {
        let spec = InstanceSpec::from_json(spec)?;
        let _order = self.administer();
        self.log_changes();
        let instance = self.registry.add_instance(service, spec, thread, now_us)?;
        self.republish(service, None, now_us);
        self.grant_changed(now_us);
        Ok(instance)
    }

    /// Changes an instance. `patch`: JSON of the contract's `Partial<InstanceSpec>` and `health`.
    ///
    /// # Errors
    /// `StaleHandle`, or the field that is wrong.
    pub fn update_instance(
        &self,
        instance: u32,
        patch: &str,
        now_us: u64,
    ) -> Result<(), RegistryError> {
        let patch = InstancePatch::from_json(patch)?;
        let _order = self.administer();
        self.log_changes();
        self.registry.update_instance(instance, patch, now_us)?;
        self.republish(self.service_of(instance), None, now_us);
        self.grant_changed(now_us);
        Ok(())
    }

    /// Removes an instance. Requests under way on it can still be completed.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn remove_instance(&self, instance: u32, now_us: u64) -> Result<(), RegistryError> {
        let _order = self.administer();
        self.log_changes();
        let service = self.service_of(instance);
        self.registry.remove_instance(instance, now_us)?;
        self.detach(&[(instance, service)], now_us);
        Ok(())
    }

    /// Extends the lease of an instance: it ends `lease_ms` from now. A whole number of milliseconds, 1 to a day.
    ///
    /// # Errors
    /// `StaleHandle`, or the field `leaseMs`.
    pub fn renew(&self, instance: u32, lease_ms: f64, now_us: u64) -> Result<(), RegistryError> {
        if !lease_ms.is_finite() || lease_ms.fract() != 0.0 {
            return Err(RegistryError::invalid("leaseMs", "must be a whole number"));
        }
        // The cast saturates; the registry checks the range.
        self.registry.renew(instance, lease_ms as u32, now_us)
    }

    /// A thread is gone: its instances are removed, the tickets it held end as Cancelled, its waits are dropped.
    pub fn thread_ended(&self, thread: u32, now_us: u64) {
        self.with_registry(|_, guard| {
            let order = self.administer();
            self.log_changes();
            let removed = self.instances_where(|instance| {
                instance.thread == thread && instance.address.is_none()
            });
            self.registry.remove_thread(thread, now_us);
            self.detach(&removed, now_us);
            drop(order);
            // First the waits: from then on nobody takes tickets in its name.
            self.forget_waits(thread, now_us);
            self.forget_turns(thread);
            self.forget_begun(thread);
            self.close_tickets_of(guard, thread, now_us);
            self.grant_all(&mut self.queue(), guard, now_us);
        });
    }

    /// An event loop was found blocked, or has answered again: its instances are passed over, or taken again. What
    /// `pulse` says now is what counts, so it does not matter who of several callers comes last.
    pub fn loop_changed(&self, thread: u32, pulse: &Pulse, now_us: u64) {
        let order = self.administer();
        self.log_changes();
        let blocked = pulse.is_blocked();
        if pulse.told.swap(blocked, Ordering::Relaxed) == blocked {
            return;
        }
        let lag_us = pulse.lag_us();
        self.with_registry(|registry, _| {
            for instance in registry.instances() {
                if instance.thread == thread && instance.address.is_none() {
                    let view = self.view(instance.handle);
                    view.show_blocked(blocked);
                    // What it was blocked for is over, and must not count until the next look.
                    if !blocked {
                        view.show_lag(lag_us);
                    }
                }
            }
        });
        self.registry.record_event(
            now_us,
            EventKind::Loop {
                thread,
                blocked,
                lag_us,
            },
        );
        drop(order);
        if !blocked {
            self.grant_changed(now_us);
        }
    }

    /// How late the event loops of some threads are, microseconds, for those whose instances are to show it. One look
    /// at every instance: for lags that have changed, not for each answer.
    pub fn show_lags(&self, lags: &[(u32, u32)]) {
        self.with_registry(|registry, _| {
            for instance in registry.instances() {
                let found = lags.iter().find(|(thread, _)| *thread == instance.thread);
                if let (Some(&(_, lag_us)), None) = (found, &instance.address) {
                    self.view(instance.handle).show_lag(lag_us);
                }
            }
        });
    }

    /// Removes the instances whose lease ran out.
    pub(crate) fn expire_leases(&self, now_us: u64) {
        if self
            .registry
            .next_deadline()
            .is_none_or(|deadline| now_us < deadline)
        {
            return;
        }
        let _order = self.administer();
        self.log_changes();
        let before = self.instances_where(|instance| instance.lease_until_us().is_some());
        let expired = self.registry.expire(now_us);
        let expired: Vec<_> = before
            .into_iter()
            .filter(|(instance, _)| expired.contains(instance))
            .collect();
        self.detach(&expired, now_us);
    }

    fn service_of(&self, instance: u32) -> u32 {
        self.with_registry(|registry, _| {
            registry
                .instance(instance)
                .map_or(0, |instance| instance.service)
        })
    }

    fn instances_where(&self, wanted: impl Fn(&InstanceRecord) -> bool) -> Vec<(u32, u32)> {
        self.with_registry(|registry, _| {
            registry
                .instances()
                .filter(|instance| wanted(instance))
                .map(|instance| (instance.handle, instance.service))
                .collect()
        })
    }

    /// Instances that the registry has removed: pickers must not find them.
    fn detach(&self, removed: &[(u32, u32)], now_us: u64) {
        let mut services: Vec<u32> = removed.iter().map(|&(_, service)| service).collect();
        services.sort_unstable();
        services.dedup();
        for service in services {
            self.republish(service, None, now_us);
        }
        self.with_registry(|_, guard| {
            for &(instance, service) in removed {
                let view = self.view(instance);
                if view.is(instance) {
                    view.clear();
                }
                if let Some(state) = self.cells.state(instance) {
                    let membership = self.membership(guard, service);
                    let service = membership.map(|membership| &*membership.service);
                    self.series.take_back(instance, state, service);
                }
            }
        });
    }

    /// Brings cells and membership of a service to what the registry says; `policy`: another one from now on.
    fn republish(&self, service: u32, policy: Option<Policy>, now_us: u64) {
        self.with_registry(|registry, guard| {
            self.show_registry(registry);
            let Some(slot) = self.services.get(slot_of(service)) else {
                return;
            };
            let Some(record) = registry.service(service) else {
                return;
            };
            let known = || self.membership(guard, service);
            let Some(policy) = policy.or_else(|| known().map(|found| found.policy.clone())) else {
                return;
            };
            let members = record
                .instances
                .iter()
                .filter_map(|instance| self.bring_up(instance, &policy, now_us))
                .collect::<Vec<_>>();
            slot.membership.update(|old| {
                old.as_ref()
                    .map(|old| old.with(policy.clone(), members.clone(), now_us))
            });
            let left = self
                .membership(guard, service)
                .is_some_and(|membership| membership.unprepared().next().is_some());
            if left {
                // Release: who finds it due sees this membership.
                self.next_tables_us.fetch_min(
                    now_us.saturating_add(calm_us(record.instances.len())),
                    Ordering::Release,
                );
            }
        });
    }

    fn republish_header(&self) {
        self.with_registry(|registry: &RegistrySnapshot, _| self.show_registry(registry));
    }

    /// Places an instance that is new, adjusts one that is there.
    fn bring_up(
        &self,
        instance: &InstanceRecord,
        policy: &Policy,
        now_us: u64,
    ) -> Option<NewMember> {
        let view = self.view(instance.handle);
        let adaptive = &policy.adaptive_concurrency;
        let limit = if !adaptive.enabled {
            instance.concurrency.unwrap_or(policy.concurrency)
        } else if view.is(instance.handle) {
            view.get(word::LIMIT).clamp(adaptive.min, adaptive.max)
        } else {
            adaptive.initial
        };
        if view.is(instance.handle) {
            if (view.get(word::WEIGHT), view.get(word::LIMIT)) != (instance.weight, limit) {
                view.reweigh(instance.weight, limit);
            }
            view.set_health(instance.health);
        } else {
            self.cells.place(Placement {
                handle: instance.handle,
                service: instance.service,
                thread: instance.thread,
                weight: instance.weight,
                limit,
                health: instance.health,
                now_us,
            });
            if let Some(state) = self.cells.state(instance.handle) {
                self.series.give(instance.handle, state);
            }
        }
        let tier = self.tier_of(instance, &policy.balancing)?;
        let (affinity, seed) = match &instance.address {
            Some(address) => (hash_key(address.as_bytes()), Node::seed(address)),
            None => (
                fmix32(instance.handle),
                Node::seed(&instance.handle.to_string()),
            ),
        };
        Some(NewMember {
            member: Member {
                handle: instance.handle,
                thread: instance.thread,
                weight: instance.weight,
                affinity,
                tier,
                // Known when the members of its pool are.
                end: 0,
            },
            node: Node {
                weight: instance.weight,
                affinity,
                seed,
            },
        })
    }

    /// Which tier an instance is in: first by its priority, then the subset, then the zone. `None` when the subset
    /// leaves it out.
    fn tier_of(&self, instance: &InstanceRecord, policy: &BalancingPolicy) -> Option<u32> {
        let outside = policy.subset.iter().any(|tag| !instance.tags.contains(tag));
        if outside && policy.subset_fallback == SubsetFallback::None {
            return None;
        }
        let elsewhere = policy.zone_first && instance.zone != self.options.zone;
        Some(instance.priority << 2 | u32::from(outside) << 1 | u32::from(elsewhere))
    }

    /// There may be places that were not there before.
    pub(crate) fn grant_changed(&self, now_us: u64) {
        self.with_registry(|_, guard| self.grant_all(&mut self.queue(), guard, now_us));
    }
}
