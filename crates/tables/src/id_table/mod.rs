//! [`FingerprintedIdTable`]: from ids to `u32`, exact, read without waiting.
//!
//! Numbers (`u64`) and byte strings are domains of their own: `7` and `b"7"` are two keys.
//!
//! # How it works
//!
//! Buckets are single 64-byte lines. A line holds five numbers with their values, or eight references to byte keys,
//! each with a 32-bit fingerprint; so a lookup costs one line for a number and two for a byte key, whose bytes are
//! compared in full. Overflow goes to the next line.
//!
//! Within one generation of a table a slot, once filled, keeps its key for ever: removal only empties the value, and
//! slots of removed keys are reclaimed when a new generation is built and published through
//! [`Snapshot`](crate::Snapshot). So a reader needs neither locks nor retries, and can never pair one key with
//! another's value: it sees key, then value, of one slot.
//!
//! # What is deliberately absent
//!
//! Iteration, values other than `u32` (they are handles to somewhere else), concurrent writers (they take turns).

mod bytes;
mod error;
mod hash;
mod numbers;
mod table;

pub use error::TableError;
pub use table::FingerprintedIdTable;

/// Says "no value" in answers of a batch and inside the table.
pub(crate) const NONE: u32 = u32::MAX;
