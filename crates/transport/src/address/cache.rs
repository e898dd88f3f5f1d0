//! [`LocatorCache`]: the records this node knows, and which addresses nobody knows.
//!
//! Sans-IO: the time is passed in, as Unix seconds. Bounded: the record that ends first makes room.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::global_address::NodeField;
use super::signed_locator::SignedLocator;
use crate::core::NodeId;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Records, about 8 KB each.
    pub records: usize,
    /// Addresses that nobody knew.
    pub negatives: usize,
    /// For how long such an address is not asked for again, seconds.
    pub negative_seconds: u64,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            records: 4096,
            negatives: 4096,
            negative_seconds: 5,
        }
    }
}

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheRefused {
    /// It does not hold at this time.
    NotCurrent,
    /// A newer one of the same node is known.
    Older {
        /// The sequence of the known one.
        have: u64,
        /// The sequence of the refused one.
        offered: u64,
    },
    /// Another one with the same sequence is known: the node signed two.
    Conflict {
        /// The sequence of both.
        sequence: u64,
    },
}

impl fmt::Display for CacheRefused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCurrent => out.write_str("the locator does not hold at this time"),
            Self::Older { have, offered } => {
                write!(
                    out,
                    "locator {offered} is older than locator {have}, which is known"
                )
            }
            Self::Conflict { sequence } => write!(out, "the node signed two locators {sequence}"),
        }
    }
}

impl std::error::Error for CacheRefused {}

/// What the cache knows of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// One node has it, and this is where it is.
    Found(&'a Arc<SignedLocator>),
    /// Two nodes have it: only their full ids tell them apart.
    Collision([NodeId; 2]),
    /// Nobody knew it a moment ago.
    Negative,
    /// It was not asked for.
    Unknown,
}

/// What it has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Records kept now.
    pub records: u64,
    /// Addresses kept now that nobody knew.
    pub negatives: u64,
    /// Lookups that found a record.
    pub hits: u64,
    /// Lookups that found that nobody knows.
    pub negative_hits: u64,
    /// Lookups that found nothing.
    pub misses: u64,
    /// Records refused because a newer one was known, or one that contradicts it.
    pub refused: u64,
    /// Records that made room for others.
    pub evicted: u64,
}

#[derive(Debug)]
struct Entry {
    record: Arc<SignedLocator>,
    expires: u64,
}

/// The known records by node and by address.
#[derive(Debug, Default)]
pub struct LocatorCache {
    limits: CacheLimits,
    records: HashMap<NodeId, Entry>,
    /// Almost always one node for a field.
    nodes: HashMap<NodeField, Vec<NodeId>>,
    negatives: HashMap<NodeField, u64>,
    stats: CacheStats,
}

impl LocatorCache {
    /// An empty one.
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes a record in, which has been verified. Whether it says something new.
    ///
    /// # Errors
    /// See [`CacheRefused`]. A sequence is remembered beyond the end of its record, until room is needed: an old record
    /// cannot be brought back by waiting.
    pub fn insert(&mut self, record: Arc<SignedLocator>, now: u64) -> Result<bool, CacheRefused> {
        let locator = record.locator();
        let (node, offered) = (locator.node, locator.sequence);
        if !locator.is_current(now) {
            return Err(CacheRefused::NotCurrent);
        }
        let field = NodeField::of(&node);
        if let Some(known) = self.records.get(&node) {
            let have = known.record.locator().sequence;
            if offered == have && known.record.locator() == locator {
                return Ok(false);
            }
            if offered <= have {
                self.stats.refused += 1;
                return Err(if offered == have {
                    CacheRefused::Conflict { sequence: have }
                } else {
                    CacheRefused::Older { have, offered }
                });
            }
        } else {
            if self.records.len() >= self.limits.records.max(1) {
                self.make_room();
            }
            self.nodes.entry(field).or_default().push(node);
        }
        let expires = locator.expires(now);
        self.records.insert(node, Entry { record, expires });
        self.negatives.remove(&field);
        Ok(true)
    }

    fn make_room(&mut self) {
        let first = self.records.iter().min_by_key(|(_, entry)| entry.expires);
        if let Some(node) = first.map(|(node, _)| *node) {
            self.remove(&node);
            self.stats.evicted += 1;
        }
    }

    /// Forgets a node, for one that was revoked.
    pub fn remove(&mut self, node: &NodeId) {
        if self.records.remove(node).is_none() {
            return;
        }
        let field = NodeField::of(node);
        if let Some(nodes) = self.nodes.get_mut(&field) {
            nodes.retain(|known| known != node);
            if nodes.is_empty() {
                self.nodes.remove(&field);
            }
        }
    }

    /// Nobody knew this address at `now`.
    pub fn insert_negative(&mut self, field: NodeField, now: u64) {
        if self.negatives.len() >= self.limits.negatives.max(1) {
            self.negatives.retain(|_, until| *until > now);
            if self.negatives.len() >= self.limits.negatives.max(1) {
                let first = self.negatives.iter().min_by_key(|(_, until)| **until);
                if let Some(first) = first.map(|(field, _)| *field) {
                    self.negatives.remove(&first);
                }
            }
        }
        self.negatives
            .insert(field, now + self.limits.negative_seconds);
    }

    /// What is known of an address at `now`.
    pub fn lookup(&mut self, field: NodeField, now: u64) -> Lookup<'_> {
        let mut found = None;
        for node in self.nodes.get(&field).map_or(&[][..], Vec::as_slice) {
            let Some(entry) = self.records.get(node).filter(|entry| entry.expires > now) else {
                continue;
            };
            if let Some((first, _)) = found {
                self.stats.hits += 1;
                return Lookup::Collision([first, *node]);
            }
            found = Some((*node, &entry.record));
        }
        if let Some((_, record)) = found {
            self.stats.hits += 1;
            return Lookup::Found(record);
        }
        if self.negatives.get(&field).is_some_and(|&until| until > now) {
            self.stats.negative_hits += 1;
            return Lookup::Negative;
        }
        self.stats.misses += 1;
        Lookup::Unknown
    }

    /// The current record of a node.
    pub fn get(&self, node: &NodeId, now: u64) -> Option<&Arc<SignedLocator>> {
        let entry = self.records.get(node).filter(|entry| entry.expires > now)?;
        Some(&entry.record)
    }

    /// All current records of an address: more than one when nodes collide.
    pub fn all(
        &self,
        field: NodeField,
        now: u64,
    ) -> impl Iterator<Item = &Arc<SignedLocator>> + use<'_> {
        let nodes = self.nodes.get(&field).map_or(&[][..], Vec::as_slice);
        nodes.iter().filter_map(move |node| self.get(node, now))
    }

    /// What it has done.
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            records: self.records.len() as u64,
            negatives: self.negatives.len() as u64,
            ..self.stats
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::locator::{Endpoint, Locator};
    use super::super::signed_locator::LocatorSigner;
    use super::*;
    use crate::identity::{IdentityError, NetworkId};

    const NOW: u64 = 1_800_000_000;

    struct Unsigned;

    impl LocatorSigner for Unsigned {
        fn sign_locator(&self, _: &[u8]) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
            Ok((Vec::new(), Vec::new()))
        }
    }

    fn record(node: NodeId, sequence: u64, ttl: u32, port: u16) -> Arc<SignedLocator> {
        let locator = Locator {
            network: NetworkId([1; 32]),
            node,
            sequence,
            issued: NOW,
            ttl,
            endpoints: vec![Endpoint::Direct(([10, 0, 0, 1], port).into())],
        };
        Arc::new(SignedLocator::sign(&locator, &Unsigned).unwrap())
    }

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn cache(records: usize) -> LocatorCache {
        LocatorCache::new(CacheLimits {
            records,
            negatives: 2,
            negative_seconds: 5,
        })
    }

    #[test]
    fn the_newer_record_stays_and_the_older_is_refused_even_after_its_end() {
        let mut cache = cache(8);
        let field = NodeField::of(&node(1));
        assert_eq!(cache.insert(record(node(1), 5, 10, 1), NOW), Ok(true));
        assert_eq!(cache.insert(record(node(1), 5, 10, 1), NOW), Ok(false));
        assert_eq!(
            cache.insert(record(node(1), 5, 10, 2), NOW),
            Err(CacheRefused::Conflict { sequence: 5 })
        );
        assert_eq!(cache.insert(record(node(1), 6, 10, 3), NOW), Ok(true));
        let older = CacheRefused::Older {
            have: 6,
            offered: 5,
        };
        assert_eq!(cache.insert(record(node(1), 5, 99, 1), NOW), Err(older));
        let Lookup::Found(found) = cache.lookup(field, NOW + 9) else {
            panic!("it holds")
        };
        assert_eq!(found.locator().sequence, 6);
        assert_eq!(cache.lookup(field, NOW + 10), Lookup::Unknown);
        assert_eq!(
            cache.insert(record(node(1), 5, 99, 1), NOW + 10),
            Err(older),
            "waiting for the end of the newer one brings nothing back"
        );
    }

    #[test]
    fn two_nodes_with_one_address_are_a_collision_until_one_is_gone() {
        let mut cache = cache(8);
        let (first, mut bytes) = (node(1), [1; 32]);
        bytes[31] = 2;
        let second = NodeId(bytes);
        let field = NodeField::of(&first);
        assert_eq!(field, NodeField::of(&second));
        cache.insert(record(first, 1, 60, 1), NOW).unwrap();
        cache.insert(record(second, 1, 30, 2), NOW).unwrap();
        assert_eq!(cache.lookup(field, NOW), Lookup::Collision([first, second]));
        assert_eq!(cache.all(field, NOW).count(), 2);
        assert_eq!(cache.get(&second, NOW).unwrap().locator().node, second);
        assert!(matches!(cache.lookup(field, NOW + 30), Lookup::Found(_)));
    }

    #[test]
    fn it_never_holds_more_than_its_bound_and_what_ends_first_goes_first() {
        let mut cache = cache(3);
        for (number, ttl) in [(1, 30), (2, 10), (3, 20), (4, 40), (5, 50)] {
            cache.insert(record(node(number), 1, ttl, 1), NOW).unwrap();
            assert!(cache.stats().records <= 3);
        }
        let known: Vec<_> = (1..=5)
            .filter(|&number| cache.get(&node(number), NOW).is_some())
            .collect();
        assert_eq!(known, [1, 4, 5]);
        assert_eq!(cache.stats().evicted, 2);
    }

    #[test]
    fn an_address_that_nobody_knew_is_remembered_for_a_while_and_a_record_overrules_it() {
        let mut cache = cache(3);
        let field = NodeField::of(&node(7));
        cache.insert_negative(field, NOW);
        assert_eq!(cache.lookup(field, NOW + 4), Lookup::Negative);
        assert_eq!(cache.lookup(field, NOW + 5), Lookup::Unknown);
        cache.insert_negative(field, NOW);
        cache.insert(record(node(7), 1, 60, 1), NOW).unwrap();
        assert!(matches!(cache.lookup(field, NOW), Lookup::Found(_)));
        for number in 0..200 {
            cache.insert_negative(NodeField::from_bits(number), NOW);
            assert!(cache.stats().negatives <= 2);
        }
    }

    #[test]
    fn a_record_that_does_not_hold_is_not_taken() {
        let mut cache = cache(3);
        let record = record(node(1), 1, 10, 1);
        assert_eq!(
            cache.insert(record.clone(), NOW + 10),
            Err(CacheRefused::NotCurrent)
        );
        assert_eq!(
            cache.insert(record, NOW - 1000),
            Err(CacheRefused::NotCurrent)
        );
    }
}
