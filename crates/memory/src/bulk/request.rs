//! What a caller asks of a transfer, and what becomes of it.

use std::time::Instant;

use super::{MAX_TRANSFERS, Options, TransferError};
use crate::region::Access;

/// What happened to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So much of it is done. Reports that were not collected are replaced by newer ones.
    Progress {
        /// The transfer.
        id: u64,
        /// Bytes placed (read) or handed to the network (write).
        moved: u64,
        /// Bytes of the whole.
        total: u64,
    },
    /// It is over; nothing more is said of it.
    Finished {
        /// The transfer.
        id: u64,
        /// Complete, or why not and what was placed.
        result: Result<(), TransferError>,
    },
}

/// A transfer to be begun.
#[derive(Clone, Debug)]
pub struct Request {
    /// The client's number for the grant.
    pub handle: u16,
    /// Where in the grant's slice.
    pub offset: u64,
    /// Memory of the caller: all of this access is read into, or written from.
    pub memory: Access,
    /// How it is sent.
    pub options: Options,
    /// When it is given up.
    pub deadline: Option<Instant>,
}

/// Why a transfer was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// No bytes, or more than [`MAX_TRANSFER_BYTES`](super::MAX_TRANSFER_BYTES): split it.
    Length,
    /// [`MAX_TRANSFERS`] are running.
    TooMany,
    /// The end of the range is beyond 2⁶⁴.
    OutOfRange,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length => write!(f, "a transfer has 1 to {} bytes", super::MAX_TRANSFER_BYTES),
            Self::TooMany => write!(f, "no more than {MAX_TRANSFERS} transfers at a time"),
            Self::OutOfRange => f.write_str("the range ends beyond 2^64"),
        }
    }
}

impl std::error::Error for StartError {}
