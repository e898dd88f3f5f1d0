//! Why a ring refused, and what a peer did to it.

use std::fmt;

/// What in the shared memory cannot have been written by an honest peer. The ring is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// The consumer's position is not among the bytes that were published and not released.
    Head {
        /// What was found.
        found: u32,
        /// The last good one.
        last: u32,
        /// The furthest it may be.
        limit: u32,
    },
    /// The producer's position runs backwards, over unreleased bytes, or into the middle of a word.
    Tail {
        /// What was found.
        found: u32,
        /// The consumer's position.
        head: u32,
        /// Bytes of the ring.
        capacity: u32,
    },
    /// A frame is longer than the bytes that were published with it.
    Length {
        /// What its header says, bytes.
        found: u32,
        /// Bytes there are.
        limit: u32,
    },
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head { found, last, limit } => {
                write!(f, "the peer released {found}, not within {last}..={limit}")
            }
            Self::Tail {
                found,
                head,
                capacity,
            } => write!(
                f,
                "the peer published {found}, not within {capacity} bytes after {head}"
            ),
            Self::Length { found, limit } => {
                write!(
                    f,
                    "the peer wrote a frame of {found} bytes where {limit} are"
                )
            }
        }
    }
}

impl std::error::Error for Corruption {}

/// Why a frame was not taken. Nothing was written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No room now: the consumer has to release first.
    Full,
    /// The frame would not fit an empty ring.
    TooLong {
        /// Its length, bytes.
        length: usize,
        /// The longest that the ring takes, bytes.
        limit: usize,
    },
    /// The peer has spoiled the ring.
    Broken(Corruption),
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the ring has no room for this frame now"),
            Self::TooLong { length, limit } => {
                write!(
                    f,
                    "a frame of {length} bytes; this ring takes at most {limit}"
                )
            }
            Self::Broken(what) => what.fmt(f),
        }
    }
}

impl std::error::Error for PushError {}

impl From<Corruption> for PushError {
    fn from(what: Corruption) -> Self {
        Self::Broken(what)
    }
}
