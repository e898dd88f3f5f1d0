//! Every bound of a journal, and the options within them.

use crate::error::{ErrorKind, JournalError};

/// Largest payload of a record that any option allows, bytes.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// Smallest and largest size of a segment, bytes.
pub const MIN_SEGMENT_BYTES: u64 = 64 << 10;
/// Largest size of a segment, bytes.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;
/// Segments of one journal.
pub const MAX_SEGMENTS: u64 = 1 << 20;
/// Bytes that one group of records has at most: bounds how long the first of it waits for the last.
pub const MAX_GROUP_BYTES: usize = 4 << 20;

/// How much is kept. Whole segments go, oldest first, never the one being written.
///
/// `None` means no bound. `records` is what is kept at least, the journal's own records included (up to one segment more is there); `bytes` is what the
/// files take at most; `age_ms` removes a segment when its newest record is older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records kept at least.
    pub records: Option<u64>,
    /// Bytes of all segments at most, the prepared one included; at least three segments.
    pub bytes: Option<u64>,
    /// Milliseconds.
    pub age_ms: Option<u64>,
}

/// Options of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Preallocated size of a segment; default 64 MiB.
    pub segment_bytes: u64,
    /// Largest payload; default 1 MiB.
    pub max_record_bytes: usize,
    /// Records that may wait to be written; default 65,536.
    pub max_queued_records: usize,
    /// Bytes of payloads that may wait; default 64 MiB.
    pub max_queued_bytes: usize,
    /// What is kept; default 8 GiB.
    pub retention: Retention,
    /// Go on past damage: what cannot be read is recorded as lost and reported. Default false: damage refuses to open.
    pub repair: bool,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_record_bytes: 1 << 20,
            max_queued_records: 65_536,
            max_queued_bytes: 64 << 20,
            retention: Retention {
                bytes: Some(8 << 30),
                ..Retention::default()
            },
            repair: false,
        }
    }
}

impl JournalOptions {
    /// # Errors
    /// `Invalid` or `LimitExceeded`, naming the option and its bound.
    pub fn check(&self) -> Result<(), JournalError> {
        let between = |field: &'static str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(JournalError::new(
                ErrorKind::LimitExceeded,
                format!("{field} is {least} to {most}, not {value}"),
            )
            .field(field)
            .limit(if value < least { least } else { most }))
        };
        between(
            "segmentBytes",
            self.segment_bytes,
            MIN_SEGMENT_BYTES,
            MAX_SEGMENT_BYTES,
        )?;
        if !self.segment_bytes.is_multiple_of(4_096) {
            return Err(JournalError::new(
                ErrorKind::Invalid,
                "segmentBytes is a multiple of 4096",
            )
            .field("segmentBytes"));
        }
        // A record lies within one segment.
        let most = (self.segment_bytes / 2).min(MAX_RECORD_BYTES as u64);
        between("maxRecordBytes", self.max_record_bytes as u64, 1, most)?;
        between(
            "maxQueuedRecords",
            self.max_queued_records as u64,
            1,
            1 << 20,
        )?;
        between(
            "maxQueuedBytes",
            self.max_queued_bytes as u64,
            self.max_record_bytes as u64,
            1 << 30,
        )?;
        if let Some(bytes) = self.retention.bytes {
            between(
                "retention.bytes",
                bytes,
                self.segment_bytes * 3,
                self.segment_bytes * MAX_SEGMENTS,
            )?;
        }
        if let Some(records) = self.retention.records {
            between("retention.records", records, 1, 1 << 48)?;
        }
        if let Some(age_ms) = self.retention.age_ms {
            between("retention.ageMs", age_ms, 1, 1 << 48)?;
        }
        Ok(())
    }
}
