//! The protocol above QUIC, without I/O: connections, proofs, streams, limits, timers, targets.
//!
//! What may enter: state machines to which datagrams, the time and randomness are passed. A pair of them runs in virtual
//! time, see `tests/simulation.rs`. What is deliberately absent: sockets, threads, clocks (that is `engine`), certificates
//! and signatures (`identity`, behind [`Authenticator`]), and any meaning of a stream's bytes (the [`Application`]).

mod admission;
mod application;
mod auth;
mod authenticator;
mod cid;
mod close;
mod config;
mod control;
#[allow(
    clippy::module_inception,
    reason = "the file is named after its one type"
)]
mod core;
mod dial;
mod group;
mod io;
mod leave;
mod limits;
mod link;
mod links;
mod notices;
mod peer;
mod prove;
mod random;
mod send_window;
mod serve;
mod shard;
mod stats;
mod timers;

pub use self::core::{Core, CoreOptions};
pub use application::{Application, Reading};
pub use auth::{AuthDone, AuthJob};
pub use authenticator::{
    ALPN, AuthError, Authenticator, Channel, EXPORTER_LABEL, JOIN_ALPN, MAX_JOIN_REPLY_BYTES,
    MAX_JOIN_REQUEST_BYTES, MAX_NOTICE_BYTES, MAX_PROOF_BYTES, NodeId, PeerIdentity, SERVER_NAME,
    Side,
};
pub use close::{CloseCode, CloseReason};
#[cfg(fuzzing)]
pub use control::fuzz_control_stream;
pub use group::Group;
pub(crate) use group::patiently;
pub use io::{Io, StreamError};
pub use limits::{LimitError, Limits};
pub use peer::{Direction, PeerInfo, PeerSlot, StreamId, Target, TargetId};
pub(crate) use random::Random;
pub use stats::{CoreStats, PeerStats};
