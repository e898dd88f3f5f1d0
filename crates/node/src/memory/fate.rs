//! How an operation ended, in the numbers of the contract.

use linkmesh_memory::bulk::{MAX_TRANSFER_BYTES, StartError, TransferError, TransferStatus};
use linkmesh_memory::client::{
    ImportError, OperationError, OperationFailure, Outcome, SubmitError,
};
use linkmesh_memory::endpoint::CallError;
use linkmesh_memory::frame::{ImportRefusal, Status as Refused};
use linkmesh_memory::region::AccessError;
use linkmesh_registry::Status;

use crate::memory::page::Fate;
use crate::state::Failure;

/// `CompletionFlag` of the contract.
const RETRYABLE: u32 = 1;
const DELIVERED: u32 = 2;
const UNKNOWN: u32 = 4;
pub(super) const BULK: u32 = 8;
pub(super) const PROGRESS: u32 = 16;
pub(super) const NEARBY: u32 = 32;

/// `CompletionField` of the contract.
const NO_FIELD: u32 = 0;
const OFFSET: u32 = 1;
const LENGTH: u32 = 2;
const REMOTE: u32 = 3;
const RIGHTS: u32 = 4;

type What = (Status, u32, u64);

fn refused(status: Refused, number: u64) -> What {
    match status {
        Refused::OutOfRange | Refused::Misaligned => (Status::InvalidArgument, OFFSET, number),
        Refused::Revoked => (Status::Revoked, NO_FIELD, 0),
        Refused::Rights => (Status::Denied, RIGHTS, 0),
        Refused::Expired => (Status::Expired, NO_FIELD, 0),
        Refused::UnknownHandle => (Status::StaleHandle, REMOTE, 0),
        Refused::Ok | Refused::Stale => (Status::Internal, NO_FIELD, 0),
    }
}

fn access(error: AccessError) -> What {
    let (status, number) = Refused::refusal(error);
    refused(status, number)
}

pub(super) fn import_refused(refusal: ImportRefusal) -> Status {
    match refusal {
        ImportRefusal::Malformed => Status::InvalidArgument,
        ImportRefusal::Expired => Status::Expired,
        ImportRefusal::Revoked => Status::Revoked,
        ImportRefusal::UnknownRegion => Status::NotFound,
        ImportRefusal::TooMany => Status::LimitExceeded,
        ImportRefusal::Signature | ImportRefusal::WrongNode | ImportRefusal::Wider => {
            Status::Denied
        }
    }
}

fn fate((status, field, limit): What, outcome: Outcome, retryable: bool) -> Fate {
    let outcome = match outcome {
        Outcome::Delivered => DELIVERED,
        Outcome::NotDelivered => 0,
        Outcome::Unknown => UNKNOWN,
    };
    Fate {
        status: status as i32,
        flags: outcome | if retryable { RETRYABLE } else { 0 },
        field,
        limit: limit as f64,
    }
}

/// Of an operation that was taken.
pub(super) fn of_operation(error: &OperationError) -> Fate {
    let what = match error.failure {
        OperationFailure::Refused(status, number) => refused(status, number),
        OperationFailure::ImportRefused(refusal) => (import_refused(refusal), NO_FIELD, 0),
        OperationFailure::DeadlineExceeded => (Status::DeadlineExceeded, NO_FIELD, 0),
        OperationFailure::Cancelled => (Status::Cancelled, NO_FIELD, 0),
        OperationFailure::SessionLost | OperationFailure::Unavailable => {
            (Status::NodeLost, NO_FIELD, 0)
        }
        OperationFailure::Released | OperationFailure::Closed => (Status::Closed, NO_FIELD, 0),
    };
    fate(what, error.outcome, error.retryable())
}

/// Of one that was refused on the spot, here or in memory that is mapped here.
pub(super) fn of_access(error: AccessError) -> Fate {
    fate(access(error), Outcome::NotDelivered, false)
}

/// Of one whose remote region is closed, or never was.
pub(super) fn stale() -> Fate {
    fate(
        (Status::StaleHandle, REMOTE, 0),
        Outcome::NotDelivered,
        false,
    )
}

/// Of one whose record makes no sense.
pub(super) fn malformed() -> Fate {
    fate(
        (Status::InvalidArgument, OFFSET, 0),
        Outcome::NotDelivered,
        false,
    )
}

/// Of one that waits for nobody: the node is closed.
pub(super) fn closed() -> Fate {
    fate((Status::Closed, NO_FIELD, 0), Outcome::NotDelivered, false)
}

/// Of one that could not be done at once, and was to be done at once or not at all.
pub(super) fn not_now() -> Fate {
    fate((Status::NoMatch, NO_FIELD, 0), Outcome::NotDelivered, true)
}

/// Of one that was sent when the node was closed.
pub(super) fn lost(is_mutation: bool) -> Fate {
    let outcome = if is_mutation {
        Outcome::Unknown
    } else {
        Outcome::NotDelivered
    };
    fate((Status::Closed, NO_FIELD, 0), outcome, false)
}

/// Of one with fewer than one byte or more than may be.
pub(super) fn too_long(length: u64, limit: u64) -> Fate {
    let what = if length == 0 {
        (Status::InvalidArgument, LENGTH, 1)
    } else {
        (Status::LimitExceeded, LENGTH, limit)
    };
    fate(what, Outcome::NotDelivered, false)
}

/// Of one that is too much at a time.
pub(super) fn saturated(limit: u64) -> Fate {
    fate(
        (Status::Saturated, NO_FIELD, limit),
        Outcome::NotDelivered,
        true,
    )
}

/// Of one that was not taken.
pub(super) fn of_call(error: &CallError) -> Fate {
    let what = match error {
        CallError::UnknownRemote => (Status::StaleHandle, REMOTE, 0),
        CallError::Submit(error) => match *error {
            SubmitError::UnknownHandle => (Status::StaleHandle, REMOTE, 0),
            SubmitError::ZeroLength => (Status::InvalidArgument, LENGTH, 1),
            SubmitError::TooLong { limit, .. } => (Status::LimitExceeded, LENGTH, limit),
            SubmitError::Access(error) => access(error),
            SubmitError::Rights { .. } => (Status::Denied, RIGHTS, 0),
            SubmitError::DeadlinePast => (Status::DeadlineExceeded, NO_FIELD, 0),
            SubmitError::Full { limit } => (Status::Saturated, NO_FIELD, limit as u64),
            SubmitError::Closed => (Status::Closed, NO_FIELD, 0),
        },
        CallError::Undrained { limit } => (Status::Saturated, NO_FIELD, *limit as u64),
        CallError::Remotes { limit } => (Status::LimitExceeded, REMOTE, *limit as u64),
        CallError::Grant(_) | CallError::Replicated { .. } => (Status::InvalidArgument, REMOTE, 0),
        CallError::Import(error) => match error {
            ImportError::Refused(refusal) => (import_refused(*refusal), REMOTE, 0),
            ImportError::TooLong { limit, .. } | ImportError::Full { limit } => {
                (Status::LimitExceeded, REMOTE, *limit as u64)
            }
            ImportError::Closed => (Status::Closed, NO_FIELD, 0),
        },
        CallError::Transfer(error) => match error {
            StartError::Length => (Status::LimitExceeded, LENGTH, MAX_TRANSFER_BYTES),
            StartError::TooMany => (Status::Saturated, NO_FIELD, 0),
            StartError::OutOfRange => (Status::InvalidArgument, OFFSET, 0),
        },
    };
    fate(what, error.outcome(), error.retryable())
}

/// Of a bulk transfer. A write that placed a part says so: its outcome is not that nothing happened.
pub(super) fn of_transfer(error: &TransferError, is_write: bool) -> Fate {
    let what = match error.status {
        TransferStatus::OutOfRange => (Status::InvalidArgument, OFFSET, 0),
        TransferStatus::Revoked => (Status::Revoked, NO_FIELD, 0),
        TransferStatus::Rights => (Status::Denied, RIGHTS, 0),
        TransferStatus::Expired => (Status::Expired, NO_FIELD, 0),
        TransferStatus::UnknownHandle => (Status::StaleHandle, REMOTE, 0),
        TransferStatus::Cancelled => (Status::Cancelled, NO_FIELD, 0),
        TransferStatus::Deadline => (Status::DeadlineExceeded, NO_FIELD, 0),
        TransferStatus::TooMany => (Status::Saturated, NO_FIELD, 0),
        TransferStatus::SessionLost => (Status::NodeLost, NO_FIELD, 0),
        TransferStatus::Complete | TransferStatus::Damaged | TransferStatus::Malformed => {
            (Status::Corrupt, NO_FIELD, 0)
        }
    };
    let outcome = if is_write && !(error.exact && error.placed == 0) {
        Outcome::Unknown
    } else {
        Outcome::NotDelivered
    };
    fate(what, outcome, error.status.is_retryable())
}

/// For `lastError`, after a synchronous call.
pub(super) fn failure(fate: &Fate) -> Failure {
    let field = match fate.field {
        OFFSET => "offset",
        LENGTH => "length",
        REMOTE => "remote",
        RIGHTS => "rights",
        _ => "",
    };
    let mut failure = Failure::of_number(fate.status, words(fate.status));
    if !field.is_empty() {
        failure = failure.field(field);
    }
    if fate.limit > 0.0 {
        failure = failure.limit(fate.limit);
    }
    let outcome = if fate.flags & UNKNOWN != 0 {
        "unknown"
    } else if fate.flags & DELIVERED != 0 {
        "delivered"
    } else {
        "not-delivered"
    };
    failure.outcome(outcome, fate.flags & RETRYABLE != 0)
}

fn words(status: i32) -> &'static str {
    const INVALID: i32 = Status::InvalidArgument as i32;
    const LIMIT: i32 = Status::LimitExceeded as i32;
    const STALE: i32 = Status::StaleHandle as i32;
    const DENIED: i32 = Status::Denied as i32;
    const REVOKED: i32 = Status::Revoked as i32;
    const EXPIRED: i32 = Status::Expired as i32;
    const LOST: i32 = Status::NodeLost as i32;
    const DEADLINE: i32 = Status::DeadlineExceeded as i32;
    const SATURATED: i32 = Status::Saturated as i32;
    const CANCELLED: i32 = Status::Cancelled as i32;
    match status {
        INVALID => "it lies outside the granted range or is not aligned",
        LIMIT => "it is too large",
        STALE => "the remote region is closed",
        DENIED => "the grant does not allow it",
        REVOKED => "the region or the grant has been revoked",
        EXPIRED => "the grant has run out",
        LOST => "the node that holds the memory was lost",
        DEADLINE => "it did not end in time",
        SATURATED => "too much is under way to that node",
        CANCELLED => "it was cancelled",
        _ => "it was refused",
    }
}
