//! Why memory for a region could not be had.

use std::{fmt, io};

/// Why a region could not be made, grown or flushed. Nothing changed.
#[derive(Debug)]
pub enum RegionError {
    /// A region of no bytes.
    Empty,
    /// More bytes than the limit.
    TooLong {
        /// What was too long: `length` or `capacity`.
        field: &'static str,
        /// Bytes asked for.
        asked: u64,
        /// Most bytes there can be.
        limit: u64,
    },
    /// A region never shrinks.
    Shrinks {
        /// Bytes asked for.
        asked: u64,
        /// Bytes there are.
        length: u64,
    },
    /// The memory does not start at a multiple of 8, so its atomics could not be reached. A `Buffer` made by
    /// `Buffer.alloc` or a view at such an offset does.
    Misaligned,
    /// Another process has the file open as a region.
    Busy,
    /// The platform cannot do it.
    Unsupported {
        /// What it cannot do.
        what: &'static str,
    },
    /// The region was revoked.
    Revoked,
    /// The operating system refused.
    System {
        /// The call that failed.
        call: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

impl RegionError {
    /// The operating system's last error, named after the call.
    pub(super) fn system(call: &'static str) -> Self {
        Self::System {
            call,
            source: io::Error::last_os_error(),
        }
    }
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a region needs at least one byte"),
            Self::TooLong {
                field,
                asked,
                limit,
            } => write!(f, "{field} is {asked} bytes, the limit is {limit}"),
            Self::Shrinks { asked, length } => write!(
                f,
                "a region never shrinks: it has {length} bytes, {asked} were asked for"
            ),
            Self::Misaligned => {
                f.write_str("the memory must start at a multiple of 8 (use Buffer.alloc, or a view at such an offset)")
            }
            Self::Busy => f.write_str("another process has this file open as a region"),
            Self::Unsupported { what } => write!(f, "this platform has no {what}"),
            Self::Revoked => f.write_str("the region was revoked"),
            Self::System { call, source } => write!(f, "{call} failed: {source}"),
        }
    }
}

impl std::error::Error for RegionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
