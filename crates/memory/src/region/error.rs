//! Why an access was refused.

use std::fmt;

/// Why a region or the grant before it refused an access. Nothing was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// The range does not lie inside the region or the grant.
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// Bytes there are.
        available: u64,
    },
    /// An atomic needs an offset that is a multiple of 8.
    Misaligned {
        /// The offset asked for.
        offset: u64,
    },
    /// The region was revoked, or the grant, or the region was exported anew since.
    Revoked,
    /// The grant does not hold the right.
    Rights,
    /// The grant is past its expiry.
    Expired,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange {
                offset,
                length,
                available,
            } => {
                write!(
                    f,
                    "{length} bytes at offset {offset} do not lie inside {available} bytes"
                )
            }
            Self::Misaligned { offset } => {
                write!(f, "offset {offset} of an atomic is not a multiple of 8")
            }
            Self::Revoked => f.write_str("access to the region was revoked"),
            Self::Rights => f.write_str("the grant does not hold the right for this operation"),
            Self::Expired => f.write_str("the grant has expired"),
        }
    }
}

impl std::error::Error for AccessError {}
