//! The byte ring that JavaScript writes into, and how its reader sleeps.
//!
//! A [`Lane`] owns memory that both threads see as an `ArrayBuffer`, and the two positions that say whose bytes are
//! whose. It never looks at the bytes: frames are the business of the floor above. A [`Doorbell`] is one flag per
//! reader that makes a sleeping reader wake exactly once.
//!
//! Deliberately absent: threads, wakers, frame formats.

mod doorbell;
mod positions;

pub use doorbell::Doorbell;
pub use positions::{Lane, LaneError};
