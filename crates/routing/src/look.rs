//! What there is to know of one member at a pick: whether it is eligible, and its score.

use linkmesh_registry::Health;

use crate::adaptive;
use crate::breaker::Verdict;
use crate::candidate::{Candidate, Filter};
use crate::cells::{InstanceState, View, instance_word as word, state_flag};
use crate::ejection::LONGEST_REJECTED_US;
use crate::estimate::{faded_to, stored, to_ms};
use crate::policy::Balancer;
use crate::select::Selection;
use crate::sync::Ordering;

/// Weight of p² in requests in flight.
const FAILING_WEIGHT: f64 = 1_000.0;
/// Score of a probe that is due.
const PROBE_SCORE: f64 = -1.0;

const HEALTHY: u32 = Health::Healthy as u32;
const DEGRADED: u32 = Health::Degraded as u32;
const DRAINING: u32 = Health::Draining as u32;

impl Selection<'_> {
    /// Of a calm instance this reads nothing but its public line.
    #[inline(always)]
    pub(crate) fn look(&self, index: usize) -> Candidate {
        let handle = self.membership.members[index].handle;
        let view = self.cells.view(handle);
        let mut candidate = Candidate::of(index, handle, view);
        if !candidate.is_calm(view) {
            self.look_closer(&mut candidate, view);
            return candidate;
        }
        if self.is_at_limit(&candidate, view) {
            candidate.filter = Some(Filter::AtLimit);
        } else {
            candidate.score = self.score_of_calm(&candidate, view);
        }
        candidate
    }

    /// Whether it has as many requests in flight as one of this class may add to.
    #[inline(always)]
    pub(crate) fn is_at_limit(&self, candidate: &Candidate, view: View<'_>) -> bool {
        let limit = self.limit(view.get(word::LIMIT));
        limit != 0 && candidate.in_flight >= limit
    }

    /// At one that is not healthy, is blocked or late, or that something may speak against.
    #[cold]
    #[inline(never)]
    fn look_closer(&self, candidate: &mut Candidate, view: View<'_>) {
        let handle = candidate.handle;
        let Some(state) = self.cells.state(handle).filter(|_| view.is(handle)) else {
            candidate.filter = Some(Filter::Dead);
            candidate.state = Health::Dead as u32;
            return;
        };
        candidate.filter = match candidate.state & 15 {
            HEALTHY | DEGRADED
                if candidate.state & state_flag::BLOCKED != 0 && !self.accept_blocked =>
            {
                Some(Filter::Blocked)
            }
            HEALTHY | DEGRADED => self.kept_out(&mut candidate.probe, state),
            DRAINING => Some(Filter::Draining),
            _ => Some(Filter::Dead),
        };
        if candidate.filter.is_some() {
            return;
        }
        if self.is_at_limit(candidate, view) {
            candidate.filter = Some(Filter::AtLimit);
        } else if self.is_rejected(state) {
            candidate.filter = Some(Filter::RejectedRecently);
        } else {
            candidate.score = self.score(candidate, view, state);
            if candidate.state & state_flag::LAGGING != 0 {
                candidate.score = self.score_late(candidate, view);
            }
        }
    }

    /// A score with what the event loop's lag adds to it: as many requests as the service answers in that time. For
    /// balancers whose score is not a latency already, in which the lag is measured.
    #[cold]
    fn score_late(&self, candidate: &Candidate, view: View<'_>) -> f64 {
        let balancer = self.membership.policy.balancer;
        if self.key_hash != 0 || candidate.probe || balancer != Balancer::LeastRequest {
            return candidate.score;
        }
        let lag_us = f64::from(view.get(word::LAG_US));
        let weight = f64::from(self.membership.members[candidate.index].weight);
        candidate.score + lag_us / self.membership.service.typical_latency_us() / weight
    }

    /// Whether it answered Rejected a moment ago.
    #[inline]
    fn is_rejected(&self, state: &InstanceState) -> bool {
        let until_us = state.rejected_until_us.load(Ordering::Relaxed);
        // Longer than it can be: the clock stepped back, and it is over.
        until_us > self.now_us && until_us - self.now_us <= LONGEST_REJECTED_US
    }

    /// Why its breaker or outlier detection refuses it. Notes when it would be a probe.
    #[inline]
    fn kept_out(&self, probe: &mut bool, state: &InstanceState) -> Option<Filter> {
        if self.panic {
            // What keeps single ones out says little when most are out.
            return None;
        }
        let policy = &self.membership.policy.breaker;
        match state.breaker.verdict(policy, self.now_us) {
            Verdict::Admit if state.ejection.is_out(self.now_us) => Some(Filter::Ejected),
            Verdict::Admit => None,
            Verdict::Probe => {
                *probe = true;
                None
            }
            Verdict::Open(_) => Some(Filter::BreakerOpen),
            Verdict::ProbeTaken(_) => Some(Filter::ProbeTaken),
        }
    }

    /// When time alone lifts the filter of a member, microseconds; `u64::MAX` = never, or nobody knows.
    #[cold]
    pub(crate) fn eligible_at_us(&self, index: usize, filter: Filter) -> u64 {
        let Some(state) = self.cells.state(self.membership.members[index].handle) else {
            return u64::MAX;
        };
        let policy = &self.membership.policy.breaker;
        match filter {
            Filter::RejectedRecently => state.rejected_until_us.load(Ordering::Relaxed),
            Filter::Ejected => state.ejection.until_us.load(Ordering::Relaxed),
            Filter::BreakerOpen | Filter::ProbeTaken => {
                match state.breaker.verdict(policy, self.now_us) {
                    Verdict::Open(until_us) | Verdict::ProbeTaken(until_us) => until_us,
                    Verdict::Admit | Verdict::Probe => self.now_us,
                }
            }
            Filter::Dead | Filter::Draining | Filter::AtLimit | Filter::Blocked => u64::MAX,
        }
    }

    /// The score of an instance that does not fail, and is no probe.
    #[inline(always)]
    fn score_of_calm(&self, candidate: &Candidate, view: View<'_>) -> f64 {
        if self.key_hash != 0 {
            return f64::NAN;
        }
        let busy = f64::from(candidate.in_flight);
        let weight = f64::from(self.membership.members[candidate.index].weight);
        match self.membership.plan.balancer {
            Balancer::RoundRobin | Balancer::Weighted | Balancer::Random => f64::NAN,
            Balancer::LeastRequest
            | Balancer::ConsistentHash
            | Balancer::Maglev
            | Balancer::Rendezvous => busy / weight,
            Balancer::Adaptive if self.is_cold(candidate, view) => (busy + 1.0) / weight,
            Balancer::Adaptive | Balancer::PeakEwma => self.score_by_latency(candidate, view),
        }
    }

    /// `adaptive`: whether it is for certain about as fast as usual, which costs no division. Nothing that fades
    /// towards the usual is further from it than it was.
    #[inline(always)]
    pub(crate) fn is_cold(&self, candidate: &Candidate, view: View<'_>) -> bool {
        f64::from(stored(view.recent().load(Ordering::Relaxed))) <= self.cold_us
            && (candidate.in_flight == 0 || self.silence_us(candidate) <= self.cold_us)
    }

    /// `adaptive`: time since it answered, while it has work, microseconds.
    #[inline]
    fn silence_us(&self, candidate: &Candidate) -> f64 {
        if candidate.in_flight == 0 {
            return 0.0;
        }
        let state = self.cells.state(candidate.handle);
        let since_us = state.map_or(self.now_us, |state| {
            state.answered_at_us.load(Ordering::Relaxed)
        });
        self.now_us.saturating_sub(since_us) as f64
    }

    #[inline(never)]
    fn score_by_latency(&self, candidate: &Candidate, view: View<'_>) -> f64 {
        match self.cells.state(candidate.handle) {
            Some(state) => self.score(candidate, view, state),
            None => f64::MAX,
        }
    }

    /// Requests in flight and failures by weight, whatever the balancer; lower is better.
    pub(crate) fn load(&self, candidate: &Candidate) -> f64 {
        let failing = self
            .cells
            .state(candidate.handle)
            .map_or(0.0, |state| state.failing.faded(to_ms(self.now_us)));
        let busy = f64::from(candidate.in_flight) + FAILING_WEIGHT * (failing * failing);
        busy / f64::from(self.membership.members[candidate.index].weight)
    }

    /// By the rule of the balancer. A key is no question of scores.
    #[inline(never)]
    fn score(&self, candidate: &Candidate, view: View<'_>, state: &InstanceState) -> f64 {
        let balancer = self.membership.plan.balancer;
        if self.key_hash != 0 {
            return f64::NAN;
        }
        if matches!(
            balancer,
            Balancer::RoundRobin | Balancer::Weighted | Balancer::Random
        ) {
            return f64::NAN;
        }
        if candidate.probe {
            return PROBE_SCORE;
        }
        if balancer == Balancer::Adaptive {
            return self.adaptive_score(candidate, view, state);
        }
        let now_ms = to_ms(self.now_us);
        let failing = state.failing.faded(now_ms);
        let busy = f64::from(candidate.in_flight) + FAILING_WEIGHT * (failing * failing);
        let weight = f64::from(self.membership.members[candidate.index].weight);
        let score = if balancer == Balancer::PeakEwma {
            let measured = state.latency.faded(now_ms);
            let latency_us = if measured == 0.0 {
                self.membership.service.typical_latency_us()
            } else {
                measured
            };
            latency_us * (busy + 1.0) / weight
        } else {
            busy / weight
        };
        finite(score)
    }

    /// See [`adaptive`].
    pub(crate) fn adaptive_score(
        &self,
        candidate: &Candidate,
        view: View<'_>,
        state: &InstanceState,
    ) -> f64 {
        let now_ms = to_ms(self.now_us);
        // When all fail alike, the one that fails a little less must not get everything.
        let failing = (state.failing.faded(now_ms) - self.usual_failing).max(0.0);
        let usual_us = self.membership.service.recent_latency_us();
        let recent = view.recent().load(Ordering::Relaxed);
        finite(adaptive::score(adaptive::Signals {
            busy: f64::from(candidate.in_flight) + FAILING_WEIGHT * (failing * failing),
            crowd: (f64::from(candidate.in_flight) + 1.0) / (self.usual_in_flight + 1.0),
            weight: f64::from(self.membership.members[candidate.index].weight),
            latency_us: faded_to(recent, usual_us, now_ms, adaptive::FORGIVEN_MS),
            usual_us,
            silence_us: self.silence_us(candidate),
        }))
    }
}

/// Estimates are finite and weights at least 1; should that ever break, the member loses instead of winning.
fn finite(score: f64) -> f64 {
    if score.is_finite() { score } else { f64::MAX }
}
