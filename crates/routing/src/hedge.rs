//! Hedging: a request that takes longer than most is sent to a second instance, within a budget; the first answer wins
//! [Dean, Barroso, "The Tail at Scale", 2013]. The caller decides which of its requests may be sent twice, watches the
//! time and gives up the one that lost.
//!
//! The loser's place is given back as Cancelled, with how long it took so far: else an instance that always loses would
//! never be seen to be slow; see [`Router::complete`].

use std::sync::{Mutex, PoisonError};

use linkmesh_metrics::HistogramSnapshot;
use linkmesh_registry::Status;
use linkmesh_tables::epoch::Guard;

use crate::breaker::Probe;
use crate::budget::Budget;
use crate::caller::Caller;
use crate::cells::instance_word as word;
use crate::explain::Decision;
use crate::policy::{Balancer, HedgePolicy};
use crate::qos::Qos;
use crate::router::{Picked, Router};
use crate::select::Selection;
use crate::sync::{AtomicU64, Ordering};
use crate::ticket::Filled;

/// Share of answers that are there before a hedge is sent.
const QUANTILE: f64 = 0.95;
/// The quantile is worked out at most this often, microseconds.
const LOOK_US: u64 = 100_000;
/// Latencies from before this count no longer, once there are enough newer ones, microseconds.
const WINDOW_US: u64 = 10_000_000;

/// What a service knows about hedging.
#[derive(Debug, Default)]
pub(crate) struct Hedging {
    pub(crate) budget: Budget,
    /// How long to wait for the first answer, microseconds; 0 = not known yet.
    after_us: AtomicU64,
    /// When it was worked out, microseconds and one.
    looked_us: AtomicU64,
    /// The latencies up to the beginning of the window, and when that was.
    before: Mutex<(HistogramSnapshot, u64)>,
}

impl Hedging {
    /// The 95th percentile of recent latencies, microseconds. Allocates at most ten times a second, when it is worked
    /// out anew; two loads otherwise.
    fn after_us(
        &self,
        latencies: impl FnOnce() -> HistogramSnapshot,
        policy: &HedgePolicy,
        now_us: u64,
    ) -> Option<u64> {
        let looked_us = self.looked_us.load(Ordering::Relaxed);
        // A clock that stepped back looks again, too.
        if looked_us == 0 || now_us.wrapping_sub(looked_us - 1) >= LOOK_US {
            self.looked_us.store(now_us + 1, Ordering::Relaxed);
            self.look(latencies(), policy, now_us);
        }
        // Relaxed: a word is complete in itself, and the one before is as good.
        let after_us = self.after_us.load(Ordering::Relaxed);
        (after_us != 0).then_some(after_us)
    }

    #[cold]
    fn look(&self, now: HistogramSnapshot, policy: &HedgePolicy, now_us: u64) {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = now.since(&before.0);
        if recent.count < u64::from(policy.min_samples) {
            return;
        }
        let after_us = recent.quantile(QUANTILE).ceil().max(1.0) as u64;
        self.after_us.store(after_us, Ordering::Relaxed);
        if now_us.wrapping_sub(before.1) >= WINDOW_US {
            *before = (now, now_us);
        }
    }
}

impl Router {
    /// How long to wait for the answer to a request before it is sent a second time, microseconds: the 95th percentile of
    /// the service's latest latencies. `None` when the policy, the class or too few latencies say that it is not.
    pub fn hedge_after(
        &self,
        guard: &Guard<'_>,
        service: u32,
        qos: Option<Qos>,
        now_us: u64,
    ) -> Option<u64> {
        let membership = self.membership(guard, service)?;
        let policy = &membership.policy.hedge;
        if !policy.enabled || !membership.class_of(qos).may_hedge() {
            return None;
        }
        let hedging = &membership.service.hedging;
        let latencies = || self.latencies_of_all(membership, service, guard);
        hedging.after_us(latencies, policy, now_us)
    }

    /// A second instance for a request that `first` has not answered: the least busy one that is eligible, of the first
    /// tier that has one. Takes a token of the hedging budget. The ticket is one like any other.
    ///
    /// Looks at every member: not for each message.
    ///
    /// # Errors
    /// `NoMatch` when the class, the budget or the instances do not allow it, `StaleHandle`, `RateLimited`, or
    /// `LimitExceeded` as [`pick`](Self::pick).
    #[allow(clippy::too_many_arguments, reason = "as `pick`")]
    pub fn hedge(
        &self,
        guard: &Guard<'_>,
        caller: &mut Caller,
        service: u32,
        first: u32,
        qos: Option<Qos>,
        now_us: u64,
        out: &mut Picked,
    ) -> Result<u64, Status> {
        *out = Picked::default();
        let membership = self.membership(guard, service).ok_or(Status::StaleHandle)?;
        let (policy, state) = (&membership.policy, &membership.service);
        let class = membership.class_of(qos);
        let (budget, refill) = (&state.hedging.budget, policy.hedge.refill());
        // Hedges are not counted as picks: what they are a share of are requests.
        let picks = || state.picks.load(Ordering::Relaxed) + budget.granted();
        if !policy.hedge.enabled || !class.may_hedge() || !budget.has_token(refill, picks(), now_us)
        {
            return Err(Status::NoMatch);
        }
        if membership.plan.features.has_rate_limit() {
            Self::admit(membership, 0, now_us).map_err(|refusal| refusal.status)?;
        }
        let trace = caller.explained.begin(caller.picks);
        let mut selection = Selection::new(&self.cells, membership, class, 0, now_us, trace);
        let give_back = || state.rate_limit.give_back(&policy.rate_limit);
        let Some(index) = self.reserve_other(&mut selection, first) else {
            give_back();
            return Err(Status::NoMatch);
        };
        let member = &membership.members[index];
        if !budget.take(refill, picks(), now_us) {
            self.view(member.handle).release();
            give_back();
            return Err(Status::NoMatch);
        }
        let filled = Filled {
            service,
            instance: member.handle,
            thread: caller.thread,
            probe: Probe::NONE,
            picked_at_us: now_us,
            lease_until_us: membership.plan.lease_until_us(now_us),
        };
        let Some(ticket) = self.tickets.open(&filled) else {
            return Err(self.no_ticket(member.handle, Probe::NONE).status);
        };
        if policy.balancer == Balancer::Adaptive {
            self.note_work(member.handle, now_us);
        }
        selection.trace.finish(&Decision {
            ticket,
            service,
            key_hash: 0,
            chosen: member.handle,
            balancer: policy.balancer,
            class,
            hedge: true,
            at_us: now_us,
            retry_tokens: state.retry_tokens(membership.plan.refill, now_us),
            members: membership.members.len(),
        });
        caller.picks = caller.picks.wrapping_add(1);
        out.instance = member.handle;
        out.thread = member.thread;
        Ok(ticket)
    }

    /// The least busy of the eligible members but `first`, with its place taken.
    fn reserve_other(&self, selection: &mut Selection<'_>, first: u32) -> Option<usize> {
        let membership = selection.membership;
        for pool in &membership.pools {
            let mut best: Option<(usize, f64)> = None;
            for index in pool.range() {
                if membership.members[index].handle == first {
                    continue;
                }
                let candidate = selection.assess(index);
                // A half-open instance is found out by requests that need it.
                if !candidate.is_eligible() || candidate.probe {
                    continue;
                }
                let load = selection.load(&candidate);
                if best.is_none_or(|(_, least)| load < least) {
                    best = Some((index, load));
                }
            }
            if let Some((index, _)) = best {
                let view = self.view(membership.members[index].handle);
                if view.reserve(selection.limit(view.get(word::LIMIT))) {
                    selection.record_at(index);
                    return Some(index);
                }
            }
        }
        None
    }
}
