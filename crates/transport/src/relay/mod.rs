//! Relays: members that forward the QUIC packets of others, by connection id, without being able to read them.
//!
//! A node whose packets do not reach another asks a third, to which both are connected, for a session. Each end then sends
//! ordinary QUIC packets with 13 bytes in front (`packet`): the relay looks the id up, checks from whom it comes, takes it
//! from the sender's quota, puts the other end's id in its place and sends it on. TLS and the proofs are between the two
//! ends: a relay can drop, delay and spoil what it carries, and nothing else. [`Scores`] notice that.
//!
//! To QUIC a relayed way is an address like any other (`virtual_address`); so connecting, failing over and leaving are the
//! core's, unchanged.
//!
//! - Members only: both ends of a session are connections with both proofs, and a packet is forwarded only from the address
//!   that the sender's connection has at the moment, to the one that the receiver's has. When either ends, so do its
//!   sessions; a relay sends to nobody else and never more than it got.
//! - Bounded: sessions, packets and bytes per member ([`Quota`]), packets waiting.
//!
//! A relayed path must carry 13 bytes more than QUIC's least packet: 1213 bytes of UDP payload. Relay and ends are found by the
//! engine thread that has both connections: a relay runs one engine thread.
//!
//! What may enter: packets, sessions, quotas, scores, the ranking. What is deliberately absent: which node is behind which
//! relay (its locator says so), and encryption (QUIC's own is enough).
#![forbid(unsafe_code)]

mod forwarder;
mod frame;
mod keeper;
mod packet;
mod packets;
mod quota;
mod ranking;
mod relays;
mod routes;
mod score;
mod virtual_address;

pub use forwarder::ForwarderStats;
pub use keeper::{Keeper, Wanted};
pub(crate) use packet::HEADER;
pub(crate) use packets::{Handled, PROBE, Received};
pub use packets::{Packets, RelayStats};
pub use quota::Quota;
pub use ranking::{Candidate, Ranking};
pub use relays::{KIND, RelayError, RelayOptions, Relays, Waiter};
pub use routes::{MAX_ROUTES, RouteId};
pub use score::{Observation, Score, Scores};
pub use virtual_address::is_virtual;
