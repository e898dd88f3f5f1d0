//! The exporting side: operations in, replies out, on memory that is shared while it happens.
//!
//! Every operation passes, in this order: the frame's own limits, the session (is it new, done, stale?), the handle, and
//! then [`Access::check`](crate::region::Access::check): revocation, epoch, expiry, rights, range; the region checks its
//! bounds and alignment again. JavaScript does not run for any of it, and a small operation allocates nothing.
//!
//! What may enter: the execution of operations and the state of the lanes they come on. What is deliberately absent:
//! sockets, clocks, how a grant is verified ([`Access`](crate::region::Access) is its result).

mod connection;
mod control;
mod execute;
mod handles;

pub use connection::{MAX_INPUT, MAX_OUTPUT, ServerConnection, ServerError};
pub use control::Grants;
pub use handles::{HandleTable, MAX_HANDLES, TooManyHandles};
