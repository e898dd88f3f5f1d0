//! The log: segments on a storage, the threads that write them, recovery, verification, retention.
//!
//! What may enter: anything about bytes, order and durability. Deliberately absent: what a record means.

mod anchor;
mod buffer;
mod commits;
mod gaps;
mod group;
mod journal;
mod keeper;
mod queue;
mod reader;
mod recovery;
mod segments;
mod shared;
mod verify;
mod walk;
mod writer;

pub use commits::{Acknowledged, Ticket};
pub use gaps::Gap;
pub use journal::{Durable, Journal};
pub use reader::{Entry, Position, Scan};
pub use recovery::Recovery;
pub(crate) use shared::{lock, now_ms};
pub use verify::{Problem, Verification, verify};
