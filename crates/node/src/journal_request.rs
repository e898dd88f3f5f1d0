//! Questions to dead letters and audit trail, as JSON: `JournalRequest` of the contract, and its answers.

use linkmesh_journal::{
    AuditQuery, DeadLetterQueue, ErrorKind, Filter, JournalError, RedriveResult,
};
use linkmesh_registry::Status;
use serde::Deserialize;

use crate::journal::Store;
use crate::mesh::json;
use crate::state::Failure;

#[derive(Debug, Deserialize)]
#[serde(
    tag = "op",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
enum Request {
    List {
        #[serde(default)]
        filter: Filter,
    },
    Get {
        id: u64,
    },
    Stats,
    StartRedrive {
        id: u64,
        by: String,
        #[serde(default)]
        force: bool,
    },
    FinishRedrive {
        id: u64,
        result: RedriveResult,
    },
    Purge {
        filter: Filter,
        by: String,
        #[serde(default)]
        dry_run: bool,
    },
    Read {
        #[serde(default)]
        query: AuditQuery,
    },
    Verify,
    Retain,
    Close,
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let mut failure = Self::new(status(error.kind), error.message);
        failure.field = error.field.map(str::to_owned);
        failure.limit = error.limit.map(|limit| limit as f64);
        failure
    }
}

/// The status that crosses the boundary for a kind of error.
pub(crate) fn status(kind: ErrorKind) -> Status {
    match kind {
        ErrorKind::Invalid => Status::InvalidArgument,
        ErrorKind::LimitExceeded => Status::LimitExceeded,
        ErrorKind::QueueFull => Status::QueueFull,
        ErrorKind::Closed => Status::Closed,
        ErrorKind::DiskFull => Status::DiskFull,
        ErrorKind::ReadOnly => Status::ReadOnly,
        ErrorKind::Locked => Status::Locked,
        ErrorKind::Corrupt => Status::Corrupt,
        ErrorKind::Io => Status::Io,
        ErrorKind::NotFound => Status::NotFound,
        ErrorKind::Conflict => Status::Conflict,
    }
}

/// JSON of the answer.
pub(crate) fn ask(store: &Store, request: &str) -> Result<String, Failure> {
    let request: Request = serde_json::from_str(request).map_err(|error| {
        Failure::new(Status::InvalidArgument, error.to_string()).field("request")
    })?;
    match (store, request) {
        (Store::Letters(letters), Request::Stats) => json(&letters.stats()?),
        (store, Request::Verify) => json(&store.journal().verify()?),
        (store, Request::Retain) => json(&store.journal().retain()?),
        (Store::Letters(letters), Request::Close) => json(&letters.close()?),
        (Store::Audit(audit), Request::Close) => json(&audit.close()?),
        (Store::Audit(audit), Request::Read { query }) => json(&audit.read(&query)?),
        (Store::Letters(letters), request) => ask_letters(letters, request),
        (Store::Audit(_), _) => Err(unknown("the audit trail")),
    }
}

fn ask_letters(letters: &DeadLetterQueue, request: Request) -> Result<String, Failure> {
    match request {
        Request::List { filter } => json(&letters.list(&filter)?),
        Request::Get { id } => json(&letters.get(id)?),
        Request::StartRedrive { id, by, force } => json(&letters.start_redrive(id, &by, force)?),
        Request::FinishRedrive { id, result } => json(&letters.finish_redrive(id, result)?),
        Request::Purge {
            filter,
            by,
            dry_run,
        } => json(&letters.purge(&filter, &by, dry_run)?),
        _ => Err(unknown("dead letters")),
    }
}

fn unknown(what: &str) -> Failure {
    Failure::new(
        Status::InvalidArgument,
        format!("{what} cannot answer this"),
    )
    .field("request")
}
