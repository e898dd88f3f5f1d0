//! What a repair gave up, kept beside the segments: they are never rewritten, so the evidence stays.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, JournalError};
use crate::format::Hash;
use crate::storage::Storage;

pub(crate) const FILE: &str = "repairs";
/// Gaps of one journal.
const MAX_GAPS: usize = 65_536;

/// A stretch of records that could not be read any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Number of the segment in which it starts.
    pub segment: u64,
    /// Offset of its first byte.
    pub from: u64,
    /// Offset of the first readable record after it; the size of the file when there is none.
    pub to: u64,
    /// First lost sequence.
    pub first_sequence: u64,
    /// Last lost sequence; less than the first when only the chain is broken.
    pub last_sequence: u64,
    /// Hash that the next record chains to: what the last lost record hashed to.
    pub resume: Hash,
    /// What was found there.
    pub what: String,
}

impl Gap {
    /// Lost records.
    pub fn records(&self) -> u64 {
        (self.last_sequence + 1).saturating_sub(self.first_sequence)
    }
}

/// Reads the gaps that earlier repairs left.
pub(crate) fn read(storage: &dyn Storage) -> Result<Vec<Gap>, JournalError> {
    let failed = |error| JournalError::from_io(&error, "reading the list of repairs");
    let file = match storage.open(FILE) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(failed)?,
    };
    let mut bytes = vec![0; file.size().map_err(failed)?.min(64 << 20) as usize];
    let read = file.read_at(0, &mut bytes).map_err(failed)?;
    let checked = bytes[..read]
        .split_last_chunk::<4>()
        .filter(|(text, crc)| **crc == crc32c::crc32c(text).to_le_bytes());
    checked
        .and_then(|(text, _)| serde_json::from_slice(text).ok())
        .ok_or_else(|| {
            JournalError::new(
                ErrorKind::Corrupt,
                "the file `repairs` cannot be read; move it away and open with `--repair`, which finds the same again",
            )
        })
}

pub(crate) fn write(storage: &dyn Storage, gaps: &[Gap]) -> Result<(), JournalError> {
    if gaps.len() > MAX_GAPS {
        return Err(JournalError::new(
            ErrorKind::LimitExceeded,
            format!("more than {MAX_GAPS} places are damaged: this is no journal any more"),
        )
        .limit(MAX_GAPS as u64));
    }
    let mut bytes = serde_json::to_vec(gaps)
        .map_err(|error| JournalError::new(ErrorKind::Invalid, error.to_string()))?;
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    storage
        .replace(FILE, &bytes)
        .map_err(|error| JournalError::from_io(&error, "writing the list of repairs"))
}
