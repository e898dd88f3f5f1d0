//! What can go wrong, as data: a kind that programs decide by, words for people, and the place in the files.

use std::fmt;
use std::io;

/// What went wrong. Numbers are part of the boundary (`JournalFailure` in `ts/binding/contract-journal.ts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ErrorKind {
    /// An argument of the wrong form or range.
    Invalid = 1,
    /// Too many, too long or too large.
    LimitExceeded = 2,
    /// More is waiting to be written than the queue holds. Nothing was written; try again after acknowledgements.
    QueueFull = 3,
    /// The journal was closed before the record was durable.
    Closed = 4,
    /// The disk or the quota is full. Nothing was written; the journal goes on when there is room again.
    DiskFull = 5,
    /// The folder or its files may not be written.
    ReadOnly = 6,
    /// Another process has the folder open.
    Locked = 7,
    /// What is on the disk is not what was acknowledged. See the places in the message.
    Corrupt = 8,
    /// The device failed. After a failed sync nothing is known about the bytes under way: the journal takes no more
    /// until it is opened again.
    Io = 9,
    /// No such entry, or it was removed.
    NotFound = 10,
    /// The entry is in a state that does not allow this.
    Conflict = 11,
}

/// Where in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the segment, as in its file name.
    pub segment: u64,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Sequence that was expected there.
    pub sequence: u64,
}

/// An operation of the journal failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalError {
    /// What programs decide by.
    pub kind: ErrorKind,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// Argument or option that was wrong.
    pub field: Option<&'static str>,
    /// The bound that was crossed, in the unit of the field.
    pub limit: Option<u64>,
    /// For `Corrupt`: the first place.
    pub place: Option<Place>,
}

impl JournalError {
    /// An error with words.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            field: None,
            limit: None,
            place: None,
        }
    }

    pub(crate) fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    pub(crate) fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the journal is closed")
    }

    /// An error of the operating system while doing `what`.
    pub fn from_io(error: &io::Error, what: &str) -> Self {
        let (kind, hint) = match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => (
                ErrorKind::DiskFull,
                ": free some space or lower the retention; nothing was written",
            ),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                (ErrorKind::ReadOnly, ": the folder must be writable")
            }
            io::ErrorKind::NotFound => (ErrorKind::NotFound, ""),
            io::ErrorKind::WouldBlock => (
                ErrorKind::Locked,
                ": another process has this folder open; close it there first",
            ),
            _ => (ErrorKind::Io, ""),
        };
        Self::new(kind, format!("{what}: {error}{hint}"))
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for JournalError {}
