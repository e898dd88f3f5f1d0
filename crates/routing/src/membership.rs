//! Which instances a service has: immutable, replaced as a whole.

use std::sync::Arc;

use crate::policy::{Balancer, Policy};
use crate::schedule;
use crate::service::ServiceState;

/// One instance as the balancers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) handle: u32,
    pub(crate) thread: u32,
    pub(crate) weight: u32,
    /// Who it is to rendezvous hashing: by its address, so that keys find it again after it was away.
    pub(crate) affinity: u32,
}

/// A service's members in the order of their registration, and what balancers prepare from them.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) policy: Policy,
    pub(crate) members: Box<[Member]>,
    /// Sum of the weights up to and including each member. At most 131,072 × 1,000: fits.
    cumulative: Box<[u32]>,
    /// All weights are equal: a draw needs no search.
    uniform: bool,
    /// Member indexes in the order of `weighted`; empty for the other balancers.
    pub(crate) schedule: Box<[u32]>,
    /// What lives longer than this list of members.
    pub(crate) service: Arc<ServiceState>,
}

impl Membership {
    pub(crate) fn new(policy: Policy, members: Vec<Member>, service: Arc<ServiceState>) -> Self {
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        let mut sum = 0u32;
        let cumulative = weights
            .iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        let uniform = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let schedule = if policy.balancer == Balancer::Weighted {
            schedule::smooth(&weights)
        } else {
            Vec::new()
        };
        Self {
            policy,
            members: members.into(),
            cumulative,
            uniform,
            schedule: schedule.into(),
            service,
        }
    }

    /// Same members, other policy, or the other way round.
    pub(crate) fn with(&self, policy: Policy, members: Vec<Member>) -> Self {
        Self::new(policy, members, Arc::clone(&self.service))
    }

    /// Sum of all weights.
    #[inline]
    pub(crate) fn total(&self) -> u32 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// The member that owns a point below [`total`](Self::total), each as many points as its weight.
    #[inline]
    pub(crate) fn owner(&self, point: u32) -> usize {
        if self.uniform {
            (point / self.members[0].weight) as usize
        } else {
            self.cumulative.partition_point(|&end| end <= point)
        }
    }

    /// First point of a member.
    #[inline]
    pub(crate) fn start(&self, index: usize) -> u32 {
        self.cumulative[index] - self.members[index].weight
    }
}
