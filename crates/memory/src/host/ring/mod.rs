//! A byte ring between two processes that do not trust each other, as pure arithmetic.
//!
//! One writer, one reader, frames in between. Everything that lies in shared memory may be changed by the other side at
//! any time, to anything: each side keeps its own positions for itself, checks every position and length that it loads, and
//! copies a frame out before anybody looks at it. So a hostile or half-dead peer can stop the ring, and that is all.
//!
//! What may enter: positions, frames, the flag of a sleeping reader. What is deliberately absent: memory mappings, descriptors,
//! waiting. The memory is behind [`RingMemory`], so the models run the same code on memory that a model checker watches.

mod consumer;
mod error;
mod memory;
mod producer;

pub use consumer::Consumer;
pub use error::{Corruption, PushError};
pub use memory::{RingMemory, Word};
pub use producer::Producer;

/// Bytes before each frame: its length as a little-endian u32, and four zero bytes that keep the frame 8-aligned.
pub const HEADER_BYTES: u32 = 8;

/// The reader is at work, or will look before it sleeps.
const AWAKE: u32 = 0;
/// The reader sleeps, or is about to.
const ASLEEP: u32 = 1;

/// Bytes that a frame takes in the ring.
fn footprint(length: u32) -> u32 {
    HEADER_BYTES + length.next_multiple_of(8)
}

#[cfg(test)]
mod tests;
