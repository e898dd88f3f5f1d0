//! The balancers: which of the eligible members is picked. Changes nothing but the round-robin cursor.
//!
//! | balancer | looks at | score, lower is better |
//! |---|---|---|
//! | `round-robin`, `weighted` | the next positions of the turn | none |
//! | `least-request` | two random members, drawn by weight | (in-flight + 1,000·p²) / weight |
//! | `peak-ewma` | two random members, drawn by weight | latency · (in-flight + 1 + 1,000·p²) / weight |
//! | any, with a key | all members | rendezvous hash of key and member, by weight |
//!
//! p is the share of recent requests that failed, 0 to 1: a failure moves it 1/16 towards 1, a success 1/16 towards 0,
//! and it halves in ten seconds. A failure that answers at once has nothing in flight and looks free: one weighs like 4
//! requests in flight, ten in a row like 226, failing for good like 1,000.
//!
//! At equal scores the first drawn wins, so idle members are picked by weight. An instance that was never measured
//! is taken for the service's mean latency (30 ms before there is one): neither flooded nor starved. A half-open
//! instance whose probe is due scores -1, so that it is found out soon; its probe places bound what that can cost.

use linkmesh_registry::Health;

use crate::breaker::Verdict;
use crate::candidate::{Candidate, Filter, Trace};
use crate::cells::{Cells, instance_word as word};
use crate::estimate::to_ms;
use crate::explain::note;
use crate::hash::rendezvous_score;
use crate::membership::Membership;
use crate::policy::Balancer;
use crate::random::Rng;
use crate::sync::Ordering;

/// Positions of a turn that are tried before an eligible member is drawn.
const POSITIONS: usize = 64;
/// Pairs that are drawn before every member is looked at.
const PAIRS: usize = 3;
/// Weight of p² in requests in flight.
const FAILING_WEIGHT: f64 = 1_000.0;
/// Score of a probe that is due.
const PROBE_SCORE: f64 = -1.0;

/// One pick's view of one service.
pub(crate) struct Selection<'a> {
    pub(crate) cells: &'a Cells,
    pub(crate) membership: &'a Membership,
    pub(crate) key_hash: u32,
    pub(crate) now_us: u64,
    pub(crate) trace: Trace,
}

impl Selection<'_> {
    /// The best eligible member by the balancer's rule; `None` when none is eligible.
    #[inline]
    pub(crate) fn propose(&mut self, rng: &mut Rng) -> Option<Candidate> {
        if self.membership.members.is_empty() {
            return None;
        }
        if self.key_hash != 0 {
            return self.best_from(0);
        }
        match self.membership.policy.balancer {
            Balancer::RoundRobin | Balancer::Weighted => self.next_in_turn(rng),
            Balancer::LeastRequest | Balancer::PeakEwma => self.better_of_two(rng),
        }
    }

    /// What there is to know of a member, with its score when it is eligible.
    #[inline]
    pub(crate) fn assess(&mut self, index: usize) -> Candidate {
        let candidate = self.look(index);
        note(&mut self.trace, &candidate, false);
        candidate
    }

    #[inline]
    pub(crate) fn look(&self, index: usize) -> Candidate {
        let member = &self.membership.members[index];
        let policy = &self.membership.policy;
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
        match state.breaker.verdict(&policy.breaker, self.now_us) {
            Verdict::Admit => {}
            Verdict::Probe => candidate.probe = true,
            Verdict::Open(until_us) => {
                return Candidate {
                    filter: Some(Filter::BreakerOpen),
                    eligible_at_us: until_us,
                    ..candidate
                };
            }
            Verdict::ProbeTaken(until_us) => {
                return Candidate {
                    filter: Some(Filter::ProbeTaken),
                    eligible_at_us: until_us,
                    ..candidate
                };
            }
        }
        if candidate.limit != 0 && candidate.in_flight >= candidate.limit {
            candidate.filter = Some(Filter::AtLimit);
            return candidate;
        }
        let rejected_until_us = state.rejected_until_us.load(Ordering::Relaxed);
        // Longer than it can be: the clock stepped back, and it is over.
        if rejected_until_us > self.now_us
            && rejected_until_us - self.now_us <= u64::from(policy.rejected_ms) * 1_000
        {
            return Candidate {
                filter: Some(Filter::RejectedRecently),
                eligible_at_us: rejected_until_us,
                ..candidate
            };
        }
        candidate.score = self.score(&candidate, state);
        candidate
    }

    #[inline]
    fn score(&self, candidate: &Candidate, state: &crate::cells::InstanceState) -> f64 {
        let member = &self.membership.members[candidate.index];
        if self.key_hash != 0 {
            return rendezvous_score(self.key_hash, member.affinity, member.weight);
        }
        let balancer = self.membership.policy.balancer;
        if matches!(balancer, Balancer::RoundRobin | Balancer::Weighted) {
            return f64::NAN;
        }
        if candidate.probe {
            return PROBE_SCORE;
        }
        let now_ms = to_ms(self.now_us);
        let failing = state.failing.faded(now_ms);
        let busy = f64::from(candidate.in_flight) + FAILING_WEIGHT * (failing * failing);
        let score = if balancer == Balancer::LeastRequest {
            busy / f64::from(member.weight)
        } else {
            let measured = state.latency.faded(now_ms);
            let latency_us = if measured == 0.0 {
                self.membership.service.typical_latency_us()
            } else {
                measured
            };
            latency_us * (busy + 1.0) / f64::from(member.weight)
        };
        // Estimates are finite and weights at least 1; should that ever break, the member loses instead of winning.
        if score.is_finite() { score } else { f64::MAX }
    }

    fn next_in_turn(&mut self, rng: &mut Rng) -> Option<Candidate> {
        let membership = self.membership;
        let turns = if membership.schedule.is_empty() {
            membership.members.len()
        } else {
            membership.schedule.len()
        };
        for _ in 0..turns.min(POSITIONS) {
            // Looking at a position consumes it. Were the next eligible member taken without that, the one after a
            // failed one would get its own turn and the failed one's: double load, and soon a second failure.
            let position =
                (membership.service.cursor.fetch_add(1, Ordering::Relaxed) % turns as u64) as usize;
            let index = membership
                .schedule
                .get(position)
                .map_or(position, |&index| index as usize);
            let candidate = self.assess(index);
            if candidate.filter.is_none() {
                return Some(candidate);
            }
        }
        self.any_eligible(rng)
    }

    /// Few are eligible: draws one of them, by weight.
    #[cold]
    fn any_eligible(&mut self, rng: &mut Rng) -> Option<Candidate> {
        let membership = self.membership;
        let weighted = membership.policy.balancer == Balancer::Weighted;
        let weigh = |index: usize| {
            if weighted {
                membership.members[index].weight
            } else {
                1
            }
        };
        let mut total = 0;
        for index in 0..membership.members.len() {
            if self.look(index).filter.is_none() {
                total += weigh(index);
            }
        }
        if total == 0 {
            return None;
        }
        let mut point = rng.below(total);
        for index in 0..membership.members.len() {
            let candidate = self.look(index);
            if candidate.filter.is_none() {
                if point < weigh(index) {
                    return Some(candidate);
                }
                point -= weigh(index);
            }
        }
        // Another thread made the drawn one ineligible meanwhile; the caller tries again.
        None
    }

    #[inline]
    fn better_of_two(&mut self, rng: &mut Rng) -> Option<Candidate> {
        let membership = self.membership;
        if membership.members.len() == 1 {
            return Some(self.assess(0)).filter(|candidate| candidate.filter.is_none());
        }
        let mut first = 0;
        for _ in 0..PAIRS {
            first = membership.owner(rng.below(membership.total()));
            // The second is drawn from the others: all points but those of the first.
            let weight = membership.members[first].weight;
            let mut point = rng.below(membership.total() - weight);
            if point >= membership.start(first) {
                point += weight;
            }
            let second = membership.owner(point);
            let (a, b) = (self.assess(first), self.assess(second));
            match (a.filter, b.filter) {
                (None, None) => return Some(if b.score < a.score { b } else { a }),
                (None, Some(_)) => return Some(a),
                (Some(_), None) => return Some(b),
                (Some(_), Some(_)) => {}
            }
        }
        self.best_from(first)
    }

    /// The lowest score of all members; the first one from `start` at equal scores.
    fn best_from(&mut self, start: usize) -> Option<Candidate> {
        let members = self.membership.members.len();
        // With nothing noted yet no member can be noted twice: spares the search for it.
        let fresh = self.trace.is_empty();
        let mut best: Option<Candidate> = None;
        for offset in 0..members {
            let at = start + offset;
            let candidate = self.look(if at < members { at } else { at - members });
            if !fresh {
                note(&mut self.trace, &candidate, false);
            } else if !self.trace.is_full() {
                self.trace.push(candidate);
            }
            if candidate.filter.is_none() && best.is_none_or(|best| candidate.score < best.score) {
                best = Some(candidate);
            }
        }
        best
    }
}
