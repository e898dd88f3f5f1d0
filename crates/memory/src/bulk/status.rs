//! How a transfer ended.

use std::fmt;

use crate::region::AccessError;

/// Why a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TransferStatus {
    /// Every byte is where it belongs.
    Complete = 0,
    /// The range does not lie inside the grant or the region.
    OutOfRange = 1,
    /// The grant or the region was revoked, before or in the middle.
    Revoked = 2,
    /// The grant does not hold the right.
    Rights = 3,
    /// The grant is past its expiry.
    Expired = 4,
    /// The session has no grant under this number.
    UnknownHandle = 5,
    /// The caller gave it up.
    Cancelled = 6,
    /// The deadline passed.
    Deadline = 7,
    /// Blocks arrived damaged, again and again.
    Damaged = 8,
    /// More transfers at a time than the session may have.
    TooMany = 9,
    /// The peer said what no correct peer says about this transfer.
    Malformed = 10,
    /// The session at the server is gone: it restarted, or the lease ended.
    SessionLost = 11,
}

impl TransferStatus {
    /// The status of this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Complete,
            1 => Self::OutOfRange,
            2 => Self::Revoked,
            3 => Self::Rights,
            4 => Self::Expired,
            5 => Self::UnknownHandle,
            6 => Self::Cancelled,
            7 => Self::Deadline,
            8 => Self::Damaged,
            9 => Self::TooMany,
            10 => Self::Malformed,
            11 => Self::SessionLost,
            _ => return None,
        })
    }

    /// Whether the same transfer may succeed when it is tried again.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Deadline | Self::Damaged | Self::TooMany | Self::SessionLost
        )
    }
}

impl From<AccessError> for TransferStatus {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::OutOfRange { .. } | AccessError::Misaligned { .. } => Self::OutOfRange,
            AccessError::Revoked => Self::Revoked,
            AccessError::Rights => Self::Rights,
            AccessError::Expired => Self::Expired,
        }
    }
}

impl fmt::Display for TransferStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::OutOfRange => "the range does not lie inside the grant or the region",
            Self::Revoked => "access to the region was revoked",
            Self::Rights => "the grant does not hold the right for this transfer",
            Self::Expired => "the grant has expired",
            Self::UnknownHandle => "the session holds no such grant",
            Self::Cancelled => "cancelled",
            Self::Deadline => "the deadline passed",
            Self::Damaged => "blocks arrived damaged repeatedly",
            Self::TooMany => "too many transfers at a time",
            Self::Malformed => "the peer broke the protocol",
            Self::SessionLost => "the session at the server is gone",
        })
    }
}

/// A transfer that did not complete, and what it left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferError {
    /// Why.
    pub status: TransferStatus,
    /// Bytes that were placed at the destination, as far as is known; the least if not `exact`.
    pub placed: u64,
    /// Whether `placed` is all that was placed. False for a write whose server could not be asked any more: its
    /// outcome is unknown.
    pub exact: bool,
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = if self.exact { "" } else { "at least " };
        write!(
            f,
            "{} ({least}{} bytes were placed)",
            self.status, self.placed
        )
    }
}

impl std::error::Error for TransferError {}
