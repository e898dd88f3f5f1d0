//! What there is to know of one member at a pick: whether it is eligible, and its score.

use linkmesh_registry::Health;

use crate::adaptive;
use crate::breaker::Verdict;
use crate::candidate::{Candidate, Filter};
use crate::cells::{InstanceState, View, instance_word as word, state_flag};
use crate::ejection::LONGEST_REJECTED_US;
use crate::estimate::to_ms;
use crate::hash::rendezvous_score;
use crate::policy::Balancer;
use crate::select::Selection;
use crate::sync::Ordering;

/// Weight of p² in requests in flight.
const FAILING_WEIGHT: f64 = 1_000.0;
/// Score of a probe that is due.
const PROBE_SCORE: f64 = -1.0;

impl Selection<'_> {
    #[inline]
    pub(crate) fn look(&self, index: usize) -> Candidate {
        let member = &self.membership.members[index];
        let view = self.cells.view(member.handle);
        let mut candidate = Candidate {
            index,
            handle: member.handle,
            filter: None,
            probe: false,
            limit: view.get(word::LIMIT),
            in_flight: view.get(word::IN_FLIGHT),
            latency_us: f32::from_bits(view.get(word::LATENCY_US)),
            breaker: view.breaker(),
            health: view.health(),
            score: f64::NAN,
            eligible_at_us: u64::MAX,
        };
        let Some(state) = self
            .cells
            .state(member.handle)
            .filter(|_| view.is(member.handle))
        else {
            return Candidate {
                filter: Some(Filter::Dead),
                health: Health::Dead,
                ..candidate
            };
        };
        match candidate.health {
            Health::Healthy | Health::Degraded => {}
            Health::Draining => candidate.filter = Some(Filter::Draining),
            Health::Dead => candidate.filter = Some(Filter::Dead),
        }
        if candidate.filter.is_some() {
            return candidate;
        }
        let flags = view.get(word::STATE);
        if flags & state_flag::BLOCKED != 0 && !self.accept_blocked {
            candidate.filter = Some(Filter::Blocked);
            return candidate;
        }
        if self.panic {
            // What keeps single ones out says little when most are out.
        } else if let Some(out) = self.kept_out(&mut candidate, state) {
            return out;
        }
        if candidate.limit != 0 && candidate.in_flight >= candidate.limit {
            candidate.filter = Some(Filter::AtLimit);
            return candidate;
        }
        let rejected_until_us = state.rejected_until_us.load(Ordering::Relaxed);
        // Longer than it can be: the clock stepped back, and it is over.
        if rejected_until_us > self.now_us && rejected_until_us - self.now_us <= LONGEST_REJECTED_US
        {
            return Candidate {
                filter: Some(Filter::RejectedRecently),
                eligible_at_us: rejected_until_us,
                ..candidate
            };
        }
        candidate.score = self.score(&candidate, state);
        if flags & state_flag::LAGGING != 0 {
            candidate.score = self.score_late(&candidate, view);
        }
        candidate
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

    /// The candidate as refused by its breaker or by outlier detection. Notes when it would be a probe.
    #[inline]
    fn kept_out(&self, candidate: &mut Candidate, state: &InstanceState) -> Option<Candidate> {
        let (filter, eligible_at_us) = match state
            .breaker
            .verdict(&self.membership.policy.breaker, self.now_us)
        {
            Verdict::Admit if state.ejection.is_out(self.now_us) => (
                Filter::Ejected,
                state.ejection.until_us.load(Ordering::Relaxed),
            ),
            Verdict::Admit => return None,
            Verdict::Probe => {
                candidate.probe = true;
                return None;
            }
            Verdict::Open(until_us) => (Filter::BreakerOpen, until_us),
            Verdict::ProbeTaken(until_us) => (Filter::ProbeTaken, until_us),
        };
        Some(Candidate {
            filter: Some(filter),
            eligible_at_us,
            ..*candidate
        })
    }

    #[inline]
    fn score(&self, candidate: &Candidate, state: &InstanceState) -> f64 {
        let member = &self.membership.members[candidate.index];
        let balancer = self.membership.policy.balancer;
        if self.key_hash != 0 {
            return match balancer {
                Balancer::ConsistentHash | Balancer::Maglev => f64::NAN,
                _ => rendezvous_score(self.key_hash, member.affinity, member.weight),
            };
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
        let now_ms = to_ms(self.now_us);
        let mut failing = state.failing.faded(now_ms);
        if balancer == Balancer::Adaptive {
            // When all fail alike, the one that fails a little less must not get everything.
            failing = (failing - self.usual_failing).max(0.0);
        }
        let busy = f64::from(candidate.in_flight) + FAILING_WEIGHT * (failing * failing);
        let weight = f64::from(member.weight);
        let score = match balancer {
            Balancer::PeakEwma => {
                let measured = state.latency.faded(now_ms);
                let latency_us = if measured == 0.0 {
                    self.membership.service.typical_latency_us()
                } else {
                    measured
                };
                latency_us * (busy + 1.0) / weight
            }
            Balancer::Adaptive => {
                let silence_us = if candidate.in_flight == 0 {
                    0
                } else {
                    let since_us = state.answered_at_us.load(Ordering::Relaxed);
                    self.now_us.saturating_sub(since_us)
                };
                let usual_us = self.membership.service.recent_latency_us();
                adaptive::score(adaptive::Signals {
                    busy,
                    crowd: (f64::from(candidate.in_flight) + 1.0) / (self.usual_in_flight + 1.0),
                    weight,
                    latency_us: state
                        .recent
                        .faded_to(usual_us, now_ms, adaptive::FORGIVEN_MS),
                    usual_us,
                    silence_us: silence_us as f64,
                })
            }
            _ => busy / weight,
        };
        // Estimates are finite and weights at least 1; should that ever break, the member loses instead of winning.
        if score.is_finite() { score } else { f64::MAX }
    }
}
