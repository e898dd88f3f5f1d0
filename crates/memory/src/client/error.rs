//! What can be wrong with an operation, before it was taken and after.

use std::fmt;

use crate::{
    frame::{FrameError, ImportRefusal, Status},
    region::{AccessError, Rights},
};

/// Whether an operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Delivered,
    /// It did not and never will. Said of every read that failed: reads change nothing.
    NotDelivered,
    /// It did once, or not at all; nobody can tell any more.
    Unknown,
}

/// Why an operation was not taken. Nothing was sent: the outcome is always [`Outcome::NotDelivered`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// The handle names no grant that was accepted.
    UnknownHandle,
    /// Nothing to read or to write.
    ZeroLength,
    /// More bytes than one operation may carry.
    TooLong {
        /// Asked for.
        length: u64,
        /// Most allowed.
        limit: u64,
    },
    /// The grant does not allow it: range, alignment, rights.
    Access(AccessError),
    /// The grant lacks a right that the operation needs.
    Rights {
        /// What the operation needs.
        needed: Rights,
        /// What the grant allows.
        granted: Rights,
    },
    /// The deadline has passed already.
    DeadlinePast,
    /// As many operations wait as may. May be tried again when some were answered.
    Full {
        /// Operations that may wait.
        limit: usize,
    },
    /// The client was closed.
    Closed,
}

impl SubmitError {
    /// True if the same operation may be taken later.
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHandle => f.write_str("the handle names no imported grant"),
            Self::ZeroLength => f.write_str("length is 0, expected at least 1"),
            Self::TooLong { length, limit } => write!(
                f,
                "length is {length}, the limit of one operation is {limit}"
            ),
            Self::Access(error) => error.fmt(f),
            Self::Rights { needed, granted } => write!(
                f,
                "the operation needs {needed}, the grant allows {granted}"
            ),
            Self::DeadlinePast => f.write_str("the deadline has passed already"),
            Self::Full { limit } => write!(f, "{limit} operations are waiting, which is the limit"),
            Self::Closed => f.write_str("the connection to the region's node is closed for good"),
        }
    }
}

impl std::error::Error for SubmitError {}

/// Why an operation that was taken did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationFailure {
    /// The server refused it; nothing was touched. The number is the limit that was hit, see [`Status`].
    Refused(Status, u64),
    /// The grant was presented again after the server forgot the session, and it was refused.
    ImportRefused(ImportRefusal),
    /// The handle was released before the operation was sent.
    Released,
    /// The deadline came first.
    DeadlineExceeded,
    /// The caller cancelled it.
    Cancelled,
    /// The server restarted, or the session's lease ended, before it was answered.
    SessionLost,
    /// Too few members of a replicated region can be reached to keep a change safe.
    Unavailable,
    /// The client was closed before it was answered.
    Closed,
}

/// How an operation failed, and what that means for the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationError {
    /// Why.
    pub failure: OperationFailure,
    /// Whether it took effect.
    pub outcome: Outcome,
}

impl OperationError {
    /// True if the same operation may be submitted again without the danger of a second effect and with some hope.
    pub const fn retryable(&self) -> bool {
        let hopeless = matches!(
            self.failure,
            OperationFailure::Refused(..)
                | OperationFailure::ImportRefused(_)
                | OperationFailure::Released
                | OperationFailure::Cancelled
        );
        !hopeless && matches!(self.outcome, Outcome::NotDelivered)
    }
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failure {
            OperationFailure::Refused(Status::OutOfRange, available) => {
                write!(
                    f,
                    "the range does not lie inside the {available} bytes of the slice or region"
                )
            }
            OperationFailure::Refused(Status::Misaligned, _) => {
                f.write_str("the offset of an atomic is not a multiple of 8 in the region")
            }
            OperationFailure::Refused(Status::Revoked, _) => AccessError::Revoked.fmt(f),
            OperationFailure::Refused(Status::Rights, _) => AccessError::Rights.fmt(f),
            OperationFailure::Refused(Status::Expired, _) => AccessError::Expired.fmt(f),
            OperationFailure::Refused(status, _) => {
                write!(f, "the server refused the operation: {status:?}")
            }
            OperationFailure::ImportRefused(refusal) => refusal.fmt(f),
            OperationFailure::Released => {
                f.write_str("the grant was released before the operation was sent")
            }
            OperationFailure::DeadlineExceeded => f.write_str("the deadline was exceeded"),
            OperationFailure::Cancelled => f.write_str("the operation was cancelled"),
            OperationFailure::SessionLost => {
                f.write_str("the node restarted or forgot the session before it answered")
            }
            OperationFailure::Unavailable => {
                f.write_str("too few replicas can be reached to keep the change safe")
            }
            OperationFailure::Closed => {
                f.write_str("the client was closed before the operation was answered")
            }
        }?;
        f.write_str(match self.outcome {
            Outcome::Delivered => "",
            Outcome::NotDelivered => " (not delivered)",
            Outcome::Unknown => " (outcome unknown: it happened once or not at all)",
        })
    }
}

impl std::error::Error for OperationError {}

/// The server broke the protocol; the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// Bytes that are no frame.
    Frame(FrameError),
    /// An answer to something that was not asked, or of the wrong length, with its sequence.
    Reply(u64),
    /// A control message that a server does not send, or not now.
    Control,
    /// A lane that does not exist.
    Lane(usize),
}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Reply(sequence) => write!(
                f,
                "the server answered operation {sequence}, which does not wait for that"
            ),
            Self::Control => f.write_str("the server sent a control message out of place"),
            Self::Lane(lane) => write!(f, "there is no lane {lane}"),
        }
    }
}

impl std::error::Error for ClientError {}
