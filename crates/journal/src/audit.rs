//! The audit trail: who did what, when, in an order that cannot be changed afterwards without it being seen.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ErrorKind, JournalError};
use crate::format::Kind;
use crate::limits::JournalOptions;
use crate::log::{Journal, Position, Recovery, Ticket, Verification};
use crate::storage::{Disk, Memory, Storage};

/// Kind of a record that is an entry of the trail.
pub const AUDIT: Kind = Kind(1);
/// Entries of one page.
const MAX_PAGE: usize = 1_000;

/// Options of an audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditOptions {
    /// Where it is kept; `None`: in memory, gone with the process.
    pub folder: Option<PathBuf>,
    /// Of the log.
    pub journal: JournalOptions,
}

/// What is to be read of the trail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditQuery {
    /// The newest so many. Without it: from `from` on, or from the oldest.
    pub tail: Option<usize>,
    /// `next` of the page before.
    pub from: Option<(u64, u64)>,
    /// Entries of this page, 1 to 1,000; default 1,000.
    pub limit: Option<usize>,
}

/// An entry as it is read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number in the trail.
    pub sequence: u64,
    /// When it became durable, milliseconds since 1970.
    pub recorded_ms: u64,
    /// What was appended.
    pub entry: Value,
}

/// Entries in order.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// `from` of the next page; `None` when this one reaches the end.
    pub next: Option<(u64, u64)>,
}

/// An append-only, hash-chained trail of JSON entries.
#[derive(Debug)]
pub struct AuditLog {
    journal: Journal,
}

impl AuditLog {
    /// Opens the folder, or begins one.
    ///
    /// # Errors
    /// As [`Journal::open`]; `Locked` when another process has the folder.
    pub fn open(options: AuditOptions) -> Result<(Self, Recovery), JournalError> {
        let storage: Arc<dyn Storage> = match &options.folder {
            None => Arc::new(Memory::default()),
            Some(folder) => Arc::new(Disk::open(folder).map_err(|error| {
                JournalError::from_io(&error, &format!("opening {}", folder.display()))
            })?),
        };
        let (journal, recovery) = Journal::open(storage, options.journal)?;
        Ok((Self { journal }, recovery))
    }

    /// Looks at a trail without holding it, also while another process writes it.
    ///
    /// # Errors
    /// As [`Journal::open_read_only`].
    pub fn open_read_only(folder: &Path) -> Result<(Self, Recovery), JournalError> {
        let disk = Disk::open_read_only(folder).map_err(|error| {
            JournalError::from_io(&error, &format!("opening {}", folder.display()))
        })?;
        let (journal, recovery) = Journal::open_read_only(Arc::new(disk))?;
        Ok((Self { journal }, recovery))
    }

    /// The log below: to append encoded entries ([`AUDIT`]) and to hear of acknowledgements.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Queues an entry; it is durable when its ticket is acknowledged.
    ///
    /// # Errors
    /// As [`Journal::append`]; `Invalid` when it has no JSON form.
    pub fn append(&self, entry: &impl Serialize) -> Result<Ticket, JournalError> {
        let bytes = serde_json::to_vec(entry)
            .map_err(|error| JournalError::new(ErrorKind::Invalid, error.to_string()))?;
        self.journal.append(AUDIT, &bytes)
    }

    /// Reads a page.
    ///
    /// # Errors
    /// `LimitExceeded` for the query, `Corrupt`, `Io`.
    pub fn read(&self, query: &AuditQuery) -> Result<AuditPage, JournalError> {
        let limit = query.limit.or(query.tail).unwrap_or(MAX_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(JournalError::new(
                ErrorKind::LimitExceeded,
                format!("a page has 1 to {MAX_PAGE} entries"),
            )
            .field("limit")
            .limit(MAX_PAGE as u64));
        }
        let last = self.journal.durable().sequence;
        let least = query
            .tail
            .map_or(0, |tail| (last + 1).saturating_sub(tail as u64));
        let from = match (query.tail, query.from) {
            (Some(_), _) => Some(self.journal.start_of(least)),
            (None, Some((segment, offset))) => Some(Position { segment, offset }),
            (None, None) => None,
        };
        let mut scan = self.journal.scan(from);
        let mut entries = Vec::new();
        while entries.len() < limit {
            let Some(record) = scan.next_entry()? else {
                return Ok(AuditPage {
                    entries,
                    next: None,
                });
            };
            if record.kind() == AUDIT && record.header.sequence >= least {
                entries.push(AuditEntry {
                    sequence: record.header.sequence,
                    recorded_ms: record.header.time_us / 1_000,
                    entry: serde_json::from_slice(&record.payload).unwrap_or(Value::Null),
                });
            }
        }
        let next = scan.position();
        Ok(AuditPage {
            entries,
            next: Some((next.segment, next.offset)),
        })
    }

    /// Checks the whole chain.
    ///
    /// # Errors
    /// `Io`.
    pub fn verify(&self) -> Result<Verification, JournalError> {
        self.journal.verify()
    }

    /// Takes no more entries, writes what waits, and returns when it is durable.
    ///
    /// # Errors
    /// As [`Journal::close`].
    pub fn close(&self) -> Result<(), JournalError> {
        self.journal.close()
    }
}
