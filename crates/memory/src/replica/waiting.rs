//! Operations of a client that are not over, and how they end.

use std::{fmt, time::Instant};

use bytes::Bytes;

use super::{Mutation, Refusal};
use crate::client::Outcome;

/// What an operation brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    /// The write is applied.
    Done,
    /// The word as it was.
    Value(u64),
    /// What was there.
    Bytes(Bytes),
}

/// Why an operation did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// The group refused it. [`Refusal::Unavailable`] only after the deadline: until then it is tried again.
    Refused(Refusal),
    /// The deadline came first.
    DeadlineExceeded,
    /// The caller cancelled it.
    Cancelled,
    /// The group forgot the session before it was answered: the client was cut off for longer than the lease.
    SessionLost,
    /// The client was closed before it was answered.
    Closed,
}

/// How an operation failed, and what that means for the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: FailureCause,
    /// Whether it took effect.
    pub outcome: Outcome,
}

impl Failure {
    /// True if the same operation may be submitted again without the danger of a second effect and with some hope.
    pub const fn retryable(&self) -> bool {
        let hopeful = matches!(
            self.cause,
            FailureCause::Refused(Refusal::Unavailable | Refusal::Sessions)
                | FailureCause::DeadlineExceeded
                | FailureCause::SessionLost
        );
        hopeful && matches!(self.outcome, Outcome::NotDelivered)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            FailureCause::Refused(refusal) => refusal.fmt(f),
            FailureCause::DeadlineExceeded => f.write_str("the deadline was exceeded"),
            FailureCause::Cancelled => f.write_str("the operation was cancelled"),
            FailureCause::SessionLost => {
                f.write_str("the replicas forgot the session before they answered")
            }
            FailureCause::Closed => {
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

impl std::error::Error for Failure {}

/// A read or a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Alters the region, once.
    Mutate(Mutation),
    /// Reads 1 to 65,536 bytes.
    Read {
        /// Where.
        offset: u64,
        /// How many.
        length: u32,
    },
}

impl Operation {
    /// Bytes that go or come.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Mutate(mutation) => mutation.range().1 as usize,
            Self::Read { length, .. } => *length as usize,
        }
    }
}

/// One operation on its way.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) token: u64,
    pub(super) operation: Operation,
    pub(super) deadline: Option<Instant>,
    /// Copies that were sent, and copies that were refused: those were not executed and never will be.
    pub(super) sent: u32,
    pub(super) refused: u32,
    pub(super) refusal: Option<Refusal>,
    /// The caller has its answer.
    pub(super) is_over: bool,
}

impl Waiting {
    /// What is known when the caller stops waiting now.
    pub(super) fn outcome(&self) -> Outcome {
        let is_mutation = matches!(self.operation, Operation::Mutate(_));
        if is_mutation && self.sent > self.refused {
            Outcome::Unknown
        } else {
            Outcome::NotDelivered
        }
    }
}
