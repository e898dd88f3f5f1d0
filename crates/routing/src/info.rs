//! What the router tells about itself: JSON of the contract's shapes, and metrics.

use std::collections::BTreeMap;

use linkmesh_metrics::{Collector, Exemplar};
use linkmesh_registry::discovery::DiscoveryQuery;
use linkmesh_registry::{
    Breaker, ConnectionPatch, ConnectionRegistry, ConnectionSpec, InstanceInfo, InstanceLoad,
    InstanceRecord, LoadSource, RegistryError, ServiceRecord,
};
use linkmesh_tables::epoch::Guard;
use serde::Serialize;

use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::qos::Qos;
use crate::router::{Router, to_json};
use crate::service::ServiceState;
use crate::sync::Ordering;

/// JSON shape of the contract's `ServiceInfo`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceInfo<'a> {
    handle: u32,
    name: &'a str,
    policy: Policy,
    instances: Vec<InstanceInfo<'a>>,
    queued: u32,
    shed: BTreeMap<&'static str, u64>,
    retries: u64,
    hedges: u64,
    latency: LatencyInfo,
}

/// Latencies of completed requests, microseconds; relative error at most 1.1 %.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LatencyInfo {
    count: u64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
}

/// The connections of a mesh, by JSON of the contract's shapes.
#[derive(Debug, Clone, Copy)]
pub struct Connections<'r>(&'r ConnectionRegistry);

impl Connections<'_> {
    /// Opens one. `spec`: JSON of `ConnectionSpec`.
    ///
    /// # Errors
    /// The field that is wrong, or `connections` when there are too many.
    pub fn open_json(&self, spec: &str, now_us: u64) -> Result<u32, RegistryError> {
        self.0.open(ConnectionSpec::from_json(spec)?, now_us)
    }

    /// Changes one. `patch`: JSON of the changeable part of `ConnectionInfo`.
    ///
    /// # Errors
    /// `StaleHandle`, or the field that is wrong.
    pub fn update_json(&self, connection: u32, patch: &str) -> Result<(), RegistryError> {
        self.0
            .update(connection, ConnectionPatch::from_json(patch)?)
    }

    /// Forgets one.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn close(&self, connection: u32) -> Result<(), RegistryError> {
        self.0.close(connection)
    }

    /// JSON array of `ConnectionInfo`.
    pub fn list_json(&self) -> String {
        to_json(&self.0.list())
    }
}

impl Router {
    /// The connections of this mesh: bookkeeping only, nothing is routed by it.
    pub fn connections(&self) -> Connections<'_> {
        Connections(&self.connections)
    }

    /// JSON of the contract's `ServiceInfo`.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn service_info_json(&self, service: u32, now_us: u64) -> Result<String, RegistryError> {
        self.with_registry(|registry, guard| {
            let record = registry
                .service(service)
                .ok_or_else(|| RegistryError::stale("service"))?;
            Ok(to_json(&self.service_info(record, guard, now_us)))
        })
    }

    /// JSON array of the contract's `ServiceInfo`, by name.
    pub fn service_list_json(&self, now_us: u64) -> String {
        self.with_registry(|registry, guard| {
            let services: Vec<_> = registry
                .services_by_name()
                .into_iter()
                .map(|record| self.service_info(record, guard, now_us))
                .collect();
            to_json(&services)
        })
    }

    /// JSON of the contract's `InstanceInfo`.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn instance_info_json(&self, instance: u32, now_us: u64) -> Result<String, RegistryError> {
        self.with_registry(|registry, _| {
            let record = registry
                .instance(instance)
                .ok_or_else(|| RegistryError::stale("instance"))?;
            Ok(to_json(&record.info(&self.load_now(instance, now_us))))
        })
    }

    /// Ranked services that fit a query. `query`: JSON of the contract's `DiscoveryQuery`; returns JSON of
    /// `DiscoveryResult`. `now_us` is asked while it works, for the query's deadline.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn discover_json(
        &self,
        query: &str,
        now_us: &dyn Fn() -> u64,
    ) -> Result<String, RegistryError> {
        let query = DiscoveryQuery::from_json(query, &self.options.zone)?;
        self.log_changes();
        Ok(self.with_registry(|_, guard| {
            to_json(
                &self
                    .discovery
                    .discover(&self.registry, guard, self, &query, now_us),
            )
        }))
    }

    /// Says which request of a service a latency came from, for its histogram. `false`: there is no such service.
    pub fn exemplify(&self, guard: &Guard<'_>, service: u32, exemplar: Exemplar) -> bool {
        let membership = self.membership(guard, service);
        if let Some(membership) = membership {
            membership.service.histogram.exemplify(exemplar);
        }
        membership.is_some()
    }

    /// The figures of an instance, and whether it is kept out at this moment.
    fn load_now(&self, instance: u32, now_us: u64) -> InstanceLoad {
        let state = self.cells.state(instance);
        let ejection = state
            .filter(|_| self.view(instance).is(instance))
            .map(|state| &state.ejection);
        InstanceLoad {
            ejected_until_us: ejection
                .filter(|ejection| ejection.is_out(now_us))
                .map(|ejection| ejection.until_us.load(Ordering::Relaxed)),
            ..self.load(instance)
        }
    }

    fn service_info<'a>(
        &self,
        record: &'a ServiceRecord,
        guard: &Guard<'_>,
        now_us: u64,
    ) -> ServiceInfo<'a> {
        let membership = self.membership(guard, record.handle);
        let service = membership.map(|membership| &membership.service);
        let (latencies, _) = self.latencies_of(record, guard);
        let latency = LatencyInfo {
            count: latencies.count,
            p50_us: latencies.quantile(0.5),
            p90_us: latencies.quantile(0.9),
            p99_us: latencies.quantile(0.99),
            p999_us: latencies.quantile(0.999),
        };
        ServiceInfo {
            handle: record.handle,
            name: &record.name,
            policy: membership.map_or_else(Policy::default, |membership| membership.policy.clone()),
            instances: record
                .instances
                .iter()
                .map(|instance| instance.info(&self.load_now(instance.handle, now_us)))
                .collect(),
            queued: service.map_or(0, |service| service.waiting.load(Ordering::Relaxed)),
            shed: service.map_or_else(BTreeMap::new, |service| shed_of(service)),
            retries: service.map_or(0, |service| service.budget.granted()),
            hedges: service.map_or(0, |service| service.hedging.budget.granted()),
            latency,
        }
    }

    /// Adds what the router knows to a scrape. Counters come from the cells, so nothing is counted twice.
    pub fn collect_metrics(&self, out: &mut Collector, _now_us: u64) {
        self.with_registry(|registry, guard| {
            for record in registry.services_by_name() {
                self.collect_service(out, record, guard);
            }
        });
        self.collect_order(out);
        let lost = self.changes_lost.load(Ordering::Relaxed);
        out.counter(
            "linkmesh_breaker_events_lost_total",
            "Breaker changes that the event log missed.",
            &[],
            lost as f64,
        );
    }

    fn collect_service(&self, out: &mut Collector, record: &ServiceRecord, guard: &Guard<'_>) {
        let Some(membership) = self.membership(guard, record.handle) else {
            return;
        };
        let (service, labels) = (&membership.service, [("service", &*record.name)]);
        let (total, own) = self.latencies_of(record, guard);
        out.snapshot(
            "linkmesh_request_duration_seconds",
            "Time from pick to completion, cancelled requests excepted.",
            &labels,
            total,
            1e-6,
        );
        let waiting = service.waiting.load(Ordering::Relaxed);
        out.gauge(
            "linkmesh_queue_depth",
            "Requests that wait for a free instance.",
            &labels,
            f64::from(waiting),
        );
        let retries = service.budget.granted() as f64;
        out.counter(
            "linkmesh_retries_total",
            "Retries that the budget granted.",
            &labels,
            retries,
        );
        self.collect_ledger(out, record.handle, labels);
        out.counter(
            "linkmesh_hedges_total",
            "Requests that were sent to a second instance.",
            &labels,
            service.hedging.budget.granted() as f64,
        );
        for class in Qos::ALL {
            let labels = [labels[0], ("qos", class.as_str())];
            out.counter(
                "linkmesh_shed_total",
                "Requests refused for want of room, by class.",
                &labels,
                service.shed[class as usize].load(Ordering::Relaxed) as f64,
            );
        }
        let mut names: BTreeMap<String, u32> = BTreeMap::new();
        for (instance, latencies) in record.instances.iter().zip(own) {
            let name = label_of(instance);
            // Several instances may live in one thread.
            let count = names.entry(name.clone()).or_default();
            *count += 1;
            let name = if *count == 1 {
                name
            } else {
                format!("{name}#{count}")
            };
            if let Some(latencies) = latencies {
                out.snapshot(
                    "linkmesh_instance_request_duration_seconds",
                    "Time from pick to completion by instance, cancelled requests excepted.",
                    &[("service", &record.name), ("instance", &name)],
                    latencies,
                    1e-6,
                );
            }
            self.collect_instance(out, &record.name, &name, instance.handle);
        }
    }

    /// Only of services that were asked with idempotency keys.
    fn collect_ledger(&self, out: &mut Collector, service: u32, labels: [(&str, &str); 1]) {
        let Some(ledger) = self.ledger.figures(service) else {
            return;
        };
        let counters = [
            (
                "linkmesh_idempotency_hits_total",
                "Repeats answered with the first result.",
                ledger.hits,
            ),
            (
                "linkmesh_idempotency_joins_total",
                "Repeats that waited for the first request.",
                ledger.joins,
            ),
            (
                "linkmesh_idempotency_evictions_total",
                "Results that made room for others before their time was over.",
                ledger.evictions,
            ),
        ];
        for (name, help, value) in counters {
            out.counter(name, help, &labels, value as f64);
        }
        out.gauge(
            "linkmesh_idempotency_entries",
            "Idempotency keys that are remembered.",
            &labels,
            ledger.entries as f64,
        );
        out.gauge(
            "linkmesh_idempotency_bytes",
            "What keys and results take.",
            &labels,
            ledger.bytes as f64,
        );
    }

    /// What the order by keys is about, of all services.
    fn collect_order(&self, out: &mut Collector) {
        let (waiting, broken, forgotten) = self.key_order.figures();
        out.gauge(
            "linkmesh_order_waiting",
            "Requests that wait for others with their key.",
            &[],
            waiting as f64,
        );
        out.counter(
            "linkmesh_order_broken_total",
            "Requests in an order that were given up.",
            &[],
            broken as f64,
        );
        out.counter(
            "linkmesh_order_broken_forgotten_total",
            "Broken orders that were forgotten before the next request came.",
            &[],
            forgotten as f64,
        );
    }

    fn collect_instance(&self, out: &mut Collector, service: &str, name: &str, instance: u32) {
        let (load, labels) = (
            self.load(instance),
            [("service", service), ("instance", name)],
        );
        let Some(state) = self.cells.state(instance) else {
            return;
        };
        for outcome in Outcome::ALL {
            let count = self.view(instance).outcomes(state, outcome) as f64;
            let labels = [labels[0], labels[1], ("outcome", outcome.as_str())];
            out.counter(
                "linkmesh_requests_total",
                "Completed requests by outcome.",
                &labels,
                count,
            );
        }
        let in_flight = f64::from(load.in_flight);
        out.gauge(
            "linkmesh_instance_in_flight",
            "Requests picked and not completed.",
            &labels,
            in_flight,
        );
        let latency = f64::from(load.latency_us) * 1e-6;
        out.gauge(
            "linkmesh_instance_latency_seconds",
            "Peak-EWMA latency estimate.",
            &labels,
            latency,
        );
        let state = match load.breaker {
            Breaker::Closed => 0.0,
            Breaker::Open => 1.0,
            Breaker::HalfOpen => 2.0,
        };
        out.gauge(
            "linkmesh_breaker_state",
            "0 closed, 1 open, 2 half-open.",
            &labels,
            state,
        );
    }
}

/// Requests that were refused for want of room, by class; classes of which none was are left out.
fn shed_of(service: &ServiceState) -> BTreeMap<&'static str, u64> {
    Qos::ALL
        .into_iter()
        .map(|class| {
            let count = service.shed[class as usize].load(Ordering::Relaxed);
            (class.as_str(), count)
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// How metrics call an instance: by address, or by thread.
fn label_of(instance: &InstanceRecord) -> String {
    instance
        .address
        .clone()
        .unwrap_or_else(|| format!("thread-{}", instance.thread))
}
