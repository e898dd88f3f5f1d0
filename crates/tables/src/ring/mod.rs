//! Bounded queues between threads.
//!
//! [`MpmcRing`] carries values of one size, [`ByteRing`] byte records of any length, each with many producers and
//! consumers or one of both. [`LockedRing`] is the same face over a mutex: the oracle of the tests and the fallback of
//! platforms without 32-bit atomics. Order is first in, first out, per ring.
//!
//! Deliberately absent: unbounded queues, waiting. A full ring says so; who waits and how is the caller's matter
//! (see [`Doorbell`](crate::Doorbell)).

mod bytes;
mod gate;
mod locked;
mod mpmc;
mod record;
mod storage;

pub use bytes::ByteRing;
pub use locked::LockedRing;
pub use mpmc::MpmcRing;
pub use record::{RecordRing, RingError};
