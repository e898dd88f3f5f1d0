//! The QUIC engine between nodes: identity, connections, streams, addresses, relays.
//!
//! What may enter: driving `quinn-proto` by our own loop, TLS and the node identity, the pool, locators and relays. What
//! is deliberately absent: what the bytes of a stream mean. That is `memory` above, by the `Application` trait.

pub mod address;
pub mod core;
pub mod engine;
mod framed;
pub mod identity;
mod outbox;
pub mod pool;
pub mod relay;
pub mod transport;
