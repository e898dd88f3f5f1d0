//! Why an id table refused.

/// Why an id table refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// A byte key of no bytes.
    KeyEmpty,
    /// A byte key that is too long.
    KeyTooLong {
        /// Its length, bytes.
        length: usize,
        /// The longest allowed, bytes.
        limit: usize,
    },
    /// `0xFFFF_FFFF` means "none" and cannot be a value.
    ValueReserved,
    /// More keys than a table may hold.
    Capacity {
        /// The most keys.
        limit: usize,
    },
    /// Byte keys of more bytes, all together, than a table may hold.
    KeyBytes {
        /// The most bytes.
        limit: usize,
    },
    /// The allocator has no memory for the grown table; the old one is intact.
    OutOfMemory,
}

impl core::fmt::Display for TableError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::KeyEmpty => f.write_str("the key is empty; it needs 1 byte or more"),
            Self::KeyTooLong { length, limit } => {
                write!(f, "a key of {length} bytes; at most {limit} are allowed")
            }
            Self::ValueReserved => {
                f.write_str("value 4294967295 means \"none\"; values are 0..=4294967294")
            }
            Self::Capacity { limit } => write!(f, "a table holds at most {limit} keys"),
            Self::KeyBytes { limit } => write!(
                f,
                "the byte keys of a table take at most {limit} bytes together"
            ),
            Self::OutOfMemory => f.write_str("no memory for a larger table"),
        }
    }
}

impl core::error::Error for TableError {}
