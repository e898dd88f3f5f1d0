//! One search from query to ranked result.

use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use linkmesh_tables::epoch::Guard;
use serde::Serialize;

use super::cache::ResultCache;
use super::fuzzy::{FuzzyMatcher, letter_mask};
use super::index::{Entry, Index};
use super::query::{DiscoveryQuery, QueryKey};
use super::rank::{MatchKind, Why, rank};
use crate::{LoadSource, RegistrySnapshot, ServiceRegistry};

/// Names between two looks at the clock.
const BLOCK: usize = 256;

/// A service that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Its name.
    pub service: Arc<str>,
    /// Higher is better, 0..=1.
    pub score: f64,
    /// What the score is made of.
    pub why: Why,
}

/// Answer to a query. JSON shape of the contract's `DiscoveryResult`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiscoveryResult {
    /// False when the deadline came first.
    pub complete: bool,
    /// From the result cache.
    pub cached: bool,
    /// Best first.
    pub results: Arc<[Found]>,
}

/// Finds services of one registry. Cold: searches take turns; none of them delays a pick or a change.
#[derive(Debug, Default)]
pub struct Discovery {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    cache: ResultCache,
}

impl Discovery {
    /// For one registry; give every call the same one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ranked services that fit `query`. `now_us` is asked at the start and every 256 names.
    pub fn discover(
        &self,
        registry: &ServiceRegistry,
        guard: &Guard<'_>,
        load: &dyn LoadSource,
        query: &DiscoveryQuery,
        now_us: &dyn Fn() -> u64,
    ) -> DiscoveryResult {
        let started_us = now_us();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let kept = registry.with_events(|log| match state.cache.get(&query.key, log, started_us) {
            Some(results) => Ok(results),
            None => Err(log.last()),
        });
        let sequence = match kept {
            Ok(results) => {
                return DiscoveryResult {
                    complete: true,
                    cached: true,
                    results,
                };
            }
            Err(sequence) => sequence,
        };
        // Loaded after the sequence was read: a change in between is in the snapshot and also drops the result, never
        // neither.
        let snapshot = registry.snapshot(guard);
        let late = |now: u64| {
            query
                .deadline_us
                .is_some_and(|allowed| now.saturating_sub(started_us) >= allowed)
        };
        let mut search = Search {
            snapshot,
            key: &query.key,
            load,
            found: Vec::new(),
        };
        let complete = search.run(&mut state.index, &|| late(now_us()));
        let results = search.ranked();
        if complete {
            state.cache.insert(
                query.key.clone(),
                Arc::clone(&results),
                sequence,
                started_us,
            );
        }
        DiscoveryResult {
            complete,
            cached: false,
            results,
        }
    }
}

struct Search<'a> {
    snapshot: &'a RegistrySnapshot,
    key: &'a QueryKey,
    load: &'a dyn LoadSource,
    found: Vec<Found>,
}

impl Search<'_> {
    /// True when all names were looked at.
    fn run(&mut self, index: &mut Index, late: &dyn Fn() -> bool) -> bool {
        let exact;
        let entries = if let Some(name) = &self.key.name {
            let Some(service) = self.snapshot.find(name) else {
                return true;
            };
            let letters = letter_mask(name.as_bytes());
            exact = Entry {
                name: Arc::clone(&service.name),
                service: service.handle,
                letters,
            };
            slice::from_ref(&exact)
        } else {
            index.refresh(self.snapshot);
            index.with_prefix(self.key.prefix.as_deref().unwrap_or(""))
        };
        let prefix = self.key.prefix.as_deref().unwrap_or("");
        let mut fuzzy = self.key.fuzzy.as_deref().map(FuzzyMatcher::new);
        for (number, block) in entries.chunks(BLOCK).enumerate() {
            if number > 0 && late() {
                return false;
            }
            let block = block.iter().filter(|entry| entry.name.starts_with(prefix));
            match &mut fuzzy {
                None => block.for_each(|entry| self.consider(entry, 1.0)),
                Some(fuzzy) => {
                    let likely: Vec<&Entry> = block
                        .filter(|entry| fuzzy.may_match(entry.letters))
                        .collect();
                    let names: Vec<&str> = likely.iter().map(|entry| &*entry.name).collect();
                    for at in fuzzy.matches(&names) {
                        let entry = likely[at as usize];
                        self.consider(entry, fuzzy.similarity(&entry.name));
                    }
                }
            }
        }
        true
    }

    fn consider(&mut self, entry: &Entry, similarity: f64) {
        let Some(service) = self.snapshot.service(entry.service) else {
            return;
        };
        let key = self.key;
        let mut matched = similarity;
        if let Some(prefix) = &key.prefix {
            matched = matched.min(0.6 + 0.4 * (prefix.len() as f64 / service.name.len() as f64));
        }
        let kind = if key.name.is_some() {
            MatchKind::Exact
        } else if key.prefix.is_some() {
            MatchKind::Prefix
        } else if key.fuzzy.is_some() {
            MatchKind::Fuzzy
        } else if key.tags.is_empty() {
            MatchKind::All
        } else {
            MatchKind::Tags
        };
        if let Some(why) = rank(service, &key.tags, &key.zone, self.load, matched, kind) {
            self.found.push(Found {
                service: Arc::clone(&service.name),
                score: why.score(),
                why,
            });
        }
    }

    fn ranked(mut self) -> Arc<[Found]> {
        // Scores are finite: every part is. Names are unique, so the order is total and an unstable sort is enough.
        self.found.sort_unstable_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| a.service.cmp(&b.service))
        });
        self.found.truncate(self.key.limit as usize);
        self.found.into()
    }
}
