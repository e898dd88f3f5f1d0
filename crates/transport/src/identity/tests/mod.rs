//! The whole of it: nodes that join, connect over TLS in memory, prove themselves, and everything that must be refused.

mod decoders;
mod joining;
mod network;
mod over_udp;
mod pair;
mod rotation;
mod security;
