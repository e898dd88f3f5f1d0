//! Which connections to have: targets, back-off, health, and the permits that bound what is under way.
//!
//! What may enter: decisions, as state machines that are told what happened. What is deliberately absent: dialling itself
//! (the core does it) and choosing an instance of a service (`routing` does it).

mod backoff;
mod health;
mod silence;
mod target;

pub use backoff::Backoff;
pub use health::Health;
pub(crate) use silence::Silence;
pub(crate) use target::{Failed, Step, TargetState};
pub use target::{MAX_ADDRESSES, MAX_CONNECTIONS};
