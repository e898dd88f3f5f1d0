//! What happens to a message: which instance gets it, what is learnt from how it went, who waits, who may try again.
//!
//! Enters here: balancers, circuit breakers, concurrency limits, retry budgets, the queue, tickets, explanations, the order
//! of messages with one key, the ledger of idempotency keys.
//! Deliberately absent: transports, deadlines of requests (the caller watches those and reports `Timeout`), clocks,
//! threads and timers. Time and randomness are passed in, so the same code runs in production, in a test at virtual
//! time and in a simulation.
//!
//! [`Router`] is the whole face: `pick` before a request, `complete` after it, `retry` when it failed, `wait` when
//! every instance is busy, `tick` now and then.
//!
//! # Common issues
//! - *A request was refused with `BreakerOpen` right after a deploy.* The instances failed five times in a row;
//!   [`Router::events_json`] has the change, [`Router::explain_json`] what a pick saw.
//! - *A light instance gets nothing under `least-request`.* Equal scores go by weight; below saturation a light one gets
//!   its share, unless it fails: failures weigh like requests in flight.
#![forbid(unsafe_code)]

mod adaptive;
mod administer;
mod breaker;
mod budget;
mod caller;
mod calm;
mod candidate;
mod cells;
mod complete;
mod concurrency;
mod control;
mod decay;
mod ejection;
mod estimate;
mod exchange;
mod explain;
mod explanation;
mod features;
mod hash;
mod hashing;
mod heartbeat;
mod hedge;
mod housekeeping;
mod info;
mod key_order;
mod latencies;
mod ledger;
mod look;
mod membership;
mod outcome;
mod outlier;
mod pick;
mod plan;
mod policy;
mod pool;
mod qos;
mod queue;
mod random;
mod rate_limit;
mod reserve;
mod router;
mod schedule;
mod select;
mod service;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod ticket;
mod tiers;
mod waits;
mod window;

pub use caller::Caller;
pub use candidate::Filter;
pub use cells::{INSTANCE_WORDS, MAX_INSTANCES, header_word, instance_word};
pub use control::Control;
pub use decay::{HALF_LIFE_MS, decay};
pub use exchange::NODE_KEY;
pub use explain::{RECORDED_CANDIDATES, REMEMBERED_PICKS};
pub use explanation::{EXPLAINED_CANDIDATES, ExplainedCandidate, Explanation};
pub use hash::{fmix32, hash_key, log2, rendezvous_score};
pub use hashing::crc32;
pub use heartbeat::{BLOCKED_AFTER_US, LOOK_US, Look, Pulse, Round, Seen, Watch};
pub use info::Connections;
pub use key_order::Entered;
pub use ledger::Begun;
pub use outcome::Outcome;
pub use policy::{AdaptiveConcurrencyPolicy, Backpressure, OutlierPolicy, RateLimitPolicy};
pub use policy::{Balancer, BalancingPolicy, BreakerPolicy, Policy, RetryPolicy, SubsetFallback};
pub use policy::{HedgePolicy, QosPolicy, QosShares, WatermarkPolicy};
pub use policy::{IdempotencyPolicy, OrderingPolicy};
pub use qos::Qos;
pub use random::Rng;
pub use router::{Completed, Picked, Router, RouterOptions};
pub use ticket::MAX_TICKETS;
pub use waits::{Grant, WaitRefused, Waiting};
