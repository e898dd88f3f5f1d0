//! `complete`: give the place back, learn, pass the place on.

use linkmesh_registry::Status;
use linkmesh_tables::epoch::Guard;

use crate::adaptive::{FORGIVEN_MS, LATENCY_STEP, SERVICE_STEP};
use crate::cells::{InstanceState, View, instance_word as word};
use crate::ejection::LONGEST_REJECTED_US;
use crate::estimate::{faded_to, lean, to_ms};
use crate::membership::Membership;
use crate::outcome::Outcome;
use crate::policy::Balancer;
use crate::router::{Completed, Router};
use crate::sync::Ordering;
use crate::ticket::Filled;

/// How far one result moves the share of failures.
const FAILING_STEP: f64 = 1.0 / 16.0;
/// Below this the share is none.
const FAILING_FLOOR: f64 = 0.001;
/// Longest latency that is believed, microseconds: eleven days.
const LONGEST_US: u64 = 1 << 40;

/// How a request ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    outcome: Outcome,
    latency_us: u64,
    /// The caller said how long it took.
    measured: bool,
    /// 0 = the instance did not say.
    retry_after_ms: u32,
}

/// An answer and what it is about.
#[derive(Clone, Copy)]
struct Answer<'a> {
    view: View<'a>,
    state: &'a InstanceState,
    membership: &'a Membership,
    filled: &'a Filled,
    ended: Ended,
    now_us: u64,
}

impl Router {
    /// Ends a request: its place is free, and the router learns how it went. `latency_us` negative: the time since
    /// the pick. When somebody waits for the service, the place goes to the first in the queue.
    ///
    /// A failure is never "fast and healthy": it counts with at least the instance's and the service's latency, moves
    /// the share of failures and, when it was Rejected, keeps the instance out for a while. Cancelled says nothing, but
    /// that the instance took at least `latency_us`, if that is given: it raises the estimate and never lowers it.
    ///
    /// Cost: no lock unless somebody waits; no allocation, but, for an instance without a histogram of its own or a latency above two
    /// minutes, 256 bytes for the first latency in each octave.
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
        self.end(guard, ticket, outcome, latency_us, 0, now_us)
    }

    /// As [`complete`](Self::complete) with `Rejected`, when the instance said for how long: it is not eligible before
    /// `retry_after_ms`, at most five minutes and at least the policy's `rejected_ms`.
    ///
    /// # Errors
    /// `StaleTicket`.
    pub fn complete_rejected(
        &self,
        guard: &Guard<'_>,
        ticket: u64,
        latency_us: i64,
        retry_after_ms: u32,
        now_us: u64,
    ) -> Result<Completed, Status> {
        let outcome = Outcome::Rejected;
        self.end(guard, ticket, outcome, latency_us, retry_after_ms, now_us)
    }

    #[inline]
    fn end(
        &self,
        guard: &Guard<'_>,
        ticket: u64,
        outcome: Outcome,
        latency_us: i64,
        retry_after_ms: u32,
        now_us: u64,
    ) -> Result<Completed, Status> {
        let service = self
            .close(guard, ticket, outcome, latency_us, retry_after_ms, now_us)
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
        Completed::new(granted_thread, queue.has_wakes())
    }

    /// Everything but passing the place on. The service, for the one caller who closed the ticket.
    #[inline]
    pub(crate) fn close(
        &self,
        guard: &Guard<'_>,
        ticket: u64,
        outcome: Outcome,
        latency_us: i64,
        retry_after_ms: u32,
        now_us: u64,
    ) -> Option<u32> {
        let filled = self.tickets.close(ticket)?;
        let measured = latency_us >= 0;
        let latency_us = if latency_us < 0 {
            // A clock that stepped back: no time passed.
            now_us.saturating_sub(filled.picked_at_us)
        } else {
            latency_us as u64
        }
        .min(LONGEST_US);
        let view = self.view(filled.instance);
        let membership = self.membership(guard, filled.service);
        let mut histogram = membership.map(|membership| &membership.service.histogram);
        // Slots of removed instances rest for a thousand removals before they are given out again, so a slot that is
        // ours here is still ours a moment later.
        if view.is(filled.instance) {
            match membership.zip(self.cells.state(filled.instance)) {
                Some((membership, state)) => {
                    histogram = self.series.of(filled.instance, state).or(histogram);
                    let ended = Ended {
                        outcome,
                        latency_us,
                        measured,
                        retry_after_ms,
                    };
                    let answer = Answer {
                        view,
                        state,
                        membership,
                        filled: &filled,
                        ended,
                        now_us,
                    };
                    if outcome == Outcome::Ok {
                        self.learn_good(&answer);
                        if view.is_watched() {
                            state.settle(view, now_us);
                        }
                        view.release_good(state);
                    } else {
                        self.learn_bad(&answer);
                        view.release();
                    }
                }
                None => view.release(),
            }
        }
        if let Some(histogram) = histogram
            && outcome != Outcome::Cancelled
        {
            histogram.record(latency_us as f64);
        }
        Some(filled.service)
    }

    #[inline]
    fn learn_good(&self, answer: &Answer<'_>) {
        let Answer { view, state, .. } = *answer;
        let now_ms = to_ms(answer.now_us);
        // Never 0: that is what "never measured" looks like.
        let sample = answer.ended.latency_us.max(1) as f64;
        answer.membership.service.latency.mean(sample, now_ms);
        state
            .failing
            .approach(0.0, FAILING_STEP, FAILING_FLOOR, now_ms);
        if let Some(estimate) = state.latency.peak(sample, now_ms) {
            view.set(word::LATENCY_US, estimate.to_bits());
        }
        if answer.membership.plan.features.has_learning() {
            self.learn_more(answer, sample);
        } else {
            self.judge(answer, true);
        }
    }

    #[cold]
    #[inline(never)]
    fn learn_bad(&self, answer: &Answer<'_>) {
        let Answer {
            view,
            state,
            membership,
            filled,
            ended,
            now_us,
        } = *answer;
        state.count(ended.outcome);
        if ended.outcome == Outcome::Cancelled {
            view.count(word::CANCELLED);
            if ended.measured {
                Self::learn_bound(answer);
            }
            state.breaker.release_probe(filled.probe);
            return;
        }
        view.count(word::FAILED);
        let now_ms = to_ms(now_us);
        let known = f64::from(state.latency.stored());
        let typical = membership.service.typical_latency_us();
        let sample = (ended.latency_us.max(1) as f64).max(known).max(typical);
        state
            .failing
            .approach(1.0, FAILING_STEP, FAILING_FLOOR, now_ms);
        if let Some(estimate) = state.latency.peak(sample, now_ms) {
            view.set(word::LATENCY_US, estimate.to_bits());
        }
        if ended.outcome == Outcome::Rejected {
            let rejected_ms = membership.policy.rejected_ms.max(ended.retry_after_ms);
            let rejected_us = (u64::from(rejected_ms) * 1_000).min(LONGEST_REJECTED_US);
            let until_us = now_us.saturating_add(rejected_us);
            state.rejected_until_us.store(until_us, Ordering::Relaxed);
        }
        // After what is known against it was written, as far as that is no transition of the breaker.
        view.watch();
        if membership.plan.features.has_learning() {
            self.learn_more(answer, sample);
        } else {
            self.judge(answer, false);
        }
    }

    /// A request was given up: its instance would have taken longer still.
    #[cold]
    #[inline(never)]
    fn learn_bound(answer: &Answer<'_>) {
        let Answer {
            view,
            state,
            membership,
            ended,
            now_us,
            ..
        } = *answer;
        let (sample, now_ms) = (ended.latency_us as f64, to_ms(now_us));
        let known = match state.latency.stored() {
            0.0 => membership.service.typical_latency_us(),
            stored => f64::from(stored),
        };
        if sample > known
            && let Some(estimate) = state.latency.peak(sample, now_ms)
        {
            view.set(word::LATENCY_US, estimate.to_bits());
        }
        if membership.policy.balancer == Balancer::Adaptive {
            let usual_us = membership.service.recent_latency_us();
            let recent = view.recent();
            let known = recent.load(Ordering::Relaxed);
            if sample > faded_to(known, usual_us, now_ms, FORGIVEN_MS) {
                lean(recent, sample, LATENCY_STEP, usual_us, now_ms, FORGIVEN_MS);
            }
        }
    }

    /// What not every policy asks for, and then the breaker.
    #[inline(never)]
    fn learn_more(&self, answer: &Answer<'_>, sample: f64) {
        let Answer {
            view,
            state,
            membership,
            filled,
            ended,
            now_us,
        } = *answer;
        let (policy, service) = (&membership.policy, &membership.service);
        let good = ended.outcome == Outcome::Ok;
        let now_ms = to_ms(now_us);
        if policy.balancer == Balancer::Adaptive {
            let usual_us = service.recent_latency_us();
            if good {
                service
                    .recent
                    .lean(sample, SERVICE_STEP, usual_us, now_ms, u32::MAX);
            }
            let recent = view.recent();
            lean(recent, sample, LATENCY_STEP, usual_us, now_ms, FORGIVEN_MS);
            state.answered_at_us.store(now_us, Ordering::Relaxed);
        }
        if policy.adaptive_concurrency.enabled {
            let refused = matches!(ended.outcome, Outcome::Rejected | Outcome::Timeout);
            let limit = state.limiter.record(
                &policy.adaptive_concurrency,
                ended.latency_us,
                refused,
                view.get(word::IN_FLIGHT),
                view.get(word::LIMIT),
                now_us,
            );
            if let Some(limit) = limit {
                view.set(word::LIMIT, limit);
            }
        }
        let slow_us = u64::from(policy.breaker.slow_call_ms) * 1_000;
        let slow = slow_us != 0 && ended.latency_us >= slow_us;
        // A probe that answers well but slowly has not shown that the instance is back.
        let good = good && !(slow && filled.probe.is_held());
        if policy.outlier.enabled
            && let Some(signal) = ended.outcome.health_signal()
        {
            self.count_failures(membership, view, state, signal && good, now_us);
        }
        if good && !filled.probe.is_held() && slow_us != 0 {
            let opened = state.breaker.record_duration(&policy.breaker, slow, now_us);
            if let Some(transition) = opened {
                self.breaker_changed(filled.service, filled.instance, transition, now_us);
                return;
            }
        }
        self.judge(answer, good);
    }

    /// Tells the breaker.
    #[inline]
    fn judge(&self, answer: &Answer<'_>, good: bool) {
        let filled = answer.filled;
        let breaker = &answer.state.breaker;
        if answer.ended.outcome.health_signal().is_none() {
            breaker.release_probe(filled.probe);
            return;
        }
        let policy = &answer.membership.policy.breaker;
        if let Some(transition) = breaker.record(policy, good, filled.probe, answer.now_us) {
            self.breaker_changed(filled.service, filled.instance, transition, answer.now_us);
        }
    }
}
