//! Why a call did not do what was asked, as the number that crosses the boundary.

use serde::{Serialize, Serializer};

/// Negative result of a call. The numbers are those of `Status` in `ts/binding/contract.ts` and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    /// Nothing there: no such key, no pattern matches, ring empty. Not an error.
    NoMatch = -1,
    /// The handle's slot is empty or belongs to a later generation.
    StaleHandle = -2,
    /// A value of the wrong type, form or range.
    InvalidArgument = -3,
    /// Too many, too long or too large.
    LimitExceeded = -4,
    /// The object was closed.
    Closed = -5,
    /// The service has no instance that is alive.
    NoInstance = -6,
    /// Every live instance is ejected by its circuit breaker.
    BreakerOpen = -7,
    /// Every eligible instance is at its concurrency limit.
    Saturated = -8,
    /// The service's queue of waiting requests is full.
    QueueFull = -9,
    /// The deadline passed.
    DeadlineExceeded = -10,
    /// The service is being drained.
    Draining = -11,
    /// No service of that name.
    NotFound = -12,
    /// It exists already.
    Duplicate = -13,
    /// A panic was caught at the edge: a bug in linkmesh.
    Internal = -14,
    /// Only the native backend can do this.
    NativeRequired = -15,
    /// The ring or lane has no room for this record now.
    RingFull = -16,
    /// The ticket was completed before, or its lease ran out.
    StaleTicket = -17,
    /// The grant or the identity does not allow this.
    Denied = -18,
    /// The region, the grant or the node was revoked.
    Revoked = -19,
    /// The grant or the certificate has run out.
    Expired = -20,
    /// The other node is not connected, or the connection ended with the operation in its hands.
    NodeLost = -21,
    /// The caller gave up.
    Cancelled = -22,
    /// The address cannot be listened on: taken, not allowed, or no UDP here.
    AddressUnavailable = -23,
    /// The disk or the quota is full; nothing was written.
    DiskFull = -24,
    /// The folder or its files may not be written, or were opened for reading only.
    ReadOnly = -25,
    /// Another process has the folder open.
    Locked = -26,
    /// What is on the disk is not what was acknowledged.
    Corrupt = -27,
    /// The device failed.
    Io = -28,
    /// The state of the thing does not allow this now.
    Conflict = -29,
    /// The token bucket of the service or of the key is empty.
    RateLimited = -30,
}

impl Status {
    /// The number of the contract.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.code())
    }
}
