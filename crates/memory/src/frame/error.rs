//! What a peer can do wrong in a frame.

use std::fmt;

/// A frame that no correct peer sends. The connection cannot go on: its place in the stream is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// An operation code or a status that does not exist.
    Code(u8),
    /// A flag that does not exist, or one that this frame may not have.
    Flags(u8),
    /// A field that must be zero is not.
    Reserved,
    /// A length outside its limits.
    Length {
        /// As sent.
        length: u64,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
    },
    /// The entries of a batch do not fill its body exactly.
    Body,
    /// A control message with a version that this build does not speak.
    Version(u8),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "frame with unknown code {code}"),
            Self::Flags(flags) => write!(f, "frame with flags {flags:#04x} that it may not have"),
            Self::Reserved => f.write_str("frame with a reserved field that is not zero"),
            Self::Length { length, min, max } => {
                write!(f, "frame with length {length}, expected {min} to {max}")
            }
            Self::Body => f.write_str("batch whose entries do not fill its body"),
            Self::Version(version) => {
                write!(f, "memory protocol version {version} is not spoken here")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Checks `min <= length <= max`.
#[inline]
pub(super) fn check_length(length: u64, min: u64, max: u64) -> Result<(), FrameError> {
    if length < min || length > max {
        return Err(FrameError::Length { length, min, max });
    }
    Ok(())
}
