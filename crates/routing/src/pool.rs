//! The members of one tier, and what balancers prepare from their weights.

use std::ops::Range;
use std::sync::Arc;

use crate::hashing::{HashTable, Homes, Node, Winners};
use crate::membership::{Member, NewMember};
use crate::policy::Balancer;
use crate::schedule;
use crate::tiers::MOST_TIERS;

/// A range of a membership's members. Indexes here are those of the membership.
#[derive(Debug)]
pub(crate) struct Pool {
    from: usize,
    len: usize,
    /// Sum of all weights. At most 131,072 × 1,000: fits.
    total: u32,
    shift: u32,
    /// Member that owns the first point of each stretch of 2^`shift` points; about two stretches a member, so that the
    /// owner of a point is found in a step or two [Chen, Asau 1974: the guide table]. Empty for the few members that are
    /// one or two cache lines: they are looked through.
    guide: Box<[u32]>,
    /// Member indexes in the order of `weighted`; empty for the other balancers.
    pub(crate) schedule: Box<[u32]>,
    /// Where keys find their members, for the balancers that need a table.
    pub(crate) table: Option<Arc<HashTable>>,
    /// Where they find them with the others, but for `rendezvous`.
    pub(crate) homes: Homes,
    /// Where they find them with `rendezvous`, and with any other when no home of theirs will do.
    pub(crate) winners: Winners,
}

/// Members that are looked through for the owner of a point.
const FEW: usize = 4;

impl Pool {
    /// One pool per tier of members that are sorted by it; the last takes what is beyond [`MOST_TIERS`].
    pub(crate) fn of_tiers(
        balancer: Balancer,
        members: &mut [NewMember],
        old: &[Self],
        now_us: u64,
    ) -> Vec<Self> {
        let mut pools = Vec::new();
        let mut from = 0;
        while from < members.len() {
            let tier = members[from].member.tier;
            let len = if pools.len() + 1 == MOST_TIERS {
                members.len() - from
            } else {
                members[from..].partition_point(|new| new.member.tier == tier)
            };
            let old = old.get(pools.len()).and_then(|pool| pool.table.as_ref());
            let tier = &mut members[from..from + len];
            pools.push(Self::new(balancer, from, tier, old, now_us));
            from += len;
        }
        if pools.is_empty() {
            pools.push(Self::new(balancer, 0, &mut [], None, now_us));
        }
        pools
    }

    fn new(
        balancer: Balancer,
        from: usize,
        members: &mut [NewMember],
        old: Option<&Arc<HashTable>>,
        now_us: u64,
    ) -> Self {
        let weights: Vec<u32> = members.iter().map(|new| new.member.weight).collect();
        let mut total = 0u32;
        for new in &mut *members {
            total += new.member.weight;
            new.member.end = total;
        }
        let mut shift = 0;
        while total >> shift > 2 * weights.len() as u32 {
            shift += 1;
        }
        let owner = |point| members.partition_point(|new| new.member.end <= point) as u32;
        let guide = if members.len() <= FEW {
            Box::default()
        } else {
            (0..total.div_ceil(1 << shift))
                .map(|stretch| owner(stretch << shift))
                .collect()
        };
        let schedule = if balancer == Balancer::Weighted {
            schedule::smooth(&weights)
                .into_iter()
                .map(|index| from as u32 + index)
                .collect()
        } else {
            Box::default()
        };
        let nodes: Vec<Node> = members.iter().map(|new| new.node).collect();
        Self {
            from,
            len: members.len(),
            total,
            shift,
            guide,
            schedule,
            table: HashTable::of(balancer, &nodes, old, now_us),
            homes: Homes::default(),
            winners: Winners::default(),
        }
    }

    /// Whether the memory is there in which it is remembered where keys find their members.
    #[inline]
    pub(crate) fn remembers_keys(&self, balancer: Balancer) -> bool {
        match balancer {
            Balancer::Rendezvous => self.winners.is_prepared(),
            _ => self.table.is_some() || self.homes.is_prepared(),
        }
    }

    /// Takes that memory.
    pub(crate) fn remember_keys(&self, balancer: Balancer) {
        match balancer {
            Balancer::Rendezvous => self.winners.prepare(),
            _ if self.table.is_none() => self.homes.prepare(),
            _ => {}
        }
    }

    /// Members.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Index of the first.
    #[inline]
    pub(crate) fn from(&self) -> usize {
        self.from
    }

    /// Their indexes.
    #[inline]
    pub(crate) fn range(&self) -> Range<usize> {
        self.from..self.from + self.len
    }

    /// Sum of all weights.
    #[inline]
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// The member that owns a point below [`total`](Self::total), each as many points as its weight. `members` are all
    /// of the membership.
    #[inline]
    pub(crate) fn owner(&self, members: &[Member], point: u32) -> usize {
        let guide = self.guide.get((point >> self.shift) as usize);
        let mut index = self.from + guide.map_or(0, |&first| first as usize);
        while members[index].end <= point {
            index += 1;
        }
        index
    }
}
