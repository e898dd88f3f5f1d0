//! Which tier of a service's members a request goes to: priorities, the subset and the zone, spilling over as health
//! falls.
//!
//! A tier whose healthy share is h can take min(1, overprovisioning · h) of the load; the first takes what it can, the
//! next of the rest what that can, and so on: Envoy's rule for priority levels
//! [docs, "Upstream priority levels", "Panic threshold"]. Healthy is a member that is alive, not draining, and that
//! neither its breaker nor outlier detection keeps out; load plays no part. When all tiers together cannot take the
//! load, a tier with fewer healthy members than the panic threshold uses all that are alive: sending some requests into
//! the dark beats burying the few that are left.
//!
//! Shares are worked out at most once a millisecond and kept in one word.

use linkmesh_registry::Health;

use crate::breaker::Verdict;
use crate::cells::Cells;
use crate::hash::fmix32;
use crate::membership::Membership;
use crate::pool::Pool;
use crate::random::Rng;
use crate::service::ServiceState;
use crate::sync::Ordering;

/// Tiers that are told apart; the last holds all that come after.
pub(crate) const MOST_TIERS: usize = 6;

/// Percent of the load for each tier, and which are in a panic: 6 × 7 bits of cumulative percent, 6 bits of panic, 16
/// bits of the millisecond they were worked out in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares(u64);

const PERCENT_BITS: u32 = 7;
const PANIC_AT: u32 = 42;
const STAMP_AT: u32 = 48;

impl Shares {
    /// Of this millisecond. Reads one word; works it out when that is of another millisecond: a look at every member.
    pub(crate) fn now(cells: &Cells, membership: &Membership, now_us: u64) -> Self {
        let service: &ServiceState = &membership.service;
        // 1 to 65,535: a word of zeros is of no time. A service that is idle for 65 s may use the shares of then once.
        let stamp = now_us / 1_000 % 65_535 + 1;
        // Relaxed: the word carries everything.
        let kept = Self(service.shares.load(Ordering::Relaxed));
        if kept.0 >> STAMP_AT == stamp {
            return kept;
        }
        let fresh = Self::work_out(cells, membership, now_us, stamp);
        service.shares.store(fresh.0, Ordering::Relaxed);
        fresh
    }

    #[cold]
    fn work_out(cells: &Cells, membership: &Membership, now_us: u64, stamp: u64) -> Self {
        let policy = &membership.policy.balancing;
        let mut healthy = [0.0f64; MOST_TIERS];
        let mut capable = [0u32; MOST_TIERS];
        for (tier, pool) in membership.pools.iter().enumerate() {
            let well = pool
                .range()
                .filter(|&index| is_healthy(cells, membership, index, now_us))
                .count();
            healthy[tier] = well as f64 / pool.len().max(1) as f64;
            capable[tier] = (policy.overprovisioning * healthy[tier] * 100.0).min(100.0) as u32;
        }
        let total: u32 = capable.iter().sum();
        let panicking = total < 100;
        let mut word = stamp << STAMP_AT;
        let mut given = 0;
        for tier in 0..membership.pools.len() {
            if panicking && healthy[tier] < policy.panic_threshold {
                word |= 1 << (PANIC_AT + tier as u32);
            }
            // All that there is counts as the whole when it is less than that.
            let share = if panicking {
                (capable[tier] * 100).checked_div(total).unwrap_or(0)
            } else {
                capable[tier]
            };
            given = (given + share).min(100);
            word |= u64::from(given) << (PERCENT_BITS * tier as u32);
        }
        Self(word)
    }

    fn up_to(self, tier: usize) -> u32 {
        (self.0 >> (PERCENT_BITS * tier as u32)) as u32 & 127
    }

    /// Whether breakers and ejections are ignored in this tier.
    pub(crate) fn panics(self, tier: usize) -> bool {
        self.0 >> (PANIC_AT + tier as u32) & 1 == 1
    }

    /// The tier of a percent point; the first when nobody is healthy, and for what rounding leaves over.
    fn tier_of(self, pools: &[Pool], percent: u32) -> usize {
        (0..pools.len())
            .find(|&tier| percent < self.up_to(tier))
            .unwrap_or(0)
    }

    /// The tier for one request: drawn, or for a key always the same as long as the shares are.
    pub(crate) fn draw(self, pools: &[Pool], key_hash: u32, rng: &mut Rng) -> usize {
        if pools.len() == 1 {
            return 0;
        }
        let percent = if key_hash == 0 {
            rng.below(100)
        } else {
            ((u64::from(fmix32(key_hash ^ 0x7469_6572)) * 100) >> 32) as u32
        };
        self.tier_of(pools, percent)
    }
}

fn is_healthy(cells: &Cells, membership: &Membership, index: usize, now_us: u64) -> bool {
    let handle = membership.members[index].handle;
    let view = cells.view(handle);
    let Some(state) = cells.state(handle).filter(|_| view.is(handle)) else {
        return false;
    };
    matches!(view.health(), Health::Healthy | Health::Degraded)
        && !state.ejection.is_out(now_us)
        && matches!(
            state.breaker.verdict(&membership.policy.breaker, now_us),
            Verdict::Admit | Verdict::Probe
        )
}
