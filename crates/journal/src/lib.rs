//! Durable dead letters and audit trail: append-only segments, acknowledged only when the bytes are on the disk.
//!
//! What may enter: the format of segments and records, the writer thread that groups commits, the index, recovery and
//! verification. What is deliberately absent: what a dead letter means to a router, and anything of JavaScript.
