//! Durable dead letters and audit trail: append-only segments, acknowledged only when the bytes are on the disk.
//!
//! What may enter: the format of segments and records, the writer thread that groups commits, the index, recovery and
//! verification, what a letter and an entry of the trail hold. What is deliberately absent: sending anything, and
//! anything of JavaScript.
//!
//! `format` is the bytes, `storage` the folder they lie in, `log` the journal itself; `letters` and `audit` are what is
//! kept in it.
#![deny(unsafe_code)]

mod audit;
mod error;
mod format;
mod letters;
mod limits;
mod log;
mod storage;
mod sync;

pub use audit::{AUDIT, AuditEntry, AuditLog, AuditOptions, AuditPage, AuditQuery};
pub use error::{ErrorKind, JournalError, Place};
pub use format::{CHAIN_START, Hash, Kind, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, padded};
pub use letters::{
    Attempt, Body, Counts, DeadLetter, DeadLetterOptions, DeadLetterQueue, DeliveryOutcome,
    Encoding, Event, Filter, LETTER, LetterState, Page, RedriveResult, Stats, Summary,
};
pub use limits::{
    JournalOptions, MAX_GROUP_BYTES, MAX_RECORD_BYTES, MAX_SEGMENT_BYTES, MAX_SEGMENTS,
    MIN_SEGMENT_BYTES, Retention,
};
pub use log::{
    Acknowledged, Durable, Entry, Gap, Journal, Position, Problem, Recovery, Scan, Ticket,
    Verification, verify,
};
pub use storage::{Disk, Memory, Storage, StorageFile};
