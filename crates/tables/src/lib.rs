//! Tables and rings that every thread of a process shares: memory layout and synchronisation, nothing else.
//!
//! | type | what it is |
//! |---|---|
//! | [`epoch::Domain`], [`Snapshot`] | publish a value; readers pin once and then pay a plain load |
//! | [`FingerprintedIdTable`] | id → `u32`, exact, wait-free reads, batches that prefetch |
//! | [`CompressedRadixArena`] | path patterns and literal prefixes in one arena |
//! | [`MpmcRing`], [`ByteRing`], [`LockedRing`] | bounded queues of values and of byte records |
//! | [`Lane`], [`Doorbell`] | the byte ring that JavaScript writes into, and how its reader sleeps |
//! | [`HandleSlab`], [`TicketSlab`] | slots with generations whose addresses never change |
//! | [`AccessGate`] | accesses until it is closed; the closer waits for those inside |
//! | [`TicketCursor`] | one counter that many threads draw blocks from |
//!
//! # What may enter
//!
//! Data structures with bounded memory whose readers never wait for a writer. Every hand-made synchronisation here is
//! checked by loom (`tests/loom.rs`); atomics come only from the `sync` module so that the models see all of them.
//!
//! # What is deliberately absent
//!
//! I/O, clocks, threads, logging, Node. A structure that needs one of them belongs to a higher floor.
//!
//! # Features
//!
//! `std` (default): blocking mutexes, random seeds, run-time CPU detection. Without it the crate needs `alloc` only.

#![cfg_attr(not(any(feature = "std", loom, shuttle)), no_std)]

extern crate alloc;

mod sync;

mod access_gate;
mod cursor;
pub mod epoch;
#[cfg(not(any(loom, shuttle)))]
mod id_table;
mod lane;
#[cfg(not(any(loom, shuttle)))]
mod lines;
#[cfg(not(any(loom, shuttle)))]
pub mod radix;
mod ring;
mod slab;

pub use access_gate::{AccessGate, AccessPass};
pub use cursor::{Block, TicketCursor};
pub use epoch::Snapshot;
#[cfg(not(any(loom, shuttle)))]
pub use id_table::{FingerprintedIdTable, TableError};
pub use lane::{Doorbell, Lane, LaneError};
#[cfg(not(any(loom, shuttle)))]
pub use radix::{CompressedRadixArena, Match, PatternError, PatternReason, RadixError};
pub use ring::{ByteRing, LockedRing, MpmcRing, RecordRing, RingError};
pub use slab::{Claimed, Handle, HandleSlab, SlabError, Ticket, TicketSlab};
