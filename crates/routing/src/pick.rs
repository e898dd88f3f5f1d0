//! `pick`: choose, reserve, ticket.

use linkmesh_registry::Status;
use linkmesh_tables::epoch::Guard;

use crate::breaker::Probe;
use crate::candidate::{Candidate, Filter};
use crate::cells::{header_word, instance_word as word};
use crate::explain::{Decision, note};
use crate::membership::Membership;
use crate::policy::Balancer;
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
    /// while that is eligible. `thread` is the caller's: when it ends, so do its tickets.
    ///
    /// Cost: no lock, no allocation. Two members are looked at with `least-request` and `peak-ewma`, few with
    /// `round-robin` and `weighted`, all with a key; all before anything is refused.
    ///
    /// # Errors
    /// `StaleHandle`, `NoInstance`, `Draining`, `BreakerOpen`, `Saturated` ([`wait`](Self::wait) may queue), or
    /// `LimitExceeded` when 262,144 requests are under way. `out.retry_after_ms` says when to come back.
    #[allow(
        clippy::too_many_arguments,
        reason = "the boundary's hot call: numbers only, no struct to build per message"
    )]
    #[inline]
    pub fn pick(
        &self,
        guard: &Guard<'_>,
        rng: &mut Rng,
        service: u32,
        key_hash: u32,
        thread: u32,
        now_us: u64,
        out: &mut Picked,
    ) -> Result<u64, Status> {
        *out = Picked::default();
        let Some(membership) = self.membership(guard, service) else {
            return Err(Status::StaleHandle);
        };
        match self.pick_from(membership, rng, service, key_hash, thread, now_us, out) {
            Ok(ticket) => Ok(ticket),
            Err(refusal) => {
                out.retry_after_ms = refusal.retry_after_ms;
                Err(refusal.status)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "as `pick`")]
    pub(crate) fn pick_from(
        &self,
        membership: &Membership,
        rng: &mut Rng,
        service: u32,
        key_hash: u32,
        thread: u32,
        now_us: u64,
        out: &mut Picked,
    ) -> Result<u64, Refusal> {
        let mut selection = Selection::new(&self.cells, membership, key_hash, now_us);
        let Some((candidate, probe)) = self.choose(&mut selection, rng, service) else {
            return Err(Self::refuse(&selection));
        };
        let policy = &membership.policy;
        let member = &membership.members[candidate.index];
        let lease_until_us = now_us
            .saturating_add(u64::from(policy.ticket_lease_ms) * 1_000)
            .min(u64::MAX - 1);
        let filled = Filled {
            service,
            instance: member.handle,
            thread,
            probe,
            picked_at_us: now_us,
            lease_until_us,
        };
        let Some(ticket) = self.tickets.open(&filled) else {
            if let Some(probe) = probe {
                self.cells
                    .state(member.handle)
                    .map(|state| state.breaker.release_probe(probe));
            }
            self.view(member.handle).release();
            return Err(Refusal {
                retry_after_ms: 1,
                ..Refusal::of(Status::LimitExceeded)
            });
        };
        let tokens = membership.service.retry_tokens(&policy.retry, now_us);
        membership.service.picks.fetch_add(1, Ordering::Relaxed);
        self.view(member.handle).count(word::PICKED);
        self.header_word(header_word::IN_FLIGHT)
            .fetch_add(1, Ordering::Relaxed);
        if candidate.in_flight == 0
            && policy.balancer == Balancer::Adaptive
            && let Some(state) = self.cells.state(member.handle)
        {
            state.answered_at_us.store(now_us, Ordering::Relaxed);
        }
        note(&mut selection.trace, &candidate, true);
        let decision = Decision {
            ticket,
            service,
            key_hash,
            chosen: member.handle,
            balancer: policy.balancer,
            at_us: now_us,
            retry_tokens: tokens,
            truncated: membership.members.len() > selection.trace.len(),
        };
        self.explained.record(&decision, &selection.trace);
        *out = Picked {
            instance: member.handle,
            thread: member.thread,
            retry_after_ms: 0,
            probe: probe.is_some(),
        };
        Ok(ticket)
    }

    /// An eligible member with its place taken.
    #[inline]
    fn choose(
        &self,
        selection: &mut Selection<'_>,
        rng: &mut Rng,
        service: u32,
    ) -> Option<(Candidate, Option<Probe>)> {
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
    ) -> Option<(Candidate, Option<Probe>)> {
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
    ) -> Option<(Candidate, Option<Probe>)> {
        for _ in 0..ATTEMPTS {
            let candidate = selection.propose(rng)?;
            if let Ok(probe) =
                self.take(selection.membership, &candidate, service, selection.now_us)
            {
                return Some((candidate, probe));
            }
        }
        // Others were faster each time. Take whatever is left.
        (0..selection.membership.members.len()).find_map(|index| {
            let candidate = selection.assess(index);
            if candidate.filter.is_some() {
                return None;
            }
            self.take(selection.membership, &candidate, service, selection.now_us)
                .ok()
                .map(|probe| (candidate, probe))
        })
    }

    /// Takes a place on a member, and a probe place if it is half-open.
    #[inline]
    fn take(
        &self,
        membership: &Membership,
        candidate: &Candidate,
        service: u32,
        now_us: u64,
    ) -> Result<Option<Probe>, ()> {
        let probe = if candidate.probe {
            Some(
                self.lease_probe(membership, candidate, service, now_us)
                    .ok_or(())?,
            )
        } else {
            None
        };
        if self.view(candidate.handle).reserve(candidate.limit) {
            return Ok(probe);
        }
        if let (Some(probe), Some(state)) = (probe, self.cells.state(candidate.handle)) {
            state.breaker.release_probe(probe);
        }
        Err(())
    }

    #[cold]
    fn lease_probe(
        &self,
        membership: &Membership,
        candidate: &Candidate,
        service: u32,
        now_us: u64,
    ) -> Option<Probe> {
        let state = self.cells.state(candidate.handle)?;
        let (probe, transition) = state
            .breaker
            .lease_probe(&membership.policy.breaker, now_us)?;
        if let Some(transition) = transition {
            self.breaker_changed(service, candidate.handle, transition, now_us);
        }
        (probe.lease != 0).then_some(probe)
    }

    /// Why none was eligible, the most hopeful reason first: a place will be free, a breaker will close, never.
    #[cold]
    fn refuse(selection: &Selection<'_>) -> Refusal {
        let typical_us = selection.membership.service.typical_latency_us();
        let typical_ms = ((typical_us / 1_000.0).ceil() as u64).clamp(1, LONGEST_ADVICE_MS);
        let (mut busy, mut ejected, mut draining) = (false, false, false);
        let mut eligible_at_us = u64::MAX;
        for index in 0..selection.membership.members.len() {
            let candidate = selection.look(index);
            eligible_at_us = eligible_at_us.min(candidate.eligible_at_us);
            match candidate.filter {
                // Eligible again since it was looked at, or blocked since then: as good as a place that becomes free.
                None | Some(Filter::AtLimit | Filter::RejectedRecently | Filter::Blocked) => {
                    busy = true;
                }
                Some(Filter::BreakerOpen | Filter::ProbeTaken | Filter::Ejected) => ejected = true,
                Some(Filter::Draining) => draining = true,
                Some(Filter::Dead) => {}
            }
        }
        let status = match (busy, ejected, draining) {
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
