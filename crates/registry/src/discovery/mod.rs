//! Finding services: exact, by prefix, typo-tolerant, by tags, and any of these together.
//!
//! # What is found
//! - `name`: that service, letter for letter.
//! - `prefix`: names that begin with it, letter for letter.
//! - `fuzzy`: names that hold the query's letters in order, ASCII case ignored, when up to 0, 1 or 2 of them (query
//!   below 4, below 8, from 8 bytes) are left out: exactly the names for which the longest common subsequence of query
//!   and name is at least the query's length less the typos. A dropped letter costs nothing, a wrong, extra or
//!   swapped one costs one.
//! - `tags`: services with an instance that is not dead and has `all`, one of `any` and none of `none`. A tag query
//!   also narrows the figures below to these instances.
//! - nothing of these: every service.
//!
//! Criteria given together must all hold.
//!
//! # Rank
//! `score = 0.50·match + 0.20·health + 0.15·load + 0.10·latency + 0.05·zone`, ties by name. Each part is in 0..=1; all
//! but `match` are means over the considered instances (not dead, tags fit), 0 when there is none:
//! - match: the smallest of the parts given. Exact 1. Prefix `0.6 + 0.4·bytes(prefix)/bytes(name)`. Fuzzy see
//!   [`fuzzy::similarity`]. Tags: the largest share of `any` that one instance has, else 1. Every service 1.
//! - health: healthy 1, degraded 0.5, draining 0.1; times breaker closed 1, half-open 0.5, open 0.
//! - load: `1 - inFlight/limit`, at least 0; without a limit `32/(inFlight + 32)`.
//! - latency: `50 ms/(50 ms + estimate)`; 0.5 while unmeasured.
//! - zone: 1 in the caller's zone or when the caller has none, 0.5 for an instance without zone, else 0.
//!
//! `why.kind` is the first given of exact, prefix, fuzzy, tags, all.
//!
//! # Cache
//! A complete result is kept per query until an event about a service it could be about (that name, that prefix, else
//! any) and for 250 ms at most, because load and latency change without events. 128 results are kept.
//!
//! # Deadline
//! Checked every 256 names. When it has passed, what was found so far is ranked and returned with `complete: false`.
//!
//! The TypeScript fallback computes the same sets, the same scores bit by bit and the same order: integer alignment,
//! then f64 operations in the same order.

mod cache;
pub mod fuzzy;
mod index;
mod query;
mod rank;
mod search;

pub use query::{DiscoveryQuery, TagQuery};
pub use rank::{MatchKind, Why};
pub use search::{Discovery, DiscoveryResult, Found};
