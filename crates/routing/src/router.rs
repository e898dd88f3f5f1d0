//! The router: one per mesh and process, shared by every thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use linkmesh_registry::discovery::Discovery;
use linkmesh_registry::{
    ConnectionRegistry, EventKind, InstanceLoad, Limits, LoadSource, RegistryError,
    RegistrySnapshot, ServiceRegistry, Status, Watermark, slot_of,
};
use linkmesh_tables::MpmcRing;
use linkmesh_tables::epoch::{Domain, Guard, Snapshot};
use zerocopy::FromZeros;

use crate::breaker::Transition;
use crate::caller::Caller;
use crate::cells::{Cells, View, header_word, instance_word as word};
use crate::explain::ExplainRing;
use crate::key_order::KeyOrder;
use crate::latencies::LatencySeries;
use crate::ledger::Ledger;
use crate::membership::Membership;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::table::SlotTable;
use crate::ticket::Tickets;
use crate::waits::Waits;

/// Changes that may wait for the event log between two looks at it; more are dropped and counted.
const PENDING_CHANGES: usize = 4_096;
/// The queue's own stream of random numbers: no thread has this number.
const QUEUE_STREAM: u32 = u32::MAX;

/// How a router is made.
#[derive(Debug, Clone, Default)]
pub struct RouterOptions {
    /// Name of the mesh.
    pub name: String,
    /// Zone of this process, for ranking; empty = none.
    pub zone: String,
    /// Seed of every random choice that no caller's generator makes.
    pub seed: u32,
}

/// What a pick says besides its ticket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Picked {
    /// Handle of the instance; 0 when refused.
    pub instance: u32,
    /// Thread it lives in; 0 for one by address.
    pub thread: u32,
    /// When refused: how long to wait before it is worth trying again, milliseconds; 0 = unknown.
    pub retry_after_ms: u32,
    /// This request decides whether a half-open breaker closes.
    pub probe: bool,
}

/// What followed from completing a request. One word, so that it comes back in a register: usually nothing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completed(u64);

const GRANTED: u64 = 1;
const MORE: u64 = 2;

impl Completed {
    pub(crate) fn new(granted_thread: Option<u32>, more: bool) -> Self {
        let granted = granted_thread.map_or(0, |thread| u64::from(thread) << 32 | GRANTED);
        Self(granted | if more { MORE } else { 0 })
    }

    /// A waiting request of this thread got the place: wake the thread.
    #[inline]
    pub fn granted_thread(self) -> Option<u32> {
        (self.0 & GRANTED != 0).then_some((self.0 >> 32) as u32)
    }

    /// Waiting requests of other threads got places, too: [`Router::tick`] says which.
    #[inline]
    pub fn more(self) -> bool {
        self.0 & MORE != 0
    }
}

/// One of the latest picks. JSON shape of the contract's `RecordedPick`.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordedPick<'a> {
    service: &'a str,
    at_us: u64,
    key_hash: u32,
    instance: u32,
}

/// Something changed on a message's way and the event log does not know yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) at_us: u64,
    pub(crate) service: u32,
    pub(crate) what: What,
}

/// What changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// A breaker its state.
    Breaker {
        instance: u32,
        transition: Transition,
    },
    /// The queue passed a watermark.
    Backpressure {
        level: Watermark,
        queued: u32,
        limit: u32,
    },
}

/// A slot of the service table.
#[derive(Debug)]
pub(crate) struct ServiceSlot {
    /// 0 when the slot belongs to nobody.
    pub(crate) handle: AtomicU32,
    pub(crate) membership: Snapshot<Option<Membership>>,
}

impl Default for ServiceSlot {
    fn default() -> Self {
        Self {
            handle: AtomicU32::new(0),
            membership: Snapshot::new(None),
        }
    }
}

/// Routes requests to instances: what exists, who is picked, what was learnt.
///
/// `Send + Sync`: threads share it behind an `Arc`. [`pick`](Self::pick), [`complete`](Self::complete) and
/// [`retry`](Self::retry) take no lock and allocate nothing; `complete` takes the queue's lock only when somebody waits.
/// Time is passed in, microseconds on the mesh's clock. It may step back: then nothing ages until it has caught up.
#[derive(Debug)]
pub struct Router {
    pub(crate) options: RouterOptions,
    pub(crate) registry: ServiceRegistry,
    pub(crate) connections: ConnectionRegistry,
    pub(crate) discovery: Discovery,
    pub(crate) services: SlotTable<ServiceSlot>,
    pub(crate) cells: Cells,
    header: Box<[AtomicU32]>,
    pub(crate) tickets: Tickets,
    /// Rings of the threads that call.
    explained: Mutex<Vec<Weak<ExplainRing>>>,
    pub(crate) waits: Mutex<Waits>,
    pub(crate) series: LatencySeries,
    pub(crate) key_order: KeyOrder,
    pub(crate) ledger: Ledger,
    /// Ids given to what waits for something else than a place.
    pub(crate) parked: AtomicU64,
    changes: MpmcRing<Change>,
    /// Those that found `changes` full.
    pub(crate) changes_lost: AtomicU64,
    /// Serialises changes of services and instances, so that registry, cells and memberships agree.
    administration: Mutex<()>,
    /// Shortest ticket lease of any policy so far, microseconds.
    pub(crate) shortest_lease_us: AtomicU64,
    /// When outlier detection compares next, microseconds.
    pub(crate) next_comparison_us: AtomicU64,
    /// When tables that keys are found by are made, where a change of members left that undone, microseconds.
    pub(crate) next_tables_us: AtomicU64,
    /// When open tickets are looked through next, microseconds.
    pub(crate) next_sweep_us: AtomicU64,
}

impl Router {
    /// An empty router.
    ///
    /// # Errors
    /// `LimitExceeded` when there is no memory for its tables (8 MiB of address space for the instances' lines,
    /// committed as they are used, and 20 MiB for tickets).
    pub fn new(options: RouterOptions) -> Result<Self, RegistryError> {
        let no_memory =
            || RegistryError::new(Status::LimitExceeded, "no memory for the router's tables");
        let limits = Limits::default();
        let queue = Caller::new(options.seed, QUEUE_STREAM).ok_or_else(no_memory)?;
        Ok(Self {
            options,
            registry: ServiceRegistry::new(limits),
            connections: ConnectionRegistry::new(limits),
            discovery: Discovery::new(),
            services: SlotTable::new(limits.services),
            cells: Cells::new().ok_or_else(no_memory)?,
            header: <[AtomicU32]>::new_box_zeroed_with_elems(16).map_err(|_| no_memory())?,
            tickets: Tickets::new().ok_or_else(no_memory)?,
            explained: Mutex::new(vec![Arc::downgrade(&queue.explained)]),
            waits: Mutex::new(Waits::new(queue)),
            series: LatencySeries::default(),
            key_order: KeyOrder::default(),
            ledger: Ledger::default(),
            parked: AtomicU64::new(0),
            changes: MpmcRing::new(PENDING_CHANGES).map_err(|_| no_memory())?,
            changes_lost: AtomicU64::new(0),
            administration: Mutex::new(()),
            shortest_lease_us: AtomicU64::new(u64::MAX),
            next_comparison_us: AtomicU64::new(u64::MAX),
            next_sweep_us: AtomicU64::new(u64::MAX),
            next_tables_us: AtomicU64::new(u64::MAX),
        })
    }

    /// What a thread calls with. One for each thread; numbers of threads are the caller's, 0 = none in particular.
    ///
    /// # Errors
    /// `LimitExceeded` when there is no memory for what it remembers of its picks (448 KiB of address space, committed
    /// as they come).
    pub fn caller(&self, thread: u32) -> Result<Caller, RegistryError> {
        let caller = Caller::new(self.options.seed, thread).ok_or_else(|| {
            RegistryError::new(Status::LimitExceeded, "no memory for explanations of picks")
        })?;
        let mut rings = self.rings();
        rings.retain(|ring| ring.strong_count() > 0);
        rings.push(Arc::downgrade(&caller.explained));
        Ok(caller)
    }

    pub(crate) fn rings(&self) -> MutexGuard<'_, Vec<Weak<ExplainRing>>> {
        self.explained
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of the instances' views: first word and number of words, 16 a slot, the contract's `InstanceWord`.
    /// Lives as long as the router.
    pub fn cells(&self) -> (*const u32, usize) {
        self.cells.memory()
    }

    /// Memory of the header, the contract's `HeaderWord`.
    pub fn header(&self) -> (*const u32, usize) {
        (self.header.as_ptr().cast(), self.header.len())
    }

    /// Name of the mesh.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Membership of a live service.
    #[inline]
    pub(crate) fn membership<'g>(
        &self,
        guard: &'g Guard<'_>,
        service: u32,
    ) -> Option<&'g Membership> {
        let slot = self.services.get(slot_of(service))?;
        // Acquire pairs with the Release in `attach_service`.
        if service == 0 || slot.handle.load(Ordering::Acquire) != service {
            return None;
        }
        slot.membership.load(guard).as_ref()
    }

    #[inline]
    pub(crate) fn view(&self, instance: u32) -> View<'_> {
        self.cells.view(instance)
    }

    #[inline]
    pub(crate) fn header_word(&self, index: usize) -> &AtomicU32 {
        &self.header[index]
    }

    /// Runs `read` on the registry as it is now. Registers a reader: cold.
    pub(crate) fn with_registry<R>(
        &self,
        read: impl FnOnce(&RegistrySnapshot, &Guard<'_>) -> R,
    ) -> R {
        let reader = Domain::global().register();
        let guard = reader.pin();
        read(self.registry.snapshot(&guard), &guard)
    }

    pub(crate) fn administer(&self) -> MutexGuard<'_, ()> {
        self.administration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Waits> {
        // What a panic left behind is still consistent: every change of the queue is one push or one removal.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a breaker's change for the event log and the view. Lock-free: it happens inside `pick` and `complete`.
    #[cold]
    pub(crate) fn breaker_changed(
        &self,
        service: u32,
        instance: u32,
        transition: Transition,
        at_us: u64,
    ) {
        if let Some(state) = self.cells.state(instance) {
            self.view(instance).show_breaker(&state.breaker);
            self.view(instance).watch();
        }
        self.note(Change {
            at_us,
            service,
            what: What::Breaker {
                instance,
                transition,
            },
        });
    }

    /// For the event log. Lock-free.
    pub(crate) fn note(&self, change: Change) {
        if self.changes.push(change).is_err() {
            self.changes_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Moves changes into the event log. Before anything else is logged, so that the order is the order of
    /// events.
    pub(crate) fn log_changes(&self) {
        while let Some(change) = self.changes.pop() {
            let name = self.with_registry(|registry, _| {
                registry
                    .service(change.service)
                    .map(|service| Arc::clone(&service.name))
            });
            // A service that is gone has no breakers and no queue any more.
            let Some(service) = name else { continue };
            let kind = match change.what {
                What::Breaker {
                    instance,
                    transition,
                } => EventKind::Breaker {
                    service,
                    instance,
                    from: transition.from,
                    to: transition.to,
                },
                What::Backpressure {
                    level,
                    queued,
                    limit,
                } => EventKind::Backpressure {
                    service,
                    level,
                    queued,
                    limit,
                },
            };
            self.registry.record_event(change.at_us, kind);
        }
    }

    /// JSON of the contract's `EventBatch`: registry and breaker changes after `sequence`.
    pub fn events_json(&self, sequence: u64) -> String {
        self.log_changes();
        to_json(&self.registry.events_since(sequence))
    }

    /// JSON array of the contract's `RecordedPick`: the latest picks, oldest first, of services that are still there. What
    /// another policy would have made of them is asked of these.
    pub fn recorded_picks_json(&self) -> String {
        let rings: Vec<_> = self.rings().iter().filter_map(Weak::upgrade).collect();
        let mut picks: Vec<_> = rings.iter().flat_map(|ring| ring.recorded()).collect();
        picks.sort_by_key(|pick| pick.at_us);
        self.with_registry(|registry, _| {
            let recorded: Vec<_> = picks
                .iter()
                .filter_map(|pick| {
                    Some(RecordedPick {
                        service: &registry.service(pick.service_handle)?.name,
                        at_us: pick.at_us,
                        key_hash: pick.key_hash,
                        instance: pick.chosen,
                    })
                })
                .collect();
            to_json(&recorded)
        })
    }

    /// Takes one token of the service's retry budget: backoff with jitter in milliseconds before attempt `attempt`
    /// (1 = first retry), or -1 when the policy or the budget does not allow it or the service is gone. Lock-free.
    pub fn retry(
        &self,
        guard: &Guard<'_>,
        service: u32,
        attempt: u32,
        caller: &mut Caller,
        now_us: u64,
    ) -> i32 {
        let Some(membership) = self.membership(guard, service) else {
            return -1;
        };
        let policy = &membership.policy.retry;
        if attempt == 0 || attempt > policy.limit {
            return -1;
        }
        let picks = membership.service.picks.load(Ordering::Relaxed);
        let refill = policy.refill();
        if !membership.service.budget.take(refill, picks, now_us) {
            return -1;
        }
        crate::budget::backoff_ms(policy, attempt, &mut caller.rng) as i32
    }

    pub(crate) fn show_registry(&self, registry: &RegistrySnapshot) {
        self.header_word(header_word::SERVICES)
            .store(registry.service_count() as u32, Ordering::Relaxed);
        self.header_word(header_word::INSTANCES)
            .store(registry.instance_count() as u32, Ordering::Relaxed);
        // Release: who sees the new epoch sees the new cells.
        self.header_word(header_word::REGISTRY_EPOCH)
            .store(registry.epoch(), Ordering::Release);
    }
}

impl LoadSource for Router {
    fn load(&self, instance: u32) -> InstanceLoad {
        let view = self.view(instance);
        if instance == 0 || !view.is(instance) {
            return InstanceLoad::default();
        }
        InstanceLoad {
            in_flight: view.get(word::IN_FLIGHT),
            limit: view.get(word::LIMIT),
            latency_us: f32::from_bits(view.get(word::LATENCY_US)),
            breaker: view.breaker(),
            picked: view.picked(),
            succeeded: view.get(word::SUCCEEDED),
            failed: view.get(word::FAILED),
            // A question of time; see `info`.
            ejected_until_us: None,
        }
    }
}

/// The shapes here have no map with other keys than strings and no failing `Serialize`, so this cannot fail.
pub(crate) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
