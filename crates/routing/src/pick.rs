//! `pick`: choose, reserve, ticket.

use linkmesh_registry::Status;
use linkmesh_tables::epoch::Guard;

use crate::breaker::Probe;
use crate::caller::Caller;
use crate::candidate::{Filter, Proposal};
use crate::cells::instance_word as word;
use crate::explain::Decision;
use crate::membership::Membership;
use crate::policy::Balancer;
use crate::qos::Qos;
use crate::random::Rng;
use crate::router::{Picked, Router};
use crate::select::Selection;
use crate::sync::Ordering;
use crate::ticket::Filled;

/// Proposals that may lose a race for the last place before every member is tried in turn.
const ATTEMPTS: usize = 4;
/// Longest advice to come back later, milliseconds.
const LONGEST_ADVICE_MS: u64 = 60_000;

/// Why nothing was picked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) retry_after_ms: u32,
    /// When time alone makes a member eligible, microseconds; `u64::MAX` = never.
    pub(crate) eligible_at_us: u64,
}

impl Refusal {
    pub(crate) fn of(status: Status) -> Self {
        Self {
            status,
            retry_after_ms: 0,
            eligible_at_us: u64::MAX,
        }
    }
}

impl Router {
    /// Picks an instance of `service` for one request and reserves a place on it. The ticket must be completed; when
    /// nobody does, it ends as Unknown after the policy's lease.
    ///
    /// Eligible is an instance that is alive, not draining, admitted by its breaker (or a free probe place), below its
    /// concurrency limit and did not answer Rejected a moment ago. With `key_hash` ≠ 0 a key stays on one instance
    /// while that is eligible; with `adaptive`, no bound and no ordering, while that is no worse off than usual. When the caller's thread ends, so do its tickets.
    ///
    /// Cost: no lock, and no allocation but for the first key of a service. Two members are looked at with `least-request`
    /// and `peak-ewma`, few with `round-robin` and `weighted` and with a key, sixteen with `adaptive`; all before
    /// anything is refused.
    ///
    /// # Errors
    /// `StaleHandle`, `NoInstance`, `Draining`, `BreakerOpen`, `Saturated` ([`wait`](Self::wait) may queue), `RateLimited`, or
    /// `LimitExceeded` when 262,144 requests are under way. `out.retry_after_ms` says when to come back.
    #[inline]
    pub fn pick(
        &self,
        guard: &Guard<'_>,
        caller: &mut Caller,
        service: u32,
        key_hash: u32,
        now_us: u64,
        out: &mut Picked,
    ) -> Result<u64, Status> {
        self.pick_for(guard, caller, service, key_hash, None, now_us, out)
    }

    /// [`pick`](Self::pick) for a request of a class; `None`: that of the service. A class whose share is less than the
    /// whole leaves the rest of each instance's limit to the others.
    ///
    /// # Errors
    /// As [`pick`](Self::pick).
    #[inline]
    #[allow(
        clippy::too_many_arguments,
        reason = "the hot call: numbers only, no struct to build per message"
    )]
    pub fn pick_for(
        &self,
        guard: &Guard<'_>,
        caller: &mut Caller,
        service: u32,
        key_hash: u32,
        qos: Option<Qos>,
        now_us: u64,
        out: &mut Picked,
    ) -> Result<u64, Status> {
        *out = Picked::default();
        let Some(membership) = self.membership(guard, service) else {
            return Err(Status::StaleHandle);
        };
        let (thread, class) = (caller.thread, membership.class_of(qos));
        match self.pick_from(
            membership, caller, service, key_hash, class, thread, now_us, out,
        ) {
            Ok(ticket) => Ok(ticket),
            Err(refusal) => {
                out.retry_after_ms = refusal.retry_after_ms;
                Self::note_refusal(membership, class, &refusal);
                Err(refusal.status)
            }
        }
    }

    /// Who may not wait is shed by this refusal; of the others the queue knows what becomes.
    #[cold]
    fn note_refusal(membership: &Membership, class: Qos, refusal: &Refusal) {
        if refusal.status == Status::Saturated && !membership.policy.may_wait() {
            membership.service.count_shed(class);
        }
    }

    /// [`pick`](Self::pick) in the name of `thread`, which the ticket ends with.
    #[allow(
        clippy::too_many_arguments,
        reason = "the hot call: numbers only, no struct to build per message"
    )]
    pub(crate) fn pick_from(
        &self,
        membership: &Membership,
        caller: &mut Caller,
        service: u32,
        key_hash: u32,
        class: Qos,
        thread: u32,
        now_us: u64,
        out: &mut Picked,
    ) -> Result<u64, Refusal> {
        if membership.plan.features.has_rate_limit() {
            Self::admit(membership, key_hash, now_us)?;
        }
        // Before the members are looked at: the service's line comes from memory while theirs do.
        let retry_tokens = membership
            .service
            .retry_tokens(membership.plan.refill, now_us);
        let trace = caller.explained.begin(caller.picks);
        let mut selection = Selection::new(&self.cells, membership, class, key_hash, now_us, trace);
        let Some((index, probe)) = self.choose(&mut selection, &mut caller.rng, service) else {
            return Err(Self::refuse(&selection));
        };
        let plan = &membership.plan;
        let member = &membership.members[index];
        let filled = Filled {
            service,
            instance: member.handle,
            thread,
            probe,
            picked_at_us: now_us,
            lease_until_us: membership.plan.lease_until_us(now_us),
        };
        let Some(ticket) = self.tickets.open(&filled) else {
            return Err(self.no_ticket(member.handle, probe));
        };
        membership.service.picks.fetch_add(1, Ordering::Relaxed);
        if plan.balancer == Balancer::Adaptive {
            self.note_work(member.handle, now_us);
        }
        selection.trace.finish(&Decision {
            ticket,
            service,
            key_hash,
            chosen: member.handle,
            balancer: plan.balancer,
            class,
            hedge: false,
            at_us: now_us,
            retry_tokens,
            members: membership.members.len(),
        });
        caller.picks = caller.picks.wrapping_add(1);
        out.instance = member.handle;
        out.thread = member.thread;
        out.probe = probe.is_held();
        Ok(ticket)
    }

    /// Too many requests are under way: what was taken is given back.
    #[cold]
    #[inline(never)]
    pub(crate) fn no_ticket(&self, instance: u32, probe: Probe) -> Refusal {
        if let Some(state) = self.cells.state(instance) {
            state.breaker.release_probe(probe);
        }
        self.view(instance).release();
        Refusal {
            retry_after_ms: 1,
            ..Refusal::of(Status::LimitExceeded)
        }
    }

    /// `adaptive`: an instance that had nothing to do has something from now on.
    pub(crate) fn note_work(&self, instance: u32, now_us: u64) {
        if self.view(instance).get(word::IN_FLIGHT) == 1
            && let Some(state) = self.cells.state(instance)
        {
            state.answered_at_us.store(now_us, Ordering::Relaxed);
        }
    }

    /// Takes a token for a request.
    #[cold]
    #[inline(never)]
    pub(crate) fn admit(
        membership: &Membership,
        key_hash: u32,
        now_us: u64,
    ) -> Result<(), Refusal> {
        let bucket = &membership.service.rate_limit;
        let taken = bucket.take(&membership.policy.rate_limit, key_hash, now_us);
        taken.map_err(|retry_after_ms| Refusal {
            retry_after_ms,
            ..Refusal::of(Status::RateLimited)
        })
    }

    /// An eligible member with its place taken.
    #[inline]
    fn choose(
        &self,
        selection: &mut Selection<'_>,
        rng: &mut Rng,
        service: u32,
    ) -> Option<(usize, Probe)> {
        self.choose_unblocked(selection, rng, service)
            .or_else(|| self.choose_blocked(selection, rng, service))
    }

    /// Nobody is eligible: a member whose event loop is blocked is better than a refusal.
    #[cold]
    fn choose_blocked(
        &self,
        selection: &mut Selection<'_>,
        rng: &mut Rng,
        service: u32,
    ) -> Option<(usize, Probe)> {
        let mut members = selection.membership.members.iter();
        if !members.any(|member| self.view(member.handle).is_blocked()) {
            return None;
        }
        selection.accept_blocked = true;
        // What was noted of them is not what they were chosen by.
        selection.trace.clear();
        self.choose_unblocked(selection, rng, service)
    }

    #[inline]
    fn choose_unblocked(
        &self,
        selection: &mut Selection<'_>,
        rng: &mut Rng,
        service: u32,
    ) -> Option<(usize, Probe)> {
        for _ in 0..ATTEMPTS {
            let proposal = selection.propose(rng)?;
            selection.record(proposal);
            if let Some(probe) = self.take(selection, proposal, service) {
                return Some((proposal.index as usize, probe));
            }
        }
        self.choose_any(selection, service)
    }

    /// Others were faster each time. Takes whatever is left.
    #[cold]
    #[inline(never)]
    fn choose_any(&self, selection: &mut Selection<'_>, service: u32) -> Option<(usize, Probe)> {
        (0..selection.membership.members.len()).find_map(|index| {
            let candidate = selection.assess(index);
            if !candidate.is_eligible() {
                return None;
            }
            selection.record(candidate.proposal());
            let probe = self.take(selection, candidate.proposal(), service)?;
            Some((index, probe))
        })
    }

    /// Takes a place on a member, and a probe place if it is half-open.
    #[inline(always)]
    fn take(&self, selection: &Selection<'_>, proposal: Proposal, service: u32) -> Option<Probe> {
        let handle = selection.membership.members[proposal.index as usize].handle;
        let view = self.view(handle);
        if proposal.probe {
            return self.take_probe(selection, handle, service);
        }
        view.reserve(selection.limit(view.get(word::LIMIT)))
            .then_some(Probe::NONE)
    }

    #[cold]
    #[inline(never)]
    fn take_probe(&self, selection: &Selection<'_>, instance: u32, service: u32) -> Option<Probe> {
        let state = self.cells.state(instance)?;
        let policy = &selection.membership.policy.breaker;
        let (probe, transition) = state.breaker.lease_probe(policy, selection.now_us)?;
        if let Some(transition) = transition {
            self.breaker_changed(service, instance, transition, selection.now_us);
        }
        let view = self.view(instance);
        if probe.is_held() && view.reserve(selection.limit(view.get(word::LIMIT))) {
            return Some(probe);
        }
        state.breaker.release_probe(probe);
        None
    }

    /// Why none was eligible, the most hopeful reason first: a place will be free, a breaker will close, never.
    #[cold]
    #[inline(never)]
    fn refuse(selection: &Selection<'_>) -> Refusal {
        let service = &selection.membership.service;
        service
            .rate_limit
            .give_back(&selection.membership.policy.rate_limit);
        let typical_us = service.typical_latency_us();
        let typical_ms = ((typical_us / 1_000.0).ceil() as u64).clamp(1, LONGEST_ADVICE_MS);
        let (mut busy, mut rejected, mut ejected, mut draining) = (false, false, false, false);
        let mut eligible_at_us = u64::MAX;
        for index in 0..selection.membership.members.len() {
            let filter = selection.look(index).filter;
            if let Some(filter) = filter {
                eligible_at_us = eligible_at_us.min(selection.eligible_at_us(index, filter));
            }
            match filter {
                // Eligible again since it was looked at, or blocked since then: as good as a place that becomes free.
                None | Some(Filter::AtLimit | Filter::Blocked) => busy = true,
                // Time alone helps, and it is known which.
                Some(Filter::RejectedRecently) => rejected = true,
                Some(Filter::BreakerOpen | Filter::ProbeTaken | Filter::Ejected) => ejected = true,
                Some(Filter::Draining) => draining = true,
                Some(Filter::Dead) => {}
            }
        }
        let status = match (busy || rejected, ejected, draining) {
            (true, _, _) => Status::Saturated,
            (_, true, _) => Status::BreakerOpen,
            (_, _, true) => Status::Draining,
            _ => return Refusal::of(Status::NoInstance),
        };
        if status == Status::Draining {
            return Refusal::of(status);
        }
        let mut retry_after_ms = LONGEST_ADVICE_MS;
        if eligible_at_us != u64::MAX {
            retry_after_ms = eligible_at_us
                .saturating_sub(selection.now_us)
                .div_ceil(1_000);
        }
        if busy {
            retry_after_ms = retry_after_ms.min(typical_ms);
        }
        Refusal {
            status,
            retry_after_ms: retry_after_ms.clamp(1, LONGEST_ADVICE_MS) as u32,
            eligible_at_us,
        }
    }
}
