//! The writers: two threads that take turns. One writes a group and syncs it; the other encodes and hashes meanwhile
//! what has come since, so that neither the processor nor the disk waits for the other.
//!
//! # Turns
//! Whoever holds [`Writers::encoding`] takes from the queue, and goes on taking into the same group until nobody syncs.
//! It then claims the disk ([`Queue::syncing`](super::queue::Queue)), lets go of `encoding` and writes. No byte of a group
//! is written before all groups before it are durable: recovery concludes from that what had been acknowledged.
//!
//! A lone append is encoded, written and acknowledged by one thread: nothing is handed over that nobody waits for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use super::commits::{Acknowledged, Ticket};
use super::group::{Cursor, Group, Head};
use super::queue::Batch;
use super::reader::Position;
use super::segments::Segment;
use super::shared::{Shared, lock, now_us};
use crate::error::{ErrorKind, JournalError};
use crate::format::{Encoder, SegmentHeader, file_name};
use crate::sync::Mutex;

/// How many threads take turns.
pub(crate) const WRITERS: usize = 2;

/// What the writers share with each other and nobody else.
pub(crate) struct Writers {
    shared: Arc<Shared>,
    encoding: Mutex<Encoding>,
    /// Only whoever has claimed the disk changes it: never waited for.
    durable: Mutex<Durable>,
}

/// The end of the log as it will be, and what of the queue was taken and not encoded yet.
struct Encoding {
    head: Head,
    batch: Batch,
    cursor: Cursor,
    /// [`Queue::failures`](super::queue::Queue) when `head` was right.
    failures: u64,
}

struct Durable {
    head: Head,
    /// Up to here the segment's blocks have been written, be it with zeros.
    written: u64,
    /// The newest segment that the keeper was asked to prepare.
    asked: u64,
}

/// Why a writer ends.
struct Ended;

impl Writers {
    pub(crate) fn new(shared: Arc<Shared>, head: Head) -> Self {
        Self {
            encoding: Mutex::new(Encoding {
                head: head.clone(),
                batch: Batch::default(),
                cursor: Cursor::default(),
                failures: 0,
            }),
            durable: Mutex::new(Durable {
                head,
                written: 0,
                asked: 0,
            }),
            shared,
        }
    }

    /// Writes until the journal is closed and its queue empty, or its device failed.
    pub(crate) fn run(&self) {
        let mut group = Group::default();
        let turns = || while self.turn(&mut group).is_ok() {};
        if catch_unwind(AssertUnwindSafe(turns)).is_err() {
            // Nobody may wait for a thread that is not there any more.
            let words = "the writer of the journal failed: a bug in linkmesh";
            stop(&self.shared, JournalError::new(ErrorKind::Io, words));
        }
    }

    /// One group from the queue to the disk.
    fn turn(&self, group: &mut Group) -> Result<(), Ended> {
        group.clear();
        let mut encoding = lock(&self.encoding);
        let mut head = self.encode(&mut encoding, group)?;
        let offset = head.offset;
        let end = group.finish(&mut head);
        encoding.head = head.clone();
        drop(encoding);
        match self.write(group, &head, offset) {
            Ok(()) => self.settle(group, &head, end),
            // A full disk may have room again for the next record. Of a device that failed nothing is known.
            Err(error) if error.kind == ErrorKind::DiskFull => self.refuse_group(group, error),
            Err(error) => {
                stop(&self.shared, error);
                return Err(Ended);
            }
        }
        Ok(())
    }

    /// Fills the group until the disk is free for it, and claims the disk. The head is that of the group's last record
    /// with the offset of its first.
    fn encode(&self, encoding: &mut Encoding, group: &mut Group) -> Result<Head, Ended> {
        let shared = &*self.shared;
        let mut head = encoding.head.clone();
        // Whether what waited when the disk was found free is in the group.
        let mut drained = false;
        loop {
            group.fill(&mut head, &encoding.batch, &mut encoding.cursor);
            let left = encoding.cursor.record < encoding.batch.spans.len();
            let mut queue = lock(&shared.queue);
            loop {
                if queue.stopped {
                    return Err(Ended);
                }
                if queue.failures != encoding.failures {
                    break;
                }
                let waits = !queue.batch.spans.is_empty();
                if !queue.syncing {
                    if group.records > 0 && (left || drained || !waits) {
                        queue.syncing = true;
                        return Ok(head);
                    }
                    if left {
                        break;
                    }
                }
                // While the disk is busy there is time to wait for more.
                if !left && waits && (!queue.syncing || queue.batch.is_worth_taking()) {
                    drained = !queue.syncing;
                    break;
                }
                if !left && !waits && group.records == 0 && queue.refused.is_some() {
                    return Err(Ended);
                }
                queue.turn_awaited = left || group.records > 0;
                queue = shared
                    .work
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                queue.turn_awaited = false;
            }
            if queue.failures != encoding.failures {
                // What was encoded follows records that were not written: it has to fail with them.
                encoding.failures = queue.failures;
                queue.settle(group.records, group.payload_bytes);
                drop(queue);
                self.refuse_follower(group);
                encoding.head = lock(&self.durable).head.clone();
                head = encoding.head.clone();
                continue;
            }
            if left {
                drop(queue);
                // The next record needs a new segment. Nobody syncs, so what is durable is what was encoded.
                match self.next_segment(&head) {
                    Ok(segment) => head = begun(segment, &head),
                    Err(error) if error.kind == ErrorKind::DiskFull => {
                        self.refuse_batch(encoding, error);
                    }
                    Err(error) => {
                        stop(shared, error);
                        return Err(Ended);
                    }
                }
                continue;
            }
            queue.swap(&mut encoding.batch);
            encoding.cursor = Cursor::default();
        }
    }

    /// Writes and syncs.
    fn write(&self, group: &mut Group, head: &Head, offset: u64) -> Result<(), JournalError> {
        let segment = &head.segment;
        let mut durable = lock(&self.durable);
        if offset == 0 {
            durable.written = 0;
        }
        if self.shared.storage.durable() {
            group.write_ahead(segment, offset, durable.written);
        }
        let failed = |error| {
            JournalError::from_io(
                &error,
                &format!("writing {}", file_name(segment.header.number)),
            )
        };
        let bytes = group.bytes.as_slice();
        segment.file.write_at(offset, bytes).map_err(failed)?;
        segment.file.sync().map_err(|error| {
            let failure = failed(error);
            // Whatever the reason, the kernel may have dropped the pages: trying again would sync nothing.
            JournalError::new(ErrorKind::Io, failure.message)
        })?;
        durable.written = durable.written.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// The prepared segment, or one made now, with the header it will have. Nothing is written yet.
    fn next_segment(&self, head: &Head) -> Result<Arc<Segment>, JournalError> {
        let shared = &self.shared;
        let number = head.segment.header.number + 1;
        let size = shared.options.segment_bytes;
        let mut prepared = lock(&shared.prepared);
        let file = match prepared.as_ref() {
            Some((found, file)) if *found == number => Arc::clone(file),
            _ => {
                let file = shared
                    .storage
                    .create(&file_name(number), size)
                    .map_err(|error| JournalError::from_io(&error, "making a segment"))?;
                *prepared = Some((number, Arc::clone(&file)));
                file
            }
        };
        Ok(Arc::new(Segment {
            header: SegmentHeader {
                number,
                first_sequence: head.encoder.sequence,
                created_us: now_us().max(head.time_us),
                previous: head.encoder.previous,
                journal: shared.journal,
                block: shared.storage.block(),
            },
            size,
            file,
        }))
    }

    /// The group is durable: publishes that, and lets the next one go.
    fn settle(&self, group: &Group, head: &Head, end: u64) {
        let shared = &self.shared;
        let next = head.segment.header.number + 1;
        let (begins, prepare) = {
            let mut durable = lock(&self.durable);
            let begins = durable.head.segment.header.number != head.segment.header.number;
            let prepare = head.offset > head.segment.size / 2 && durable.asked != next;
            if prepare {
                durable.asked = next;
            }
            let before = std::mem::replace(&mut durable.head, head.clone());
            if begins {
                before.segment.file.rest();
            }
            (begins, prepare)
        };
        if begins {
            *lock(&shared.prepared) = None;
            // Before the commit that ends in it is published: a reader follows the end.
            shared.segments.push(Arc::clone(&head.segment));
        }
        {
            let mut queue = lock(&shared.queue);
            if queue.stopped {
                return;
            }
            let mut commits = lock(&shared.commits);
            commits.sequence = head.encoder.sequence - 1;
            commits.hash = head.encoder.previous;
            commits.time_us = head.time_us;
            commits.end = Position {
                segment: head.segment.header.number,
                offset: end,
            };
            commits.push(Acknowledged {
                first: Ticket(group.first_ticket),
                count: group.records as u64,
                outcome: Ok(group.first_sequence),
            });
            drop(commits);
            queue.settle(group.records, group.payload_bytes);
            queue.syncing = false;
            if queue.turn_awaited || !queue.batch.spans.is_empty() {
                shared.work.notify_one();
            }
        }
        shared.tell();
        shared.moved();
        if begins {
            shared.ask(|chores| chores.rolled = true);
        }
        if prepare {
            shared.ask(|chores| chores.prepare = Some(next));
        }
    }

    /// The group was not written; the journal goes on from what is durable.
    fn refuse_group(&self, group: &Group, error: JournalError) {
        let mut queue = lock(&self.shared.queue);
        if queue.stopped {
            return;
        }
        // Before another group can fail: runs are in the order of their tickets.
        push_failure(&self.shared, group.first_ticket, group.records, error);
        queue.settle(group.records, group.payload_bytes);
        queue.failures += 1;
        queue.syncing = false;
        drop(queue);
        self.shared.work.notify_one();
        self.shared.tell();
    }

    /// A group that was encoded to follow one that failed.
    fn refuse_follower(&self, group: &mut Group) {
        if group.records > 0 {
            let error = lock(&self.shared.commits)
                .failure
                .clone()
                .unwrap_or_else(|| JournalError::new(ErrorKind::Io, "the group before failed"));
            push_failure(&self.shared, group.first_ticket, group.records, error);
            self.shared.tell();
        }
        group.clear();
    }

    /// There is no room for a segment: what was taken from the queue is refused.
    fn refuse_batch(&self, encoding: &mut Encoding, error: JournalError) {
        let (batch, cursor) = (&encoding.batch, encoding.cursor);
        let records = batch.spans.len() - cursor.record;
        let first = batch.first + cursor.record as u64;
        push_failure(&self.shared, first, records, error);
        lock(&self.shared.queue).settle(records, batch.bytes.len() - cursor.byte);
        encoding.cursor.record = batch.spans.len();
        self.shared.tell();
    }
}

/// The head at the start of a new segment.
fn begun(segment: Arc<Segment>, head: &Head) -> Head {
    Head {
        offset: 0,
        encoder: Encoder {
            seed: segment.header.crc_seed(),
            ..head.encoder.clone()
        },
        time_us: head.time_us,
        segment,
    }
}

/// Nothing that was not acknowledged will be, and nothing more is taken.
fn stop(shared: &Shared, error: JournalError) {
    let mut queue = lock(&shared.queue);
    if queue.stopped {
        return;
    }
    queue.stopped = true;
    queue.refused = Some(JournalError {
        message: format!(
            "{}; the journal takes no more records until it is opened again",
            error.message
        ),
        ..error.clone()
    });
    let (first, records) = queue.abandon();
    push_failure(shared, first, records, error);
    drop(queue);
    shared.work.notify_all();
    shared.tell();
}

fn push_failure(shared: &Shared, first: u64, records: usize, error: JournalError) {
    let mut commits = lock(&shared.commits);
    commits.push(Acknowledged {
        first: Ticket(first),
        count: records as u64,
        outcome: Err(error.kind),
    });
    commits.failure = Some(error);
}
