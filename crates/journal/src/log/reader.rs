//! Reading records: one at a position, or all from one on. Only what is durable is ever returned.

use std::io;
use std::sync::Arc;

use super::gaps::Gap;
use super::segments::{Segment, Segments, corrupt};
use crate::error::{ErrorKind, JournalError, Place};
use crate::format::{
    Found, Hash, Kind, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader, decode, hash_of,
    padded, peek,
};

/// Where a record starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes from its start.
    pub offset: u64,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it says about itself.
    pub header: RecordHeader,
    /// Where it starts.
    pub at: Position,
    /// What was appended.
    pub payload: Vec<u8>,
    /// Its own hash: what the next record chains to.
    pub hash: Hash,
}

impl Entry {
    /// What it is about.
    pub fn kind(&self) -> Kind {
        self.header.kind
    }
}

/// What lies at an offset of a segment.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Record {
        header: RecordHeader,
        /// Header and payload.
        bytes: &'a [u8],
    },
    End,
    Damaged,
}

const CHUNK: usize = 256 << 10;

/// Goes through one segment, record by record, by large reads.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    file: Arc<dyn crate::storage::StorageFile>,
    size: u64,
    header: SegmentHeader,
    seed: u32,
    /// Offset in the file of `buffer[0]`.
    start: u64,
    buffer: Vec<u8>,
    /// Offset of the next record.
    pub(crate) offset: u64,
}

impl SegmentScan {
    pub(crate) fn new(segment: &Segment, offset: u64) -> Self {
        Self {
            file: Arc::clone(&segment.file),
            size: segment.size,
            header: segment.header.clone(),
            seed: segment.header.crc_seed(),
            start: 0,
            buffer: Vec::new(),
            offset: offset.max(segment.header.group_start(0)),
        }
    }

    /// Makes at least `wanted` bytes from `offset` on available, fewer only where the file ends.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let have = (self.start + self.buffer.len() as u64).saturating_sub(self.offset);
        if self.offset >= self.start && have >= wanted as u64 {
            return Ok(());
        }
        let rest = self.size.saturating_sub(self.offset);
        let length = (wanted.max(CHUNK) as u64).min(rest) as usize;
        self.buffer.resize(length, 0);
        let read = self.file.read_at(self.offset, &mut self.buffer)?;
        self.buffer.truncate(read);
        self.start = self.offset;
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        self.buffer
            .get((self.offset - self.start) as usize..)
            .unwrap_or(&[])
    }

    /// Steps over the padding between two groups, if this is where one ended.
    pub(crate) fn align(&mut self) -> io::Result<()> {
        let group = self.header.group_start(self.offset).min(self.size);
        if group > self.offset {
            self.fill(RECORD_HEADER.max((group - self.offset) as usize))?;
            let rest = self.rest();
            let padding = &rest[..rest.len().min((group - self.offset) as usize)];
            // All zeros could also be the beginning of an empty record whose checksum is zero.
            if padding.iter().all(|byte| *byte == 0)
                && !matches!(decode(rest, self.seed), Found::Record(_))
            {
                self.offset = group;
            }
        }
        Ok(())
    }

    /// The record here; moves behind it.
    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        self.fill(RECORD_HEADER)?;
        let offset = self.offset;
        if offset >= self.size {
            return Ok(Step::End);
        }
        if let Some(header) = peek(self.rest()) {
            let whole = padded(header.length as usize) as u64;
            if offset + whole > self.size {
                return Ok(Step::Damaged);
            }
            self.fill(whole as usize)?;
        }
        match decode(self.rest(), self.seed) {
            Found::End => Ok(Step::End),
            Found::Damaged => Ok(Step::Damaged),
            Found::Record(header) => {
                let length = header.length as usize;
                self.offset += padded(length) as u64;
                let from = (offset - self.start) as usize;
                Ok(Step::Record {
                    bytes: &self.buffer[from..from + RECORD_HEADER + length],
                    header,
                })
            }
        }
    }

    /// Looks for the next readable record from `offset` on, at every place where one may start, and stops there.
    pub(crate) fn resync(&mut self, least: u64) -> io::Result<Option<RecordHeader>> {
        loop {
            self.fill(RECORD_HEADER)?;
            let rest = self.rest();
            if rest.len() < RECORD_HEADER {
                return Ok(None);
            }
            // The kind is never zero: most places are ruled out by one byte.
            let skip = rest
                .chunks_exact(8)
                .skip(2)
                .take_while(|chunk| chunk[4] == 0)
                .count();
            if skip > 0 && rest.len() >= (skip + 2) * 8 {
                self.offset += skip as u64 * 8;
                continue;
            }
            let plausible = peek(rest).filter(|header| {
                header.sequence >= least
                    && self.offset + padded(header.length as usize) as u64 <= self.size
            });
            if let Some(header) = plausible {
                self.fill(padded(header.length as usize))?;
                if decode(self.rest(), self.seed) == Found::Record(header.clone()) {
                    return Ok(Some(header));
                }
            }
            self.offset += 8;
        }
    }
}

/// Reads the record at a position.
pub(crate) fn read(segments: &Segments, at: Position) -> Result<Entry, JournalError> {
    let segment = segments.get(at.segment).ok_or_else(|| {
        JournalError::new(
            ErrorKind::NotFound,
            "the record was removed by the retention",
        )
    })?;
    let failed = |error| JournalError::from_io(&error, "reading a record");
    let mut scan = SegmentScan::new(&segment, at.offset);
    match scan.next().map_err(failed)? {
        Step::Record { header, bytes, .. } => Ok(Entry {
            payload: bytes[RECORD_HEADER..].to_vec(),
            hash: hash_of(bytes),
            header,
            at,
        }),
        Step::End | Step::Damaged => Err(corrupt(
            "a record cannot be read",
            Place {
                segment: at.segment,
                offset: at.offset,
                sequence: 0,
            },
        )),
    }
}

/// Goes through the records from a position on; see [`Journal::scan`](super::Journal::scan).
#[derive(Debug)]
pub struct Scan {
    segments: Vec<Arc<Segment>>,
    gaps: Vec<Gap>,
    /// Where the durable part ends.
    end: Position,
    index: usize,
    current: Option<SegmentScan>,
    first_offset: u64,
    /// Sequence of the next record, once it is known.
    expected: Option<u64>,
}

impl Scan {
    pub(crate) fn new(
        segments: Vec<Arc<Segment>>,
        gaps: Vec<Gap>,
        from: Option<Position>,
        end: Position,
    ) -> Self {
        let index = from.map_or(0, |from| {
            segments.partition_point(|segment| segment.header.number < from.segment)
        });
        let first_offset = match from {
            Some(from)
                if segments
                    .get(index)
                    .is_some_and(|segment| segment.header.number == from.segment) =>
            {
                from.offset
            }
            _ => 0,
        };
        Self {
            segments,
            gaps,
            end,
            index,
            current: None,
            first_offset,
            expected: None,
        }
    }

    /// The next record; `None` at the durable end.
    ///
    /// # Errors
    /// `Corrupt` where a record cannot be read or is missing, `Io`.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, JournalError> {
        let failed = |error| JournalError::from_io(&error, "reading the journal");
        loop {
            let Some(segment) = self.segments.get(self.index) else {
                return Ok(None);
            };
            let header = &segment.header;
            if self.current.is_none() {
                let scan = SegmentScan::new(segment, std::mem::take(&mut self.first_offset));
                if scan.offset == header.group_start(0) {
                    if self
                        .expected
                        .is_some_and(|next| next != header.first_sequence)
                    {
                        return Err(unreadable(header.number, scan.offset, self.expected));
                    }
                    self.expected = Some(header.first_sequence);
                }
                self.current = Some(scan);
            }
            let Some(scan) = &mut self.current else {
                return Ok(None);
            };
            scan.align().map_err(failed)?;
            let at = Position {
                segment: header.number,
                offset: scan.offset,
            };
            if at >= self.end {
                return Ok(None);
            }
            let gap = self.gaps.iter().find(|gap| {
                gap.segment == at.segment
                    && gap.from == at.offset
                    && self.expected.is_none_or(|next| next == gap.first_sequence)
                    && (gap.to > gap.from || gap.last_sequence >= gap.first_sequence)
            });
            if let Some(gap) = gap {
                self.expected = Some(gap.last_sequence + 1);
                scan.offset = gap.to;
                continue;
            }
            match scan.next().map_err(failed)? {
                Step::Record { header, bytes, .. }
                    if self.expected.is_none_or(|next| next == header.sequence) =>
                {
                    self.expected = Some(header.sequence + 1);
                    return Ok(Some(Entry {
                        payload: bytes[RECORD_HEADER..].to_vec(),
                        hash: hash_of(bytes),
                        header,
                        at,
                    }));
                }
                Step::End
                    if self.segments.get(self.index + 1).is_some_and(|next| {
                        self.expected
                            .is_none_or(|expected| expected == next.header.first_sequence)
                    }) =>
                {
                    self.index += 1;
                    self.current = None;
                }
                _ => return Err(unreadable(at.segment, at.offset, self.expected)),
            }
        }
    }

    /// Where the next record starts, or the padding before it.
    pub fn position(&self) -> Position {
        match (&self.current, self.segments.get(self.index)) {
            (Some(scan), Some(segment)) => Position {
                segment: segment.header.number,
                offset: scan.offset,
            },
            (None, Some(segment)) => Position {
                segment: segment.header.number,
                offset: self.first_offset.max(SEGMENT_HEADER as u64),
            },
            _ => self.end,
        }
    }
}

fn unreadable(segment: u64, offset: u64, expected: Option<u64>) -> JournalError {
    let place = Place {
        segment,
        offset,
        sequence: expected.unwrap_or(0),
    };
    corrupt("a record cannot be read", place)
}
