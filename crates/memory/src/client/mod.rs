//! The importing side: operations that wait, in one ring by their sequence, until they are answered.
//!
//! [`Client`] is one session with one exporting node. It outlives connections: what was sent and not answered is sent again under
//! the same sequence when a new connection attaches, and the server's [`Window`](crate::session::Window) sees to it that it
//! happens once. The ring is bounded; a full one refuses, it never waits.
//!
//! # What an error says
//!
//! Each [`OperationError`] carries an [`Outcome`]. `Unknown` is only ever said of an operation that changes memory, was sent, and
//! whose answer cannot come any more: the server restarted or forgot the session, or the caller gave up waiting. It then
//! happened once or not at all, and it is never sent again.
//!
//! # What may enter
//!
//! Submission, sending, answers, deadlines, cancellation, of operations and of presented grants. What is deliberately absent:
//! sockets, clocks, promises, retries that the caller did not ask for.

mod check;
#[allow(
    clippy::module_inception,
    reason = "the file is named after its one type"
)]
mod client;
mod completion;
mod error;
mod imports;
mod pending;
mod receive;
mod send;

pub(crate) use check::check_operation;
pub use client::{Client, ClientOptions, Submission};
pub use completion::{Completion, Completions, Success};
pub use error::{ClientError, OperationError, OperationFailure, Outcome, SubmitError};
pub use imports::ImportError;
