//! Why a grant was not made or not accepted.

use std::fmt;

use super::Refused;
use crate::region::Rights;

/// Why a grant was not made, not read or not accepted. None of them changes by trying again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantError {
    /// The bytes or the text are not a grant.
    Malformed {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A field is longer or larger than it may be.
    TooLong {
        /// Which: `name`, `credential`, `signature`, `grant` or `links`.
        field: &'static str,
        /// The most there may be.
        limit: usize,
    },
    /// The checksum does not hold: something was lost when the text was copied.
    Checksum,
    /// Another node's region: the grant is to be presented there.
    WrongExporter,
    /// It was given to another node than the one that presents it.
    WrongNode,
    /// It is past its expiry.
    Expired,
    /// A delegation allows more than its parent, or a slice that is empty or beyond 2⁶⁴.
    Wider {
        /// What is wider: `rights`, `slice` or `expiry`.
        field: &'static str,
    },
    /// A signature does not hold, or could not be made.
    Signature(Refused),
    /// The grant, a grant it was delegated from, or all grants of a node in its chain were revoked.
    Revoked,
    /// No region of this name is exported.
    UnknownRegion,
    /// The region was exported anew since.
    StaleEpoch,
    /// The slice does not lie inside the region.
    OutOfRange {
        /// One past the last byte asked for.
        end: u64,
        /// Bytes there are.
        available: u64,
    },
    /// The region gives away less than this for the slice.
    Rights {
        /// The most that a grant for the slice may hold.
        allowed: Rights,
    },
    /// A region of this name is exported already.
    NameTaken,
    /// A table is full.
    Full {
        /// Which: `exports`, `grants in use` or `revoked grants`.
        table: &'static str,
        /// How many it holds.
        limit: usize,
    },
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { reason } => write!(f, "not a grant: {reason}"),
            Self::TooLong { field, limit } => {
                write!(f, "{field} of the grant is beyond the limit of {limit}")
            }
            Self::Checksum => f.write_str(
                "the grant is damaged: its checksum does not hold; copy it again, whole",
            ),
            Self::WrongExporter => f.write_str("the grant is for a region of another node"),
            Self::WrongNode => f.write_str("the grant was given to another node"),
            Self::Expired => f.write_str("the grant has expired"),
            Self::Wider { field } => {
                write!(f, "the delegated grant is wider than its parent: {field}")
            }
            Self::Signature(refused) => write!(f, "signature of the grant: {refused}"),
            Self::Revoked => f.write_str("the grant was revoked"),
            Self::UnknownRegion => f.write_str("no region of this name is exported"),
            Self::StaleEpoch => f.write_str("the region was exported anew; ask for a new grant"),
            Self::OutOfRange { end, available } => {
                write!(
                    f,
                    "the slice ends at {end}, the region has {available} bytes"
                )
            }
            Self::Rights { allowed } => write!(
                f,
                "the region gives at most the rights \"{allowed}\" for this slice"
            ),
            Self::NameTaken => f.write_str("a region of this name is exported already"),
            Self::Full { table, limit } => write!(f, "{table}: no more than {limit}"),
        }
    }
}

impl std::error::Error for GrantError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Signature(refused) => Some(refused),
            _ => None,
        }
    }
}
