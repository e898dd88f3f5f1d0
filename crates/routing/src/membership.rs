//! Which instances a service has: immutable, replaced as a whole.

use std::sync::Arc;

use crate::hashing::{HashTable, Node};
use crate::plan::Plan;
use crate::policy::{Policy, WHOLE};
use crate::pool::Pool;
use crate::qos::Qos;
use crate::service::ServiceState;
use crate::sync::Ordering;

/// One instance as the balancers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) handle: u32,
    pub(crate) thread: u32,
    pub(crate) weight: u32,
    /// Who it is to hashing: by its address, so that keys find it again after it was away.
    pub(crate) affinity: u32,
    /// Lower is used first; see [`crate::tiers`].
    pub(crate) tier: u32,
    /// Sum of the weights of its pool up to and including its own: the first point that is not its any more.
    pub(crate) end: u32,
}

/// A member and what only a change of membership needs of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewMember {
    pub(crate) member: Member,
    pub(crate) node: Node,
}

/// A service's members by tier, within one in the order of their registration, and what balancers prepare from them. In
/// the order written here, so that a pick reads the first two cache lines.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Membership {
    pub(crate) plan: Plan,
    pub(crate) members: Box<[Member]>,
    /// The members of each tier; one pool at least, which may be empty. Most services have one.
    pub(crate) pools: Box<[Pool]>,
    /// What lives longer than this list of members.
    pub(crate) service: Arc<ServiceState>,
    pub(crate) policy: Policy,
}

impl Membership {
    pub(crate) fn new(
        policy: Policy,
        mut new: Vec<NewMember>,
        service: Arc<ServiceState>,
        old: Option<&Self>,
        now_us: u64,
    ) -> Self {
        // Stable: registration order stays within a tier.
        new.sort_by_key(|new| new.member.tier);
        service.rate_limit.prepare(&policy.rate_limit);
        // Shares of other tiers; a pick that is under way may keep them for a millisecond.
        service.shares.store(0, Ordering::Relaxed);
        let old = old.map_or(&[][..], |old| &old.pools);
        let pools = Pool::of_tiers(policy.balancer, &mut new, old, now_us);
        let membership = Self {
            plan: Plan::of(&policy, pools.len()),
            members: new.iter().map(|new| new.member).collect(),
            pools: pools.into(),
            service,
            policy,
        };
        if membership.service.is_keyed() {
            membership.remember_keys();
        }
        membership
    }

    /// The memory in which it is remembered where keys find their members.
    fn remember_keys(&self) {
        for pool in &self.pools {
            pool.remember_keys(self.plan.balancer);
        }
    }

    /// The first key that is looked for: the one pick of a service that takes memory.
    #[cold]
    pub(crate) fn note_key(&self) {
        self.service.note_key();
        self.remember_keys();
    }

    /// The class of a request that names one or not.
    #[inline]
    pub(crate) fn class_of(&self, qos: Option<Qos>) -> Qos {
        qos.unwrap_or(self.policy.qos.class)
    }

    /// Whether one class may find a place where another does not.
    pub(crate) fn has_shares(&self) -> bool {
        self.plan.shares().iter().any(|share| *share != WHOLE)
    }

    /// Same service, other policy or members.
    pub(crate) fn with(&self, policy: Policy, members: Vec<NewMember>, now_us: u64) -> Self {
        let service = Arc::clone(&self.service);
        Self::new(policy, members, service, Some(self), now_us)
    }

    /// Tables that keys are found by and that nobody has made yet.
    pub(crate) fn unprepared(&self) -> impl Iterator<Item = &HashTable> {
        self.pools
            .iter()
            .filter_map(|pool| pool.table.as_deref())
            .filter(|table| !table.is_prepared())
    }
}
