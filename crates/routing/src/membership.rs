//! Which instances a service has: immutable, replaced as a whole.

use std::sync::Arc;

use crate::features::Features;
use crate::hashing::{HashTable, Node};
use crate::policy::{Policy, WHOLE};
use crate::pool::Pool;
use crate::qos::{CODES, Qos};
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
}

/// A member and what only a change of membership needs of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewMember {
    pub(crate) member: Member,
    pub(crate) node: Node,
}

/// A service's members by tier, within one in the order of their registration, and what balancers prepare from them.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) policy: Policy,
    pub(crate) features: Features,
    /// Share of its limit up to which an instance takes requests of a class, thousandths, by the class's number.
    shares: [u32; CODES],
    pub(crate) members: Box<[Member]>,
    /// The members of each tier; one pool at least, which may be empty. Most services have one.
    pub(crate) pools: Box<[Pool]>,
    /// There is one pool and nothing to ignore in a panic: a pick need not look at the health of the whole.
    pub(crate) plain: bool,
    /// What lives longer than this list of members.
    pub(crate) service: Arc<ServiceState>,
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
        let pools = Pool::of_tiers(policy.balancer, &new, old, now_us);
        Self {
            plain: pools.len() == 1 && policy.balancing.panic_threshold <= 0.0,
            members: new.iter().map(|new| new.member).collect(),
            pools: pools.into(),
            features: Features::of(&policy),
            shares: policy.qos.shares.thousandths(),
            policy,
            service,
        }
    }

    /// The class of a request that names one or not.
    #[inline]
    pub(crate) fn class_of(&self, qos: Option<Qos>) -> Qos {
        qos.unwrap_or(self.policy.qos.class)
    }

    /// See `shares`.
    #[inline]
    pub(crate) fn share_of(&self, class: Qos) -> u32 {
        self.shares[class as usize]
    }

    /// Whether one class may find a place where another does not.
    pub(crate) fn has_shares(&self) -> bool {
        self.shares.iter().any(|share| *share != WHOLE)
    }

    /// When a ticket that is picked now ends by itself, microseconds.
    #[inline]
    pub(crate) fn lease_until_us(&self, now_us: u64) -> u64 {
        now_us
            .saturating_add(u64::from(self.policy.ticket_lease_ms) * 1_000)
            .min(u64::MAX - 1)
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
