//! Services across nodes: lanes between threads, continued over QUIC.
//!
//! A connected node appears as one more thread of the mesh. Its instances are in the registry like those of any thread, a
//! request to it goes into a lane, and here the frames of such lanes leave for the other process, where they enter a lane
//! to the thread that serves. Nothing is kept per request: a frame carries what its answer needs to find back.
//!
//! What may enter: frames, the lanes that begin or end at a node, the registry exchange. What is deliberately absent:
//! which instance is picked, what a body means, whether a request is tried again.
//!
//! # What is true of a request whose node is lost
//! A frame that is still in its lane was not delivered. One that was handed to QUIC may have been, and nobody can tell:
//! its outcome is unknown, unless the other side refused it in so many words.
//!
//! # Nodes of one host
//! Once two nodes have found that they share a kernel, frames go over a ring in shared memory (`ring`), and over the streams
//! again should the ring end. `linkmesh_requests` keeps the order over both changes.
//!
//! Files: `bridge` (who is connected), `link` (one of them), `ring` and `near` (those of this host), `local` (this process), `carry` (lanes → node),
//! `deliver` (node → lanes), `outlet` (one lane), `exchange` (registries), `clock`.

mod bridge;
mod carry;
mod clock;
mod deliver;
mod exchange;
mod link;
mod local;
mod near;
mod outlet;
mod ring;

pub(crate) use bridge::Bridge;
pub(crate) use clock::JsClock;
pub(crate) use ring::Neighbours;

/// Kind of the streams with frames.
pub(crate) const FRAMES: u8 = 0x20;
/// Kind of the stream with the registry exchange.
pub(crate) const REGISTRY: u8 = 0x21;
