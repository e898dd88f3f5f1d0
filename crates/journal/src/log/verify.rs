//! Verification: the whole chain, from the first record that is kept to the last, without changing a byte.

use std::sync::Arc;

use serde::Serialize;

use super::anchor::Anchor;
use super::gaps::{self, Gap};
use super::reader::Position;
use super::segments::{Segment, candidates};
use super::walk::{Walked, walk};
use crate::error::JournalError;
use crate::format::{Hash, Kind, RECORD_HEADER, RecordHeader};
use crate::storage::Storage;

/// A place where the journal is not what was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes from its start.
    pub offset: u64,
    /// The first record concerned.
    pub sequence: u64,
    /// In words.
    pub what: String,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Records that were read and fit.
    pub records: u64,
    /// Sequence of the first record that is kept.
    pub first_sequence: u64,
    /// Sequence of the last record.
    pub last_sequence: u64,
    /// Segments.
    pub segments: u64,
    /// Hash of the last record, hexadecimal. Kept elsewhere it proves that nothing up to here was changed since.
    pub head: String,
    /// Records that retention removed, by its own word in the chain.
    pub removed: u64,
    /// What earlier repairs gave up.
    pub repaired: Vec<Gap>,
    /// Empty when the chain is valid.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// True when every record that should be there is, as it was written.
    pub fn valid(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(hash: &Hash) -> String {
    use std::fmt::Write;
    hash.iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Verifies the journal on `storage`, which another process may be writing: its unfinished tail is no problem.
///
/// # Errors
/// `NotFound` when there is no journal, `Io`.
pub fn verify(storage: &dyn Storage) -> Result<Verification, JournalError> {
    // Read first: the log only grows, so whatever is read afterwards reaches at least this far.
    let anchor = Anchor::read(storage);
    let gaps = gaps::read(storage)?;
    let mut problems = Vec::new();
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for candidate in candidates(storage)? {
        let place = |what: &str| Problem {
            segment: candidate.number,
            offset: 0,
            sequence: 0,
            what: what.to_owned(),
        };
        if let Some(before) = segments.last()
            && before.header.number + 1 != candidate.number
        {
            problems.push(place("the segment before this one is missing"));
        }
        match candidate.header.clone() {
            Some(header) => segments.push(Arc::new(Segment {
                header,
                size: candidate.size,
                file: candidate.file,
            })),
            None if candidate.blank => {}
            None => problems.push(place("the header of the segment cannot be read")),
        }
    }
    if segments.is_empty() {
        return Err(JournalError::new(
            crate::error::ErrorKind::NotFound,
            "there is no journal in this folder",
        ));
    }
    verify_segments(&segments, &gaps, None, anchor, problems)
}

/// [`verify`] over known segments, up to `end` or up to where the log ends.
pub(crate) fn verify_segments(
    segments: &[Arc<Segment>],
    gaps: &[Gap],
    end: Option<Position>,
    anchor: Option<Anchor>,
    mut problems: Vec<Problem>,
) -> Result<Verification, JournalError> {
    let first_sequence = segments[0].header.first_sequence;
    let mut removed = 0;
    let mut anchored = None;
    let mut visit = |header: &RecordHeader, bytes: &[u8], _: Position| {
        if header.kind == Kind::REMOVED {
            removed = removed_through(&bytes[RECORD_HEADER..]);
        }
        if anchor.is_some_and(|anchor| anchor.sequence == header.sequence) {
            anchored = Some(crate::format::hash_of(bytes));
        }
    };
    let Walked {
        records,
        sequence,
        hash,
        problems: found,
        end: last,
        ..
    } = walk(segments, gaps, end, &mut visit)
        .map_err(|error| JournalError::from_io(&error, "verifying the journal"))?;
    problems.extend(found.into_iter().map(|(problem, _)| problem));
    let at_end = |what: String, sequence| Problem {
        segment: last.segment,
        offset: last.offset,
        sequence,
        what,
    };
    if let Some(anchor) = anchor {
        if anchor.sequence > sequence {
            let what = format!(
                "records {} to {} were acknowledged and are not there",
                sequence + 1,
                anchor.sequence
            );
            problems.push(at_end(what, sequence + 1));
        } else if anchored.is_some_and(|hash| hash != anchor.hash) {
            let what = format!(
                "record {} is not the one that was acknowledged",
                anchor.sequence
            );
            problems.push(at_end(what, anchor.sequence));
        }
    }
    if first_sequence > removed + 1 {
        problems.push(Problem {
            segment: segments[0].header.number,
            offset: 0,
            sequence: removed + 1,
            what: format!(
                "records {} to {} are not there, and no retention removed them",
                removed + 1,
                first_sequence - 1
            ),
        });
    }
    Ok(Verification {
        records,
        first_sequence,
        last_sequence: sequence,
        segments: segments.len() as u64,
        head: hex(&hash),
        removed: first_sequence - 1,
        repaired: gaps.to_vec(),
        problems,
    })
}

/// Payload of a [`Kind::REMOVED`] record: sequence of the last record that was removed.
pub(crate) fn removed_payload(through: u64) -> [u8; 8] {
    through.to_le_bytes()
}

pub(crate) fn removed_through(payload: &[u8]) -> u64 {
    payload
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
