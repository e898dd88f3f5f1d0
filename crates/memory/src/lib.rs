//! Remote memory: regions, grants, one-sided reads, writes and atomics, exactly once.
//!
//! What may enter: the frames, the regions and their checks, the sessions that make an operation happen once, bulk
//! transfers, memory shared between processes of one host. What is deliberately absent:
//! JavaScript, and, except in [`host`], sockets, threads and clocks.

pub mod grant;
pub mod host;
pub mod region;
