//! How an operation ended, as one byte and one number.

use crate::region::AccessError;

/// How an operation ended at the server. A refusal comes with one number: the limit that was hit, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Executed.
    Ok = 0,
    /// The range does not lie inside the grant or the region; the number is the bytes there are.
    OutOfRange = 1,
    /// The offset of an atomic is not a multiple of 8 in the region; the number is 8.
    Misaligned = 2,
    /// The region or the grant was revoked.
    Revoked = 3,
    /// The grant does not hold the right.
    Rights = 4,
    /// The grant is past its expiry.
    Expired = 5,
    /// The session has no grant under this handle.
    UnknownHandle = 6,
    /// The sequence lies below what the client acknowledged. Not executed; a correct client waits for no such reply.
    Stale = 7,
}

impl Status {
    /// The status with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Ok,
            1 => Self::OutOfRange,
            2 => Self::Misaligned,
            3 => Self::Revoked,
            4 => Self::Rights,
            5 => Self::Expired,
            6 => Self::UnknownHandle,
            7 => Self::Stale,
            _ => return None,
        })
    }

    /// The status and the number for a refused access.
    pub const fn refusal(error: AccessError) -> (Self, u64) {
        match error {
            AccessError::OutOfRange { available, .. } => (Self::OutOfRange, available),
            AccessError::Misaligned { .. } => (Self::Misaligned, 8),
            AccessError::Revoked => (Self::Revoked, 0),
            AccessError::Rights => (Self::Rights, 0),
            AccessError::Expired => (Self::Expired, 0),
        }
    }
}
