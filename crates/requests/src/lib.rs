//! Frames of requests and answers between nodes, and the order in which they come, sans-IO.
//!
//! A frame goes over one of [`FRAME_STREAMS`] streams, chosen by the request's id, so that one lost packet does not hold up
//! every request; or over a ring of bytes, between nodes that share one.
//!
//! What may enter: the header, frames cut from bytes, the change between the two ways. What is deliberately absent:
//! connections, rings, lanes, and who is asked for what.

#![forbid(unsafe_code)]

mod arrivals;
mod departures;
pub mod frame;
mod reader;

pub use arrivals::{Arrivals, RingSource};
pub use departures::{COLLECT_BYTES, Collected, Departures, RingOver, Ways};
pub use reader::{FrameReader, Malformed};

/// Streams that carry frames, per direction.
pub const FRAME_STREAMS: usize = 4;
