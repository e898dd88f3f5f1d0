//! The balancers: which of the eligible members is picked. Changes nothing but the round-robin cursor.
//!
//! | balancer | looks at | score, lower is better |
//! |---|---|---|
//! | `round-robin`, `weighted` | the next positions of the turn | none |
//! | `random` | one random member, drawn by weight | none |
//! | `least-request` | two random members, drawn by weight, or all | (in-flight + 1,000·p²) / weight |
//! | `peak-ewma` | two random members, drawn by weight, or all | latency · (in-flight + 1 + 1,000·p²) / weight |
//! | `adaptive` | up to sixteen members in a row from a random one | see [`crate::adaptive`] |
//! | `consistent-hash`, `maglev`, with a key | the first members at the key's place | none |
//! | `rendezvous`, with a key | the key's member, then all | rendezvous hash of key and member, by weight |
//! | any other, with a key | the key's homes ([`crate::hashing`]), then all | none |
//!
//! p is the share of recent requests that failed, 0 to 1: a failure moves it 1/16 towards 1, a success 1/16 towards 0,
//! and it halves in ten seconds. A failure that answers at once has nothing in flight and looks free: one weighs like 4
//! requests in flight, ten in a row like 226, failing for good like 1,000.
//!
//! At equal scores the first drawn wins, so idle members are picked by weight. An instance that was never measured
//! is taken for the service's mean latency (30 ms before there is one): neither flooded nor starved. A half-open
//! instance whose probe is due scores -1, so that it is found out soon; its probe places bound what that can cost.
//!
//! A key stays at home with all but `adaptive`, whose business is load: there it is a preference, given up for as long as
//! the home is worse off than twice the usual, by in-flight, latency or failures. A service whose order counts keeps it,
//! and so does one with a bound of its own.
//!
//! A member in its slow start is passed over by chance, as often as its share is below the full one, unless there is
//! nobody else. Of several tiers one is drawn first; see [`crate::tiers`].

use crate::adaptive;
use crate::candidate::{Candidate, Proposal};
use crate::cells::{Cells, instance_word as word};
use crate::estimate::to_ms;
use crate::explain::Trace;
use crate::hash::rendezvous_score;
use crate::membership::Membership;
use crate::policy::{Balancer, WHOLE};
use crate::pool::Pool;
use crate::qos::Qos;
use crate::random::Rng;
use crate::sync::Ordering;
use crate::tiers::Shares;

/// Positions of a turn, or random draws, that are tried before an eligible member is drawn from all.
const POSITIONS: usize = 64;
const DRAWS: usize = 8;
/// Pairs that are drawn before every member is looked at.
const PAIRS: usize = 3;
/// Members that `adaptive` looks at.
const SAMPLE: usize = 16;
/// Of the usual latency: an instance below this is cold in every respect, whatever rounding does.
const CERTAINLY_COLD: f64 = 0.999 * adaptive::HOT;
/// Positions of a key's walk that are tried before every member is scored.
const STEPS: usize = 256;
/// A slow start begins with this share of the full one, thousandths.
const FIRST_SHARE: u64 = 100;

/// One pick's view of one service.
pub(crate) struct Selection<'a> {
    pub(crate) cells: &'a Cells,
    pub(crate) membership: &'a Membership,
    /// Thousandths of its limit up to which an instance takes this request.
    share: u32,
    pub(crate) key_hash: u32,
    pub(crate) now_us: u64,
    pub(crate) trace: Trace<'a>,
    /// Breakers and ejections are ignored.
    pub(crate) panic: bool,
    /// Members whose event loop is blocked are eligible: nobody else is.
    pub(crate) accept_blocked: bool,
    /// With a key and a bound only: requests in flight on the pool, this one included, when somebody had to know; 0 = nobody.
    load: u64,
    /// `adaptive` only: mean requests in flight of the members it looks at.
    pub(crate) usual_in_flight: f64,
    /// `adaptive` only: mean share of failures of the members it looks at.
    pub(crate) usual_failing: f64,
    /// `adaptive` only: an instance that is this fast is certainly cold, microseconds.
    pub(crate) cold_us: f64,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(
        cells: &'a Cells,
        membership: &'a Membership,
        class: Qos,
        key_hash: u32,
        now_us: u64,
        trace: Trace<'a>,
    ) -> Self {
        Self {
            cells,
            membership,
            share: membership.plan.share_of(class),
            key_hash,
            now_us,
            trace,
            panic: false,
            accept_blocked: false,
            load: 0,
            usual_in_flight: 0.0,
            usual_failing: 0.0,
            cold_us: 0.0,
        }
    }

    /// The best eligible member by the balancer's rule; `None` when none is eligible.
    #[inline]
    pub(crate) fn propose(&mut self, rng: &mut Rng) -> Option<Proposal> {
        let membership = self.membership;
        if membership.plan.plain {
            return self.propose_in(&membership.pools[0], rng);
        }
        self.propose_by_tier(rng)
    }

    /// The drawn tier first, then the others in their order.
    fn propose_by_tier(&mut self, rng: &mut Rng) -> Option<Proposal> {
        let pools = &self.membership.pools;
        let shares = Shares::now(self.cells, self.membership, self.now_us);
        let drawn = shares.draw(pools, self.key_hash, rng);
        let others = (0..pools.len()).filter(|&tier| tier != drawn);
        for tier in std::iter::once(drawn).chain(others) {
            self.panic = shares.panics(tier);
            if let Some(candidate) = self.propose_in(&pools[tier], rng) {
                return Some(candidate);
            }
        }
        None
    }

    #[inline]
    fn propose_in(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        if pool.len() == 0 {
            return None;
        }
        if self.key_hash != 0 {
            return self.by_key(pool, rng);
        }
        let plan = &self.membership.plan;
        match plan.balancer {
            Balancer::RoundRobin | Balancer::Weighted => self.next_in_turn(pool, rng),
            Balancer::Random => self.any(pool, rng),
            Balancer::Adaptive => self.best_of_sample(pool, rng),
            Balancer::LeastRequest | Balancer::PeakEwma if plan.full_scan => {
                self.best_of_all(pool, rng)
            }
            Balancer::LeastRequest
            | Balancer::PeakEwma
            | Balancer::ConsistentHash
            | Balancer::Maglev
            | Balancer::Rendezvous => self.better_of_two(pool, rng),
        }
    }

    /// What there is to know of a member, with its score when it is eligible.
    #[inline(always)]
    pub(crate) fn assess(&mut self, index: usize) -> Candidate {
        let candidate = self.look(index);
        if !self.trace.has(candidate.handle) {
            self.trace.push(&candidate);
        }
        candidate
    }

    /// What an instance's limit is for this request; 0 = none.
    #[inline]
    pub(crate) fn limit(&self, limit: u32) -> u32 {
        if self.share == WHOLE {
            limit
        } else {
            // At most what it was, so it fits.
            (u64::from(limit) * u64::from(self.share)).div_ceil(u64::from(WHOLE)) as u32
        }
    }

    /// Sees to it that a proposed member is among the recorded ones. It is, unless there was no room.
    #[inline]
    pub(crate) fn record(&mut self, proposal: Proposal) {
        if self.trace.is_full() {
            self.record_at(proposal.index as usize);
        }
    }

    /// The same, by index, for one that was perhaps not looked at.
    #[inline]
    pub(crate) fn record_at(&mut self, index: usize) {
        if !self.trace.has(self.membership.members[index].handle) {
            let candidate = self.look(index);
            self.trace.push_chosen(&candidate);
        }
    }

    /// Whether a member gives way by chance: it is in its slow start.
    #[inline]
    fn gives_way(&self, candidate: &Candidate, rng: &mut Rng) -> bool {
        let slow_start_ms = self.membership.plan.slow_start_ms;
        slow_start_ms != 0 && self.is_warming(candidate, u64::from(slow_start_ms), rng)
    }

    fn is_warming(&self, candidate: &Candidate, slow_start_ms: u64, rng: &mut Rng) -> bool {
        let Some(state) = self.cells.state(candidate.handle) else {
            return false;
        };
        let since_us = state.warming_since_us.load(Ordering::Relaxed);
        // Microseconds by milliseconds: thousandths.
        let share = self.now_us.saturating_sub(since_us) / slow_start_ms;
        share < 1_000 && u64::from(rng.below(1_000)) >= share.max(FIRST_SHARE)
    }

    fn next_in_turn(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        let turns = if pool.schedule.is_empty() {
            pool.len()
        } else {
            pool.schedule.len()
        };
        for _ in 0..turns.min(POSITIONS) {
            // Looking at a position consumes it. Were the next eligible member taken without that, the one after a
            // failed one would get its own turn and the failed one's: double load, and soon a second failure.
            let cursor = &self.membership.service.cursor;
            let position = (cursor.fetch_add(1, Ordering::Relaxed) % turns as u64) as usize;
            let index = pool
                .schedule
                .get(position)
                .map_or(pool.from() + position, |&index| index as usize);
            let candidate = self.assess(index);
            if candidate.is_eligible() && !self.gives_way(&candidate, rng) {
                return Some(candidate.proposal());
            }
        }
        self.any_eligible(pool, rng)
    }

    fn any(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        for _ in 0..DRAWS {
            let candidate =
                self.assess(pool.owner(&self.membership.members, rng.below(pool.total())));
            if candidate.is_eligible() && !self.gives_way(&candidate, rng) {
                return Some(candidate.proposal());
            }
        }
        self.any_eligible(pool, rng)
    }

    /// Few are eligible: draws one of them, by weight.
    #[cold]
    fn any_eligible(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        let membership = self.membership;
        let by_weight = membership.policy.balancer != Balancer::RoundRobin;
        let weigh = |index: usize| {
            if by_weight {
                membership.members[index].weight
            } else {
                1
            }
        };
        let mut total = 0;
        for index in pool.range() {
            if self.look(index).filter.is_none() {
                total += weigh(index);
            }
        }
        if total == 0 {
            return None;
        }
        let mut point = rng.below(total);
        for index in pool.range() {
            let candidate = self.look(index);
            if candidate.filter.is_none() {
                if point < weigh(index) {
                    self.record_at(index);
                    return Some(candidate.proposal());
                }
                point -= weigh(index);
            }
        }
        // Another thread made the drawn one ineligible meanwhile; the caller tries again.
        None
    }

    #[inline]
    fn better_of_two(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        let membership = self.membership;
        if pool.len() == 1 {
            let only = self.assess(pool.from());
            return only.is_eligible().then(|| only.proposal());
        }
        let mut first = pool.from();
        for _ in 0..PAIRS {
            first = pool.owner(&membership.members, rng.below(pool.total()));
            // The second is drawn from the others: all points but those of the first.
            let member = &membership.members[first];
            let mut point = rng.below(pool.total() - member.weight);
            if point >= member.end - member.weight {
                point += member.weight;
            }
            let second = pool.owner(&membership.members, point);
            let (a, b) = (self.assess(first), self.assess(second));
            let a_stays = a.filter.is_none() && !self.gives_way(&a, rng);
            let b_stays = b.filter.is_none() && !self.gives_way(&b, rng);
            match (a_stays, b_stays) {
                (true, true) if b.score < a.score => return Some(b.proposal()),
                (true, _) => return Some(a.proposal()),
                (false, true) => return Some(b.proposal()),
                (false, false) => {}
            }
        }
        self.best_from(pool, first, pool.len(), None)
    }

    fn best_of_all(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        let start = pool.owner(&self.membership.members, rng.below(pool.total()));
        self.best_from(pool, start, pool.len(), Some(rng))
            .or_else(|| self.best_from(pool, start, pool.len(), None))
    }

    /// `adaptive`: some members in a row, so that their load and failures are compared with each other's.
    fn best_of_sample(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        let start = pool.owner(&self.membership.members, rng.below(pool.total()));
        let count = SAMPLE.min(pool.len());
        if let Some(best) = self.best_of_calm(pool, start, count) {
            return Some(best);
        }
        self.compare(pool, start, count);
        self.best_from(pool, start, count, Some(rng))
            .or_else(|| self.best_from(pool, start, pool.len(), None))
    }

    /// The same, as long as all of them are calm, cold and below their limits: what is usual among them then changes
    /// nothing, so each is looked at once and its public line is all that is read. `None`: somebody is not.
    #[inline]
    fn best_of_calm(&mut self, pool: &Pool, start: usize, count: usize) -> Option<Proposal> {
        // Who is in its slow start gives way by chance, and what was seen before is not seen anew.
        if self.membership.plan.slow_start_ms != 0 || !self.trace.is_empty() {
            return None;
        }
        self.cold_us = self.membership.service.recent_latency_us() * CERTAINLY_COLD;
        let members = &self.membership.members[pool.range()];
        let (before, after) = members.split_at(start - pool.from());
        let (mut best, mut lowest) = (None, f64::INFINITY);
        for (at, member) in after.iter().chain(before).take(count).enumerate() {
            let view = self.cells.view(member.handle);
            let mut candidate = Candidate::of(at, member.handle, view);
            if !candidate.is_calm(view)
                || self.is_at_limit(&candidate, view)
                || !self.is_cold(&candidate, view)
            {
                self.trace.clear();
                return None;
            }
            candidate.score = (f64::from(candidate.in_flight) + 1.0) / f64::from(member.weight);
            self.trace.push(&candidate);
            if candidate.score < lowest {
                (best, lowest) = (Some(at), candidate.score);
            }
        }
        let index = start + best?;
        let index = if index < pool.range().end {
            index
        } else {
            index - pool.len()
        };
        Some(Proposal {
            index: index as u32,
            probe: false,
        })
    }

    /// `adaptive`: what is usual among `count` members from `start` on.
    fn compare(&mut self, pool: &Pool, start: usize, count: usize) {
        let end = pool.range().end;
        let now_ms = to_ms(self.now_us);
        let (mut in_flight, mut failing) = (0, 0.0);
        for at in start..start + count {
            let index = if at < end { at } else { at - pool.len() };
            let handle = self.membership.members[index].handle;
            let view = self.cells.view(handle);
            in_flight += u64::from(view.get(word::IN_FLIGHT));
            // Only of those that are watched anything has failed.
            if view.is_watched()
                && let Some(state) = self.cells.state(handle)
            {
                failing += state.failing.faded(now_ms);
            }
        }
        self.usual_failing = failing / count as f64;
        self.usual_in_flight = in_flight as f64 / count as f64;
        self.cold_us = self.membership.service.recent_latency_us() * CERTAINLY_COLD;
    }

    /// The lowest score of `count` members from `start` on, around; the first one at equal scores. With `rng`, members
    /// in their slow start may give way.
    fn best_from(
        &mut self,
        pool: &Pool,
        start: usize,
        count: usize,
        mut rng: Option<&mut Rng>,
    ) -> Option<Proposal> {
        // With nothing noted yet no member can be noted twice: spares the search for it.
        let fresh = self.trace.is_empty();
        let mut best = None;
        let mut lowest = f64::INFINITY;
        let end = pool.range().end;
        for at in start..start + count {
            let candidate = self.look(if at < end { at } else { at - pool.len() });
            if fresh || !self.trace.has(candidate.handle) {
                self.trace.push(&candidate);
            }
            if candidate.is_eligible()
                && (best.is_none() || candidate.score < lowest)
                && !rng
                    .as_deref_mut()
                    .is_some_and(|rng| self.gives_way(&candidate, rng))
            {
                best = Some(candidate.proposal());
                lowest = candidate.score;
            }
        }
        best
    }

    /// The first member in the key's order that is eligible and below its bound; when all are above, the first that is
    /// eligible.
    fn by_key(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        let plan = &self.membership.plan;
        if !pool.remembers_keys(plan.balancer) {
            self.membership.note_key();
        }
        if plan.homes_give_way {
            return self.near_home(pool, rng);
        }
        self.load = 0;
        if plan.balancer == Balancer::Rendezvous {
            return self.nearest(pool);
        }
        let membership = self.membership;
        let mut last = u32::MAX;
        let Some(table) = &pool.table else {
            let members = &membership.members[pool.range()];
            for at in pool.homes.walk(members, self.key_hash) {
                if at == last {
                    continue;
                }
                last = at;
                let candidate = self.assess(pool.from() + at as usize);
                if candidate.is_eligible() && self.is_below_bound(pool, &candidate) {
                    return Some(candidate.proposal());
                }
            }
            return self.nearest(pool);
        };
        let mut first = None;
        for at in table.walk(self.key_hash).take(STEPS) {
            if at == last {
                continue;
            }
            last = at;
            let candidate = self.assess(pool.from() + at as usize);
            if !candidate.is_eligible() {
                continue;
            }
            if self.is_below_bound(pool, &candidate) {
                return Some(candidate.proposal());
            }
            first = first.or(Some(candidate.proposal()));
        }
        first.or_else(|| self.nearest(pool))
    }

    /// `adaptive` with a key: the first of its homes that is no worse off than usual; when none of them is, whoever is
    /// best.
    fn near_home(&mut self, pool: &Pool, rng: &mut Rng) -> Option<Proposal> {
        let membership = self.membership;
        let members = &membership.members[pool.range()];
        let mut last = u32::MAX;
        for at in pool.homes.walk(members, self.key_hash) {
            if at == last {
                continue;
            }
            let index = pool.from() + at as usize;
            if last == u32::MAX {
                self.compare(pool, index, SAMPLE.min(pool.len()));
            }
            last = at;
            let candidate = self.assess(index);
            if candidate.is_eligible() && self.is_no_worse_off(pool, &candidate) {
                return Some(candidate.proposal());
            }
        }
        // As a pick without a key.
        let key_hash = std::mem::take(&mut self.key_hash);
        let best = self.best_of_sample(pool, rng);
        self.key_hash = key_hash;
        best
    }

    /// Whether a member's score is at most [`adaptive::HOT`] times that of a member as the compared ones are on average.
    fn is_no_worse_off(&self, pool: &Pool, candidate: &Candidate) -> bool {
        let usual = (self.usual_in_flight + 1.0) * pool.len() as f64 / f64::from(pool.total());
        let view = self.cells.view(candidate.handle);
        let score = self
            .cells
            .state(candidate.handle)
            .map_or(f64::MAX, |state| {
                self.adaptive_score(candidate, view, state)
            });
        score <= adaptive::HOT * usual
    }

    /// By rendezvous hash of key and member.
    fn nearest(&mut self, pool: &Pool) -> Option<Proposal> {
        let membership = self.membership;
        let members = &membership.members[pool.range()];
        // Mostly the best is eligible, and nobody else need be looked at.
        let best = pool.winners.of(members, self.key_hash)?;
        let candidate = self.assess(pool.from() + best);
        if candidate.is_eligible() && self.is_below_bound(pool, &candidate) {
            return Some(candidate.proposal());
        }
        // The best of those that are eligible, and the best of those below their bound.
        let (mut any, mut below) = (None, None);
        let (mut lowest, mut lowest_below) = (f64::INFINITY, f64::INFINITY);
        for index in pool.range() {
            let candidate = self.assess(index);
            if !candidate.is_eligible() {
                continue;
            }
            let member = &membership.members[index];
            let score = rendezvous_score(self.key_hash, member.affinity, member.weight);
            if score < lowest {
                any = Some(candidate.proposal());
                lowest = score;
            }
            if score < lowest_below && self.is_below_bound(pool, &candidate) {
                below = Some(candidate.proposal());
                lowest_below = score;
            }
        }
        below.or(any)
    }

    /// Requests in flight on a pool, this one included: what bounds are reckoned from.
    fn load_of(&self, pool: &Pool) -> u64 {
        let members = &self.membership.members[pool.range()];
        1 + members
            .iter()
            .map(|member| u64::from(self.cells.view(member.handle).get(word::IN_FLIGHT)))
            .sum::<u64>()
    }

    /// Consistent hashing with bounded loads [Mirrokni, Thorup, Zadimoghaddam 2016]: at most ⌈factor · share⌉ requests
    /// on one member.
    fn is_below_bound(&mut self, pool: &Pool, candidate: &Candidate) -> bool {
        let factor = u64::from(self.membership.plan.hash_balance_factor);
        // A share of something is at least one request, so who has none is below: mostly nobody need be summed up.
        if factor == 0 || candidate.in_flight == 0 {
            return true;
        }
        if self.load == 0 {
            self.load = self.load_of(pool);
        }
        let weight = u64::from(self.membership.members[candidate.index].weight);
        let bound = (self.load * factor * weight).div_ceil(100 * u64::from(pool.total()));
        u64::from(candidate.in_flight) < bound
    }
}
