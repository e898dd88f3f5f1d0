//! Going through a log with every check: sequence, checksum, chain, and the rule that tells a torn tail from damage.
//!
//! Shared by recovery (the last segment), by repair and by verification (all of them).

use std::io;
use std::sync::Arc;

use super::gaps::Gap;
use super::reader::{Position, SegmentScan, Step};
use super::segments::Segment;
use super::verify::Problem;
use crate::format::{Hash, RecordHeader, hash_of};

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) records: u64,
    /// Of the last record, lost ones included; `first_sequence - 1` when there is none.
    pub(crate) sequence: u64,
    pub(crate) hash: Hash,
    pub(crate) time_us: u64,
    /// Where the next record goes.
    pub(crate) end: Position,
    /// Damage that no known gap explains, each with the gap that a repair would record.
    pub(crate) problems: Vec<(Problem, Gap)>,
    /// Lost records of known gaps.
    pub(crate) lost: u64,
}

/// Damaged places after which a walk gives up naming more.
const MAX_PROBLEMS: usize = 4_096;

struct State<'a> {
    gaps: &'a [Gap],
    used: Vec<bool>,
    expected: u64,
    previous: Hash,
    last_at: Option<Position>,
    walked: Walked,
}

/// Visits every record of `segments` (contiguous numbers, oldest first, not empty) up to `end`, or, without one, up to
/// where the log turns out to end.
pub(crate) fn walk(
    segments: &[Arc<Segment>],
    gaps: &[Gap],
    end: Option<Position>,
    visit: &mut dyn FnMut(&RecordHeader, &[u8], Position),
) -> io::Result<Walked> {
    let first = &segments[0].header;
    let mut state = State {
        gaps,
        used: vec![false; gaps.len()],
        expected: first.first_sequence,
        previous: first.previous,
        last_at: None,
        walked: Walked {
            records: 0,
            sequence: first.first_sequence - 1,
            hash: first.previous,
            time_us: first.created_us,
            end: Position {
                segment: first.number,
                offset: 0,
            },
            problems: Vec::new(),
            lost: 0,
        },
    };
    for (index, segment) in segments.iter().enumerate() {
        let offset = walk_segment(&mut state, segment, segments.get(index + 1), end, visit)?;
        state.walked.end = Position {
            segment: segment.header.number,
            offset,
        };
        if state.walked.problems.len() >= MAX_PROBLEMS {
            break;
        }
    }
    state.walked.sequence = state.expected - 1;
    state.walked.hash = state.previous;
    Ok(state.walked)
}

/// Returns the offset where the segment's records end.
fn walk_segment(
    state: &mut State<'_>,
    segment: &Segment,
    next: Option<&Arc<Segment>>,
    end: Option<Position>,
    visit: &mut dyn FnMut(&RecordHeader, &[u8], Position),
) -> io::Result<u64> {
    let number = segment.header.number;
    let mut scan = SegmentScan::new(segment, 0);
    loop {
        scan.align()?;
        let at = Position {
            segment: number,
            offset: scan.offset,
        };
        if end.is_some_and(|end| at >= end) {
            return Ok(at.offset);
        }
        if state.skip_gap(&mut scan, number) {
            continue;
        }
        // Set when a readable record is here that does not continue the log.
        let mut stranger = None;
        let sealed_end = |state: &State<'_>| {
            next.is_some_and(|next| {
                next.header.first_sequence == state.expected
                    && next.header.previous == state.previous
            })
        };
        match scan.next()? {
            Step::Record { header, bytes, .. }
                if header.sequence == state.expected && header.previous == state.previous =>
            {
                visit(&header, bytes, at);
                state.walked.records += 1;
                state.walked.time_us = header.time_us;
                state.previous = hash_of(bytes);
                state.expected += 1;
                state.last_at = Some(at);
                continue;
            }
            Step::Record { header, .. } => {
                stranger = Some(header).filter(|header| header.sequence >= state.expected);
            }
            Step::End if sealed_end(state) => return Ok(at.offset),
            Step::End | Step::Damaged => {}
        }
        let Some((problem, gap)) = explain(state, segment, next, end, at, stranger.as_ref())?
        else {
            return Ok(at.offset);
        };
        let resume_at = gap.to;
        state.expected = gap.last_sequence.max(gap.first_sequence - 1) + 1;
        state.previous = gap.resume;
        state.walked.problems.push((problem, gap));
        if state.walked.problems.len() >= MAX_PROBLEMS {
            return Ok(at.offset);
        }
        scan = SegmentScan::new(segment, resume_at);
        if resume_at >= segment.size {
            return Ok(segment.size);
        }
    }
}

impl State<'_> {
    /// Steps over a gap that an earlier repair recorded here.
    fn skip_gap(&mut self, scan: &mut SegmentScan, segment: u64) -> bool {
        let found = self.gaps.iter().position(|gap| {
            gap.segment == segment && gap.from == scan.offset && gap.first_sequence == self.expected
        });
        let Some(index) = found.filter(|index| !self.used[*index]) else {
            return false;
        };
        let gap = &self.gaps[index];
        self.used[index] = true;
        self.expected = gap.last_sequence + 1;
        self.previous = gap.resume;
        self.walked.lost += gap.records();
        scan.offset = gap.to;
        true
    }
}

/// The log does not continue at `at`. `None`: this is its end (a torn, never acknowledged tail may follow).
fn explain(
    state: &State<'_>,
    segment: &Segment,
    next: Option<&Arc<Segment>>,
    end: Option<Position>,
    at: Position,
    stranger: Option<&RecordHeader>,
) -> io::Result<Option<(Problem, Gap)>> {
    let expected = state.expected;
    // A record of the right number that chains to something else: the one before it is not what it was.
    let follows = stranger.is_some_and(|header| header.sequence == expected);
    let changed = follows && state.last_at.is_some();
    let wrong = if changed { expected - 1 } else { expected };
    // What must have been durable for this to be damage.
    let bound = if follows { expected - 1 } else { expected };

    let mut scan = SegmentScan::new(segment, at.offset);
    let mut resume: Option<(u64, RecordHeader)> = None;
    let mut proof = end.is_some() || next.is_some();
    while let Some(header) = scan.resync(expected)? {
        let here = scan.offset;
        if end.is_some_and(|end| (at.segment, here) >= (end.segment, end.offset)) {
            break;
        }
        // Everything before a group was durable before the group was written.
        proof |= header.group > bound;
        resume.get_or_insert((here, header));
        if proof {
            break;
        }
        scan.offset += 8;
    }
    if !proof {
        return Ok(None);
    }
    let (to, last_sequence, resume_hash) = match (&resume, next) {
        (Some((offset, header)), _) => (*offset, header.sequence - 1, header.previous),
        (None, Some(next)) => (
            segment.size,
            next.header.first_sequence.max(1) - 1,
            next.header.previous,
        ),
        // The live end of the log lies further on, and nothing before it can be read.
        (None, None) => (
            end.map_or(segment.size, |end| end.offset),
            expected,
            state.previous,
        ),
    };
    let from = if changed {
        state.last_at.map_or(at.offset, |last| last.offset)
    } else {
        at.offset
    };
    let last_sequence = last_sequence.max(wrong.saturating_sub(1));
    let what = match (stranger, changed) {
        (_, true) => format!(
            "record {wrong} was changed: its hash is not the one that record {expected} chains to"
        ),
        (Some(header), false) if last_sequence >= expected => format!(
            "records {expected} to {last_sequence} were cut out: record {} follows",
            header.sequence
        ),
        _ if last_sequence > expected => {
            format!("records {expected} to {last_sequence} cannot be read")
        }
        _ => format!("record {expected} cannot be read"),
    };
    let problem = Problem {
        segment: at.segment,
        offset: from,
        sequence: wrong,
        what: what.clone(),
    };
    let gap = Gap {
        segment: at.segment,
        from,
        to,
        first_sequence: wrong,
        last_sequence,
        resume: resume_hash,
        what,
    };
    Ok(Some((problem, gap)))
}
