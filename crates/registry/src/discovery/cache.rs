//! Complete results, kept until something they could be about changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::query::QueryKey;
use super::search::Found;
use crate::EventLog;

/// Results kept.
const ENTRIES: usize = 128;
/// Longest life of a result, microseconds: load and latency change without an event.
const LIFE_US: u64 = 250_000;

#[derive(Debug)]
struct Entry {
    results: Arc<[Found]>,
    /// All events up to here are known not to touch the result.
    sequence: u64,
    at_us: u64,
    /// Grows with every insertion; the smallest goes first.
    age: u64,
}

/// By query.
#[derive(Debug, Default)]
pub(crate) struct ResultCache {
    entries: HashMap<QueryKey, Entry>,
    inserted: u64,
}

impl ResultCache {
    /// The kept result, if it still holds. Costs the events since the last look, 4,096 at most.
    pub(crate) fn get(
        &mut self,
        key: &QueryKey,
        log: &EventLog,
        now_us: u64,
    ) -> Option<Arc<[Found]>> {
        let entry = self.entries.get_mut(key)?;
        if now_us.saturating_sub(entry.at_us) > LIFE_US || log.gap_after(entry.sequence) {
            return None;
        }
        let mut services = log
            .iter_since(entry.sequence)
            .filter_map(|event| event.kind.service());
        if services.any(|service| key.is_touched_by(service)) {
            return None;
        }
        entry.sequence = log.last();
        Some(Arc::clone(&entry.results))
    }

    /// Keeps a result that was computed from a snapshot taken after `sequence` was read.
    pub(crate) fn insert(
        &mut self,
        key: QueryKey,
        results: Arc<[Found]>,
        sequence: u64,
        at_us: u64,
    ) {
        if self.entries.len() >= ENTRIES && !self.entries.contains_key(&key) {
            let oldest = self
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.age)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
            }
        }
        self.inserted += 1;
        self.entries.insert(
            key,
            Entry {
                results,
                sequence,
                at_us,
                age: self.inserted,
            },
        );
    }
}
