//! Sockets, threads and clocks around the core.
//!
//! What may enter: the loop, waiting, who drives. What is deliberately absent: any protocol (that is `core`).
//!
//! One turn is: one receiving call, the datagrams through QUIC, the application, one train per peer out. While a thread
//! waits for an answer it leases the engine and turns itself; otherwise a background thread does, spinning for a while after
//! the last packet and then sleeping.

mod driver;
#[allow(
    clippy::module_inception,
    reason = "the file is named after its one type"
)]
mod engine;
mod home;
mod lease;
mod local;
mod options;
mod proofs;
mod shared;
mod socket;
#[cfg(target_os = "linux")]
mod steering;
mod wait;

pub use engine::{Engine, EnginePoller, EngineWaker, MAX_THREADS};
pub use home::Held;
pub use lease::Lease;
pub use local::{is_own_address, reachable_at};
pub use options::{EngineOptions, LatencyMode, StartError};
