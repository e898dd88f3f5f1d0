//! Read-copy-update: readers pin once per call or batch, writers publish with one store and free after the grace period.
//!
//! A [`Domain`] knows the threads that read (a [`Reader`] each). [`Reader::pin`] returns a [`Guard`]; everything loaded
//! from a [`Snapshot`] of that domain stays alive while the guard does. A thread that is not pinned, for instance one
//! that runs JavaScript between two calls, delays nobody.
//!
//! # How it works
//!
//! Epoch-based reclamation (Fraser, "Practical lock-freedom", 2004) with an asymmetric fence: the reader announces
//! itself with a plain store and a compiler fence; the writer, before it looks at the announcements, makes every core
//! of the process execute a full barrier (Linux `membarrier`, `PRIVATE_EXPEDITED`). Where that call is missing both
//! sides use a sequentially consistent fence instead. There is no background thread: writers collect.
//!
//! # What is deliberately absent
//!
//! Reference counts (`Arc` clones cost 25 ns and bounce a line), and hazard pointers: readers hold whole snapshots.

mod domain;
mod fence;
mod reader;
mod snapshot;

pub use domain::Domain;
pub use reader::{Guard, Reader};
pub use snapshot::{Snapshot, Writer};
