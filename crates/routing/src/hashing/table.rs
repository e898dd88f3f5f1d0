//! Where a key finds its members, nearest first.

use std::sync::Arc;

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

/// A ring or a table over some nodes; immutable, shared by memberships that have the same nodes.
#[derive(Debug)]
pub(crate) struct HashTable {
    nodes: Box<[Node]>,
    kind: Kind,
}

impl HashTable {
    /// For a balancer that needs one; `old` is used again when its nodes are the same.
    pub(crate) fn of(
        balancer: Balancer,
        nodes: &[Node],
        old: Option<&Arc<Self>>,
    ) -> Option<Arc<Self>> {
        if nodes.is_empty() || !matches!(balancer, Balancer::ConsistentHash | Balancer::Maglev) {
            return None;
        }
        let ring = balancer == Balancer::ConsistentHash;
        if let Some(old) = old
            && *old.nodes == *nodes
            && ring == matches!(old.kind, Kind::Ring(_))
        {
            return Some(Arc::clone(old));
        }
        let kind = if ring {
            Kind::Ring(ketama::ring(nodes).into())
        } else {
            Kind::Table(maglev::table(nodes).into())
        };
        Some(Arc::new(Self {
            nodes: nodes.into(),
            kind,
        }))
    }

    /// Indexes of nodes from a key's place on, in its order, with repetitions; each position of the table once.
    pub(crate) fn walk(&self, key_hash: u32) -> impl Iterator<Item = u32> {
        let (start, size) = match &self.kind {
            Kind::Ring(points) => (
                points.partition_point(|point| point.0 < key_hash),
                points.len(),
            ),
            Kind::Table(table) => (key_hash as usize % table.len(), table.len()),
        };
        (start..start + size).map(move |at| {
            let at = if at < size { at } else { at - size };
            match &self.kind {
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
        let table = HashTable::of(balancer, nodes, None).unwrap();
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
            let table = HashTable::of(balancer, &nodes(30), None).unwrap();
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
        let first = HashTable::of(Balancer::Maglev, &nodes, None).unwrap();
        let again = HashTable::of(Balancer::Maglev, &nodes, Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let ring = HashTable::of(Balancer::ConsistentHash, &nodes, Some(&first)).unwrap();
        assert!(!Arc::ptr_eq(&first, &ring));
    }
}
