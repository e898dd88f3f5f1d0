//! How a caller hears of the end of what it submitted.

use super::{ImportError, OperationError};
use crate::frame::Imported;

/// What an operation that succeeded brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success<'a> {
    /// A write was placed; a fence passed.
    Done,
    /// The word as it was, of a fetch-and-add or a compare-and-swap.
    Value(u64),
    /// What was read.
    Bytes(&'a [u8]),
    /// What was read, and the version word before and after. Torn unless both are the same even number.
    Versioned {
        /// Version word before the read.
        before: u64,
        /// Version word after the read.
        after: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// The end of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion<'a> {
    /// The sequence that `submit` returned.
    pub id: u64,
    /// What the caller gave at submission.
    pub token: u64,
    /// How it ended.
    pub result: Result<Success<'a>, OperationError>,
}

/// Takes what completed, at the moment it does. Bytes are lent: copy them where they belong.
///
/// Called while the client is at work, so it cannot submit; it should do no more than store.
pub trait Completions {
    /// An operation ended. Called once for each that was taken.
    fn completed(&mut self, completion: Completion<'_>);

    /// A presented grant was accepted or refused. Called once for each import.
    fn imported(&mut self, handle: u16, token: u64, result: Result<Imported, ImportError>);

    /// The server says that the grant under this handle is dead.
    fn revoked(&mut self, handle: u16) {
        let _ = handle;
    }
}
