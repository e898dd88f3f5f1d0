//! What a server remembers of a client so that an operation happens once.
//!
//! A session is a client's 128-bit random number together with its node identity. It belongs to no connection: one
//! attaches to it, dies, and the next one continues. Each operation has a sequence in the session; the [`Window`] keeps the
//! result of every one that was executed until the client says that it will never ask again. An operation that arrives a
//! second time is answered from there. Sources: RIFL (Lee et al., SOSP 2015), the responder resources of RDMA reliable
//! connections (Linux `rxe_resp.c`, `duplicate_request`).
//!
//! | the client resends | the server | so |
//! |---|---|---|
//! | a mutation that was executed | answers the saved result | it happened once |
//! | a mutation that never arrived | executes it | it happened once |
//! | a read | reads again | reads change nothing |
//! | anything below what it acknowledged | answers `Stale`, executes nothing | a late frame does no harm |
//!
//! A session that nothing is attached to ends when its lease is over. A server that restarted, or whose lease for the
//! client ended, says so when the client attaches; the client then knows that what it had sent has an unknown outcome, and it
//! does not send it again.
//!
//! What may enter: results, leases, limits on both. What is deliberately absent: frames, regions, connections, clocks.

mod table;
mod window;

pub(crate) use table::Session;
pub use table::{AttachError, SessionKey, SessionLimits, Sessions};
pub use window::{Place, Record, Window};
