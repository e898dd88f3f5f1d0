//! Opening what an earlier process left: a clean end, a torn tail, damage, or nothing at all.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use serde::Serialize;

use super::anchor::Anchor;
use super::gaps::{self, Gap};
use super::reader::Position;
use super::segments::{Candidate, Prepared, Segment, candidates, corrupt};
use super::shared::now_us;
use super::walk::{Walked, walk};
use crate::error::{ErrorKind, JournalError, Place};
use crate::format::{CHAIN_START, SegmentHeader, file_name};
use crate::limits::JournalOptions;
use crate::storage::{Storage, StorageFile};

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// Sequence of the first record that is kept; 1 when none was removed.
    pub first_sequence: u64,
    /// Sequence of the last record; 0 in a new journal.
    pub last_sequence: u64,
    /// Bytes of writes that were under way when the process before ended. Nobody was told that they were durable.
    pub torn_bytes: u64,
    /// What this opening gave up, only ever with `repair`.
    pub dropped: Vec<Gap>,
}

/// A journal ready to be written.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// A segment that was prepared and not begun.
    pub(crate) prepared: Prepared,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) walked: Walked,
    pub(crate) anchor: Anchor,
    pub(crate) recovery: Recovery,
}

pub(crate) fn open(
    storage: &dyn Storage,
    options: &JournalOptions,
) -> Result<Opened, JournalError> {
    let anchor = Anchor::read(storage);
    let mut gaps = gaps::read(storage)?;
    let mut files = candidates(storage)?;
    let last_used = files.iter().rposition(|file| file.header.is_some());
    let Some(last_used) = last_used else {
        return fresh(storage, options, anchor, &files);
    };
    let after = files.split_off(last_used + 1);
    let mut segments = Vec::with_capacity(files.len());
    for (index, file) in files.into_iter().enumerate() {
        let place = Place {
            segment: file.number,
            offset: 0,
            sequence: 0,
        };
        let missing = segments
            .last()
            .is_some_and(|before: &Arc<Segment>| before.header.number + 1 != file.number);
        match file.header {
            Some(header) if !missing || options.repair => segments.push(Arc::new(Segment {
                header,
                size: file.size,
                file: file.file,
            })),
            Some(_) => return Err(corrupt("the segment before this one is missing", place)),
            None if options.repair && index > 0 => {}
            None => return Err(corrupt("the header of a segment cannot be read", place)),
        }
    }
    // Sealed segments were complete before the next one began: only the last can have a torn tail.
    let from = if options.repair {
        0
    } else {
        segments.len() - 1
    };
    let failed = |error| JournalError::from_io(&error, "reading the journal");
    let mut walked = walk(&segments[from..], &gaps, None, &mut |_, _, _| {}).map_err(failed)?;
    let mut dropped = Vec::new();
    if let Some((problem, _)) = walked.problems.first() {
        if !options.repair {
            let place = Place {
                segment: problem.segment,
                offset: problem.offset,
                sequence: problem.sequence,
            };
            return Err(corrupt(&problem.what, place));
        }
        dropped.extend(walked.problems.drain(..).map(|(_, gap)| gap));
    }
    // A segment that was begun, whose header cannot be read, and in which nothing proves that it was acknowledged.
    let id = segments[segments.len() - 1].header.journal;
    let (prepared, torn_next) = leftovers(&after, &segments, &walked, options)?;
    let anchor = anchor.filter(|anchor| anchor.journal == id);
    if let Some(anchor) = anchor
        && anchor.sequence > walked.sequence
    {
        lost_tail(
            storage,
            options,
            &segments,
            &mut walked,
            &mut dropped,
            anchor,
        )?;
    }
    if !dropped.is_empty() {
        gaps.extend(dropped.iter().cloned());
        gaps::write(storage, &gaps)?;
    }
    let tail = &segments[segments.len() - 1];
    let torn_bytes =
        wipe(tail.file.as_ref(), walked.end.offset, tail.size).map_err(failed)? + torn_next;
    // A process that was killed may have left whole records that were written and not synced. From here on they count.
    tail.file.sync().map_err(failed)?;
    walked.end.offset = tail.header.group_start(walked.end.offset);
    let recovery = Recovery {
        first_sequence: segments[0].header.first_sequence,
        last_sequence: walked.sequence,
        torn_bytes,
        dropped,
    };
    Ok(Opened {
        anchor: anchor.unwrap_or(Anchor {
            journal: id,
            sequence: 0,
            hash: CHAIN_START,
        }),
        segments,
        prepared,
        gaps,
        walked,
        recovery,
    })
}

/// What is there now, without changing a byte and without holding the folder: another process may be writing.
pub(crate) fn look(storage: &dyn Storage) -> Result<Opened, JournalError> {
    let gaps = gaps::read(storage)?;
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for file in candidates(storage)? {
        let Some(header) = file.header else { continue };
        let missing = segments
            .last()
            .is_some_and(|before| before.header.number + 1 != file.number);
        if missing {
            let place = Place {
                segment: file.number,
                offset: 0,
                sequence: header.first_sequence,
            };
            return Err(corrupt("the segment before this one is missing", place));
        }
        segments.push(Arc::new(Segment {
            header,
            size: file.size,
            file: file.file,
        }));
    }
    let Some(tail) = segments.last() else {
        return Err(JournalError::new(
            ErrorKind::NotFound,
            "there is no journal in this folder",
        ));
    };
    let id = tail.header.journal;
    let walked = walk(
        &segments[segments.len() - 1..],
        &gaps,
        None,
        &mut |_, _, _| {},
    )
    .map_err(|error| JournalError::from_io(&error, "reading the journal"))?;
    if let Some((problem, _)) = walked.problems.first() {
        let place = Place {
            segment: problem.segment,
            offset: problem.offset,
            sequence: problem.sequence,
        };
        return Err(corrupt(&problem.what, place));
    }
    Ok(Opened {
        prepared: None,
        recovery: Recovery {
            first_sequence: segments[0].header.first_sequence,
            last_sequence: walked.sequence,
            ..Recovery::default()
        },
        anchor: Anchor {
            journal: id,
            sequence: walked.sequence,
            hash: walked.hash,
        },
        segments,
        gaps,
        walked,
    })
}

/// Files after the last readable header: one that was prepared, or begun and never acknowledged.
fn leftovers(
    after: &[Candidate],
    segments: &[Arc<Segment>],
    walked: &Walked,
    options: &JournalOptions,
) -> Result<(Prepared, u64), JournalError> {
    let last = &segments[segments.len() - 1].header;
    let mut prepared = None;
    let mut torn = 0;
    for file in after {
        let expected = file.number == last.number + 1;
        if !file.blank {
            // As the header would have been: enough to recognise records.
            let segment = Segment {
                header: SegmentHeader {
                    number: file.number,
                    first_sequence: walked.sequence + 1,
                    created_us: 0,
                    previous: walked.hash,
                    journal: last.journal,
                    block: last.block,
                },
                size: file.size,
                file: Arc::clone(&file.file),
            };
            let mut scan = super::reader::SegmentScan::new(&segment, 0);
            let failed = |error| JournalError::from_io(&error, "reading the journal");
            while let Some(header) = scan.resync(walked.sequence + 1).map_err(failed)? {
                if header.group > walked.sequence + 1 && !options.repair {
                    let place = Place {
                        segment: file.number,
                        offset: 0,
                        sequence: walked.sequence + 1,
                    };
                    return Err(corrupt("the header of a segment cannot be read", place));
                }
                scan.offset += 8;
            }
        }
        if expected && file.size == options.segment_bytes {
            torn += wipe(file.file.as_ref(), 0, file.size)
                .map_err(|error| JournalError::from_io(&error, "clearing a torn segment"))?;
            prepared = Some((file.number, Arc::clone(&file.file)));
        }
    }
    Ok((prepared, torn))
}

/// The log ends before the anchor: records that were acknowledged are gone.
fn lost_tail(
    storage: &dyn Storage,
    options: &JournalOptions,
    segments: &[Arc<Segment>],
    walked: &mut Walked,
    dropped: &mut Vec<Gap>,
    anchor: Anchor,
) -> Result<(), JournalError> {
    let Position { segment, offset } = walked.end;
    let first = walked.sequence + 1;
    let what = format!(
        "records {first} to {} were acknowledged and are not there",
        anchor.sequence
    );
    if !options.repair {
        return Err(corrupt(
            &what,
            Place {
                segment,
                offset,
                sequence: first,
            },
        ));
    }
    let failed = |error| JournalError::from_io(&error, "keeping what is damaged");
    let tail = &segments[segments.len() - 1];
    let mut rest = vec![0; tail.size.saturating_sub(offset) as usize];
    let read = tail.file.read_at(offset, &mut rest).map_err(failed)?;
    rest.truncate(read);
    if rest.iter().any(|byte| *byte != 0) {
        storage
            .replace(&format!("{}.{offset}.damaged", file_name(segment)), &rest)
            .map_err(failed)?;
    }
    dropped.push(Gap {
        segment,
        from: offset,
        to: offset,
        first_sequence: first,
        last_sequence: anchor.sequence,
        resume: anchor.hash,
        what,
    });
    walked.sequence = anchor.sequence;
    walked.hash = anchor.hash;
    Ok(())
}

/// No segment has a header: a new journal, or one whose making was interrupted before anything was acknowledged.
fn fresh(
    storage: &dyn Storage,
    options: &JournalOptions,
    anchor: Option<Anchor>,
    files: &[Candidate],
) -> Result<Opened, JournalError> {
    let acknowledged = anchor.is_some_and(|anchor| anchor.sequence > 0);
    if acknowledged || files.iter().any(|file| !file.blank && file.number != 1) {
        return Err(JournalError::new(
            ErrorKind::Corrupt,
            "no segment of this journal can be read: nothing is left to go on from. Move the folder away to begin anew",
        ));
    }
    let failed = |error| JournalError::from_io(&error, "making the first segment");
    for file in files {
        storage.remove(&file_name(file.number)).map_err(failed)?;
    }
    let anchor = anchor.unwrap_or(Anchor {
        journal: random_id(),
        sequence: 0,
        hash: CHAIN_START,
    });
    anchor.write(storage)?;
    let header = SegmentHeader {
        number: 1,
        first_sequence: 1,
        created_us: now_us(),
        previous: CHAIN_START,
        journal: anchor.journal,
        block: storage.block(),
    };
    let file = storage
        .create(&file_name(1), options.segment_bytes)
        .map_err(failed)?;
    file.write_at(0, &header.encode()).map_err(failed)?;
    file.sync().map_err(failed)?;
    let walked = Walked {
        records: 0,
        sequence: 0,
        hash: CHAIN_START,
        time_us: header.created_us,
        end: Position {
            segment: 1,
            offset: header.group_start(0),
        },
        problems: Vec::new(),
        lost: 0,
    };
    Ok(Opened {
        segments: vec![Arc::new(Segment {
            header,
            size: options.segment_bytes,
            file,
        })],
        prepared: None,
        gaps: Vec::new(),
        walked,
        anchor,
        recovery: Recovery {
            first_sequence: 1,
            ..Recovery::default()
        },
    })
}

/// Writes zeros over what is left behind `from`, so that no byte of it can ever be taken for a record. Returns how many
/// bytes there were, from the first to the last that was not zero.
fn wipe(file: &dyn StorageFile, from: u64, size: u64) -> std::io::Result<u64> {
    const CHUNK: u64 = 1 << 20;
    let mut buffer = vec![0; CHUNK as usize];
    let mut last = from;
    let mut at = from;
    while at < size {
        let length = CHUNK.min(size - at) as usize;
        let read = file.read_at(at, &mut buffer[..length])?;
        if read == 0 {
            break;
        }
        if let Some(used) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            buffer[..=used].fill(0);
            file.write_at(at, &buffer[..=used])?;
            last = at + used as u64 + 1;
        }
        at += read as u64;
    }
    if last > from {
        file.sync()?;
    }
    Ok(last - from)
}

/// Unlike any other journal's; the randomness is the operating system's, through the keys of the standard hasher.
fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    for half in id.chunks_exact_mut(8) {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(now_us());
        half.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    id
}
