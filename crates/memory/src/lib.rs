//! Remote memory: regions, grants, one-sided reads, writes and atomics, exactly once.
//!
//! What may enter: the frames, the regions and their checks, the sessions that make an operation happen once, bulk
//! transfers, memory shared between processes of one host. What is deliberately absent: sockets, clocks and JavaScript.

pub mod grant;
pub mod region;
