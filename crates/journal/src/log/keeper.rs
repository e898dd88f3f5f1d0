//! The keeper: what can wait and must not hold the writer up. It prepares the next segment, moves the anchor and
//! removes what the retention does not keep.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::anchor::Anchor;
use super::segments::Segment;
use super::shared::{Shared, lock, now_us};
use super::verify::removed_payload;
use crate::error::JournalError;
use crate::format::{Kind, file_name};

/// At least this long between two anchors: each costs two syncs.
const ANCHOR_EVERY: Duration = Duration::from_secs(1);
/// How late a segment is removed for its age, at most.
const AGE_LOOK: Duration = Duration::from_secs(60);

pub(crate) fn run(shared: &Arc<Shared>) {
    let mut anchor_due = Instant::now() + ANCHOR_EVERY;
    loop {
        let mut chores = lock(&shared.chores);
        let (prepare, anchor, retain) = loop {
            if chores.stop {
                return;
            }
            let now = Instant::now();
            if chores.prepare.is_some() || chores.rolled || (chores.dirty && now >= anchor_due) {
                let anchor = chores.dirty && now >= anchor_due;
                if anchor {
                    chores.dirty = false;
                }
                break (
                    chores.prepare.take(),
                    anchor,
                    std::mem::take(&mut chores.rolled),
                );
            }
            let nap = if chores.dirty {
                Some(anchor_due - now)
            } else {
                shared.options.retention.age_ms.map(|_| AGE_LOOK)
            };
            let Some(nap) = nap else {
                chores = shared
                    .alarm
                    .wait(chores)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (guard, timed_out) = shared
                .alarm
                .wait_timeout(chores, nap)
                .unwrap_or_else(PoisonError::into_inner);
            chores = guard;
            if timed_out.timed_out() && !chores.dirty {
                break (None, false, true);
            }
        };
        drop(chores);
        // What fails here fails again, with words, where it matters: the writer makes its segment itself, and the
        // next anchor comes in a second.
        if let Some(number) = prepare {
            drop(prepare_segment(shared, number));
        }
        if retain {
            drop(remove_old(shared));
        }
        if anchor {
            drop(write_anchor(shared));
            anchor_due = Instant::now() + ANCHOR_EVERY;
        }
    }
}

fn prepare_segment(shared: &Shared, number: u64) -> Result<(), JournalError> {
    let mut prepared = lock(&shared.prepared);
    // The writer may have been faster, and may even have used it up.
    if prepared.is_some() || shared.segments.get(number).is_some() {
        return Ok(());
    }
    let file = shared
        .storage
        .create(&file_name(number), shared.options.segment_bytes)
        .map_err(|error| JournalError::from_io(&error, "preparing a segment"))?;
    *prepared = Some((number, file));
    Ok(())
}

/// Writes down how far the log reaches now.
pub(crate) fn write_anchor(shared: &Shared) -> Result<(), JournalError> {
    let (sequence, hash) = {
        let commits = lock(&shared.commits);
        (commits.sequence, commits.hash)
    };
    let anchor = Anchor {
        journal: shared.journal,
        sequence,
        hash,
    };
    anchor.write(shared.storage.as_ref())
}

/// Removes the oldest segments that the retention does not keep: first a record that says so, then the files.
pub(crate) fn remove_old(shared: &Shared) -> Result<(), JournalError> {
    let segments = shared.segments.all();
    let count = removable(shared, &segments);
    if count == 0 {
        return Ok(());
    }
    let before = lock(&shared.before_removal).clone();
    if let Some(before) = before {
        before();
    }
    let first_kept = &segments[count].header;
    let through = first_kept.first_sequence - 1;
    let record = removed_payload(through);
    let ticket = shared.append(Kind::REMOVED, std::iter::once(record.as_slice()))?;
    shared.wait(ticket)?;
    shared.segments.remove_before(first_kept.number);
    shared.count_removed(first_kept.first_sequence - segments[0].header.first_sequence);
    for segment in &segments[..count] {
        shared
            .storage
            .remove(&file_name(segment.header.number))
            .map_err(|error| JournalError::from_io(&error, "removing a segment"))?;
    }
    Ok(())
}

/// How many of the oldest segments may go. Never the one being written.
fn removable(shared: &Shared, segments: &[Arc<Segment>]) -> usize {
    let retention = &shared.options.retention;
    let last_sequence = lock(&shared.commits).sequence;
    let prepared: u64 = lock(&shared.prepared)
        .as_ref()
        .map_or(0, |_| shared.options.segment_bytes);
    let mut bytes: u64 = segments.iter().map(|segment| segment.size).sum::<u64>() + prepared;
    let mut count = 0;
    // A segment ends where the next one begins, in sequence and, at the latest, in time.
    for pair in segments.windows(2) {
        let next = &pair[1].header;
        let enough = retention
            .records
            .is_some_and(|keep| last_sequence + 1 - next.first_sequence >= keep);
        let too_large = retention.bytes.is_some_and(|most| bytes > most);
        let too_old = retention
            .age_ms
            .is_some_and(|age| next.created_us.saturating_add(age * 1_000) < now_us());
        if !(enough || too_large || too_old) {
            break;
        }
        bytes -= pair[0].size;
        count += 1;
    }
    count
}
