//! Where a key finds its members, nearest first.

use std::sync::{Arc, OnceLock};

use super::{Crc32, ketama, maglev};
use crate::policy::Balancer;

/// A member as hashing sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    /// 1 to 1,000.
    pub(crate) weight: u32,
    /// Who it is, by its address.
    pub(crate) affinity: u32,
    /// What its ketama points grow from.
    pub(crate) seed: Crc32,
}

impl Node {
    /// What a ring grows from for an address.
    pub(crate) fn seed(address: &str) -> Crc32 {
        ketama::seed(address)
    }
}

#[derive(Debug)]
enum Kind {
    /// Points by hash.
    Ring(Box<[(u32, u32)]>),
    /// Positions of a table of prime size.
    Table(Box<[u32]>),
}

/// Members that change more often than this, microseconds, do not get a table for each change: a table costs up to some
/// milliseconds, and a thousand members that come one by one would pay for a thousand. The larger, the rarer.
pub(crate) fn calm_us(members: usize) -> u64 {
    100_000 + 1_000 * members as u64
}

/// A ring or a table over some nodes; immutable, shared by memberships that have the same nodes.
#[derive(Debug)]
pub(crate) struct HashTable {
    nodes: Box<[Node]>,
    is_ring: bool,
    /// Made by who changes the members, when that does not happen all the time; else by [`prepare`](Self::prepare), or
    /// by the first pick that comes before.
    kind: OnceLock<Kind>,
    /// When one was last made by who changed the members, microseconds.
    made_us: u64,
}

impl HashTable {
    /// For a balancer that needs one; `old` is used again when its nodes are the same.
    pub(crate) fn of(
        balancer: Balancer,
        nodes: &[Node],
        old: Option<&Arc<Self>>,
        now_us: u64,
    ) -> Option<Arc<Self>> {
        if nodes.is_empty() || !matches!(balancer, Balancer::ConsistentHash | Balancer::Maglev) {
            return None;
        }
        let is_ring = balancer == Balancer::ConsistentHash;
        if let Some(old) = old
            && *old.nodes == *nodes
            && is_ring == old.is_ring
        {
            return Some(Arc::clone(old));
        }
        let restless = old.filter(|old| now_us.saturating_sub(old.made_us) < calm_us(nodes.len()));
        let table = Self {
            nodes: nodes.into(),
            is_ring,
            kind: OnceLock::new(),
            made_us: restless.map_or(now_us, |old| old.made_us),
        };
        if restless.is_none() {
            table.prepare();
        }
        Some(Arc::new(table))
    }

    /// Whether it is made.
    pub(crate) fn is_prepared(&self) -> bool {
        self.kind.get().is_some()
    }

    /// Makes it, unless that was done.
    pub(crate) fn prepare(&self) {
        self.kind();
    }

    fn kind(&self) -> &Kind {
        self.kind.get_or_init(|| {
            if self.is_ring {
                Kind::Ring(ketama::ring(&self.nodes).into())
            } else {
                Kind::Table(maglev::table(&self.nodes).into())
            }
        })
    }

    /// Indexes of nodes from a key's place on, in its order, with repetitions; each position of the table once.
    pub(crate) fn walk(&self, key_hash: u32) -> impl Iterator<Item = u32> {
        let kind = self.kind();
        let (start, size) = match kind {
            Kind::Ring(points) => (
                points.partition_point(|point| point.0 < key_hash),
                points.len(),
            ),
            Kind::Table(table) => (key_hash as usize % table.len(), table.len()),
        };
        (start..start + size).map(move |at| {
            let at = if at < size { at } else { at - size };
            match kind {
                Kind::Ring(points) => points[at].1,
                Kind::Table(table) => table[at],
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{fmix32, hash_key};

    fn nodes(count: u32) -> Vec<Node> {
        (0..count)
            .map(|n| {
                let address = format!("http://10.0.{}.{}:80", n / 250, n % 250);
                Node {
                    weight: 1,
                    affinity: hash_key(address.as_bytes()),
                    seed: Node::seed(&address),
                }
            })
            .collect()
    }

    fn homes(balancer: Balancer, nodes: &[Node], keys: u32) -> Vec<u32> {
        let table = HashTable::of(balancer, nodes, None, 0).unwrap();
        (1..=keys)
            .map(|key| table.walk(fmix32(key)).next().unwrap())
            .collect()
    }

    #[test]
    fn shares_follow_weights() {
        for (balancer, tolerance) in [(Balancer::ConsistentHash, 0.25), (Balancer::Maglev, 0.04)] {
            let mut nodes = nodes(10);
            nodes[3].weight = 3;
            let mut counts = [0f64; 10];
            for home in homes(balancer, &nodes, 120_000) {
                counts[home as usize] += 1.0;
            }
            for (node, count) in nodes.iter().zip(counts) {
                let share = f64::from(node.weight) * 10_000.0;
                assert!((count / share - 1.0).abs() < tolerance, "{counts:?}");
            }
        }
    }

    #[test]
    fn a_lost_node_moves_few_other_keys() {
        for (balancer, most) in [(Balancer::ConsistentHash, 0), (Balancer::Maglev, 600)] {
            let all = nodes(20);
            let (before, after) = (
                homes(balancer, &all, 20_000),
                homes(balancer, &all[..19], 20_000),
            );
            let moved = before
                .iter()
                .zip(&after)
                .filter(|(before, after)| **before != 19 && before != after)
                .count();
            assert!(moved <= most, "{balancer:?}: {moved}");
        }
    }

    #[test]
    fn a_walk_meets_every_node() {
        for balancer in [Balancer::ConsistentHash, Balancer::Maglev] {
            let table = HashTable::of(balancer, &nodes(30), None, 0).unwrap();
            let met: std::collections::HashSet<u32> = table.walk(u32::MAX).collect();
            assert_eq!(met.len(), 30);
        }
    }

    #[test]
    fn the_heaviest_fleet_has_a_bounded_ring_with_everybody_on_it() {
        let mut heavy = nodes(2_000);
        for node in &mut heavy[1..] {
            node.weight = 1_000;
        }
        let ring = ketama::ring(&heavy);
        assert!(ring.len() <= (1 << 18) + 2_000);
        assert!(ring.iter().any(|point| point.1 == 0));
    }

    #[test]
    fn the_same_nodes_share_a_table() {
        let nodes = nodes(3);
        let first = HashTable::of(Balancer::Maglev, &nodes, None, 0).unwrap();
        let again = HashTable::of(Balancer::Maglev, &nodes, Some(&first), 0).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let ring = HashTable::of(Balancer::ConsistentHash, &nodes, Some(&first), 0).unwrap();
        assert!(!Arc::ptr_eq(&first, &ring));
    }

    #[test]
    fn members_that_come_one_by_one_get_one_table() {
        let all = nodes(1_000);
        let mut table: Option<Arc<HashTable>> = None;
        let mut made = 0;
        for count in 1..=all.len() {
            // Ten microseconds apart.
            let now_us = 10 * count as u64;
            table = HashTable::of(Balancer::Maglev, &all[..count], table.as_ref(), now_us);
            made += u32::from(table.as_ref().unwrap().is_prepared());
        }
        assert_eq!(made, 1, "the first");
        let last = table.unwrap();
        let eager = HashTable::of(Balancer::Maglev, &all, None, 0).unwrap();
        assert!(last.walk(77).take(5_000).eq(eager.walk(77).take(5_000)));
        assert!(last.is_prepared());
        let calm =
            HashTable::of(Balancer::Maglev, &all[1..], Some(&last), 10 + calm_us(999)).unwrap();
        assert!(calm.is_prepared(), "picks need not wait for it");
    }
}
