//! `complete`: give the place back, learn, pass the place on.

use linkmesh_registry::Status;
use linkmesh_tables::epoch::Guard;

use crate::adaptive::{FORGIVEN_MS, LATENCY_STEP, SERVICE_STEP};
use crate::cells::{View, header_word, instance_word as word};
use crate::estimate::to_ms;
use crate::membership::Membership;
use crate::outcome::Outcome;
use crate::policy::{Balancer, Policy};
use crate::router::{Completed, Router};
use crate::sync::Ordering;
use crate::ticket::Filled;

/// How far one result moves the share of failures.
const FAILING_STEP: f64 = 1.0 / 16.0;
/// Below this the share is none.
const FAILING_FLOOR: f64 = 0.001;
/// Longest latency that is believed, microseconds: eleven days.
const LONGEST_US: u64 = 1 << 40;

impl Router {
    /// Ends a request: its place is free, and the router learns how it went. `latency_us` negative: the time since
    /// the pick. When somebody waits for the service, the place goes to the first in the queue.
    ///
    /// A failure is never "fast and healthy": it counts with at least the instance's and the service's latency, moves
    /// the share of failures and, when it was Rejected, keeps the instance out for a while. Cancelled says nothing.
    ///
    /// Cost: no lock unless somebody waits; no allocation, but 256 bytes for the first latency in each octave.
    ///
    /// # Errors
    /// `InvalidArgument` for an outcome that is none; `StaleTicket` when it was completed before, its lease ran out,
    /// or it is no ticket of this router.
    #[inline]
    pub fn complete(
        &self,
        guard: &Guard<'_>,
        ticket: u64,
        outcome: u8,
        latency_us: i64,
        now_us: u64,
    ) -> Result<Completed, Status> {
        let outcome = Outcome::from_code(outcome).ok_or(Status::InvalidArgument)?;
        let service = self
            .close(guard, ticket, outcome, latency_us, now_us)
            .ok_or(Status::StaleTicket)?;
        let Some(membership) = self.membership(guard, service) else {
            return Ok(Completed::default());
        };
        // Acquire, after the place was released: either this sees the waiter, or the waiter sees the place; see
        // `reserve::look_for_place`.
        if membership.service.waiting.load(Ordering::Acquire) == 0 {
            return Ok(Completed::default());
        }
        Ok(self.grant_after(membership, service, now_us))
    }

    #[cold]
    fn grant_after(&self, membership: &Membership, service: u32, now_us: u64) -> Completed {
        let mut queue = self.queue();
        let threads = self.grant(&mut queue, membership, service, now_us);
        let granted_thread = threads.first().copied();
        for thread in threads
            .iter()
            .skip(1)
            .filter(|thread| Some(**thread) != granted_thread)
        {
            queue.wake_later(*thread);
        }
        Completed {
            granted_thread,
            more: queue.has_wakes(),
        }
    }

    /// Everything but passing the place on. The service, for the one caller who closed the ticket.
    #[inline]
    pub(crate) fn close(
        &self,
        guard: &Guard<'_>,
        ticket: u64,
        outcome: Outcome,
        latency_us: i64,
        now_us: u64,
    ) -> Option<u32> {
        let filled = self.tickets.close(ticket)?;
        self.header_word(header_word::IN_FLIGHT)
            .fetch_sub(1, Ordering::Relaxed);
        let latency_us = if latency_us < 0 {
            // A clock that stepped back: no time passed.
            now_us.saturating_sub(filled.picked_at_us)
        } else {
            latency_us as u64
        }
        .min(LONGEST_US);
        let view = self.view(filled.instance);
        let membership = self.membership(guard, filled.service);
        // Slots of removed instances rest for a thousand removals before they are given out again, so a slot that is
        // ours here is still ours a moment later.
        if view.is(filled.instance) {
            if let Some(membership) = membership {
                self.learn(view, membership, &filled, outcome, latency_us, now_us);
            }
            view.release();
        }
        if let Some(membership) = membership
            && outcome != Outcome::Cancelled
        {
            membership.service.histogram.record(latency_us as f64);
        }
        Some(filled.service)
    }

    #[inline]
    fn learn(
        &self,
        view: View<'_>,
        membership: &Membership,
        filled: &Filled,
        outcome: Outcome,
        latency_us: u64,
        now_us: u64,
    ) {
        let Some(state) = self.cells.state(filled.instance) else {
            return;
        };
        let policy: &Policy = &membership.policy;
        state.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Cancelled {
            if let Some(probe) = filled.probe {
                state.breaker.release_probe(probe);
            }
            return;
        }
        let now_ms = to_ms(now_us);
        // Never 0: that is what "never measured" looks like.
        let mut sample = latency_us.max(1) as f64;
        if outcome == Outcome::Ok {
            view.count(word::SUCCEEDED);
            membership.service.latency.mean(sample, now_ms);
            state
                .failing
                .approach(0.0, FAILING_STEP, FAILING_FLOOR, now_ms);
        } else {
            view.count(word::FAILED);
            let known = f64::from(state.latency.stored());
            let typical = membership.service.typical_latency_us();
            sample = sample.max(known).max(typical);
            state
                .failing
                .approach(1.0, FAILING_STEP, FAILING_FLOOR, now_ms);
        }
        if let Some(estimate) = state.latency.peak(sample, now_ms) {
            view.set(word::LATENCY_US, estimate.to_bits());
        }
        if policy.balancer == Balancer::Adaptive {
            let service = &membership.service;
            let usual_us = service.recent_latency_us();
            if outcome == Outcome::Ok {
                service
                    .recent
                    .lean(sample, SERVICE_STEP, usual_us, now_ms, u32::MAX);
            }
            state
                .recent
                .lean(sample, LATENCY_STEP, usual_us, now_ms, FORGIVEN_MS);
            state.answered_at_us.store(now_us, Ordering::Relaxed);
        }
        if outcome == Outcome::Rejected {
            let until_us = now_us.saturating_add(u64::from(policy.rejected_ms) * 1_000);
            state.rejected_until_us.store(until_us, Ordering::Relaxed);
        }
        match outcome.health_signal() {
            Some(ok) => {
                if let Some(transition) =
                    state
                        .breaker
                        .record(&policy.breaker, ok, filled.probe, now_us)
                {
                    self.breaker_changed(filled.service, filled.instance, transition, now_us);
                }
            }
            None => {
                if let Some(probe) = filled.probe {
                    state.breaker.release_probe(probe);
                }
            }
        }
    }
}
