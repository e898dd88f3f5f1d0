//! What each pick and complete reads of a policy: a cache line, instead of a field here and there of the whole.

use crate::budget::Refill;
use crate::features::Features;
use crate::policy::{Balancer, OrderingPolicy, Policy};
use crate::qos::{CODES, Qos};

/// Worked out once for each membership.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) features: Features,
    pub(crate) balancer: Balancer,
    /// There is one pool and nothing to ignore in a panic: a pick need not look at the health of the whole.
    pub(crate) plain: bool,
    pub(crate) full_scan: bool,
    /// A key leaves its home when that is busier or slower than others, not only when it is not eligible.
    pub(crate) homes_give_way: bool,
    pub(crate) hash_balance_factor: u32,
    pub(crate) slow_start_ms: u32,
    /// Share of its limit up to which an instance takes requests of a class, thousandths, by the class's number.
    shares: [u32; CODES],
    lease_us: u64,
    /// Of the retry budget.
    pub(crate) refill: Refill,
}

impl Plan {
    pub(crate) fn of(policy: &Policy, pools: usize) -> Self {
        let balancing = &policy.balancing;
        Self {
            features: Features::of(policy),
            balancer: policy.balancer,
            plain: pools == 1 && balancing.panic_threshold <= 0.0,
            full_scan: balancing.full_scan,
            homes_give_way: policy.balancer == Balancer::Adaptive
                && balancing.hash_balance_factor == 0
                && policy.ordering == OrderingPolicy::None,
            hash_balance_factor: balancing.hash_balance_factor,
            slow_start_ms: balancing.slow_start_ms,
            shares: policy.qos.shares.thousandths(),
            lease_us: u64::from(policy.ticket_lease_ms) * 1_000,
            refill: policy.retry.refill(),
        }
    }

    /// See `shares`.
    #[inline]
    pub(crate) fn share_of(&self, class: Qos) -> u32 {
        self.shares[class as usize]
    }

    pub(crate) fn shares(&self) -> &[u32] {
        &self.shares
    }

    /// When a ticket that is picked now ends by itself, microseconds.
    #[inline]
    pub(crate) fn lease_until_us(&self, now_us: u64) -> u64 {
        now_us.saturating_add(self.lease_us).min(u64::MAX - 1)
    }
}
