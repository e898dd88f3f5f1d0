//! What of a policy costs something on a message's way, known once per policy instead of asked per message.

use crate::policy::{Balancer, Policy};

/// One word that `pick` and `complete` look at once each: what a policy does not use costs them a predictable branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features(u8);

const RATE_LIMIT: u8 = 1;
const LEARNING: u8 = 1 << 1;

impl Features {
    pub(crate) fn of(policy: &Policy) -> Self {
        let learning = policy.balancer == Balancer::Adaptive
            || policy.adaptive_concurrency.enabled
            || policy.outlier.enabled
            || policy.breaker.slow_call_ms != 0;
        Self(
            if policy.rate_limit.is_on() {
                RATE_LIMIT
            } else {
                0
            } | if learning { LEARNING } else { 0 },
        )
    }

    /// A pick takes a token first.
    #[inline]
    pub(crate) fn has_rate_limit(self) -> bool {
        self.0 & RATE_LIMIT != 0
    }

    /// An answer says more than latency and success to somebody.
    #[inline]
    pub(crate) fn has_learning(self) -> bool {
        self.0 & LEARNING != 0
    }
}
