//! Remote memory: regions, grants, one-sided reads, writes and atomics, exactly once.
//!
//! What may enter: the frames, the regions and their checks, the sessions that make an operation happen once, bulk
//! transfers, memory shared between processes of one host. What is deliberately absent:
//! JavaScript, and, except in [`host`], sockets, threads and clocks.

pub mod bulk;
pub mod client;
pub mod compress;
pub mod endpoint;
pub mod frame;
pub mod grant;
pub mod host;
mod outgoing;
pub mod region;
pub mod server;
pub mod session;

pub use outgoing::Outgoing;
