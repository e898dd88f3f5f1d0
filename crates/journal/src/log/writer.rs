//! The writer: one thread that takes everything that waits, writes it by one call, syncs once, and tells.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use super::commits::{Acknowledged, Ticket};
use super::queue::Batch;
use super::reader::Position;
use super::segments::Segment;
use super::shared::{Shared, lock, now_us};
use crate::error::{ErrorKind, JournalError};
use crate::format::{Encoder, SegmentHeader, file_name, padded};
use crate::limits::MAX_GROUP_BYTES;

/// Groups of up to so many bytes write ahead.
const SMALL_GROUP: usize = 32 << 10;
/// How far.
const AHEAD: u64 = 256 << 10;

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u64,
    pub(crate) encoder: Encoder,
    pub(crate) time_us: u64,
    /// Up to here the segment's blocks have been written, be it with zeros.
    pub(crate) written: u64,
    /// Bytes of the group being written; kept to be used again.
    pub(crate) out: Vec<u8>,
}

/// What one call of [`Writer::group`] made durable.
struct Written {
    records: usize,
    bytes: usize,
    first_sequence: u64,
    /// Where its last record ends.
    end: u64,
}

impl Writer {
    /// Writes until the journal is closed and its queue empty.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut batch = Batch::default();
        loop {
            let mut queue = lock(&shared.queue);
            while queue.batch.spans.is_empty() {
                if queue.refused.is_some() {
                    return;
                }
                queue = shared
                    .work
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            queue.swap(&mut batch);
            drop(queue);
            let Ok(open) = catch_unwind(AssertUnwindSafe(|| self.write(&batch))) else {
                // Nobody may wait for a thread that is not there any more.
                let words = "the writer of the journal failed: a bug in linkmesh";
                return stop(&shared, JournalError::new(ErrorKind::Io, words));
            };
            if !open {
                return;
            }
        }
    }

    /// False when the device failed and the journal has stopped.
    fn write(&mut self, batch: &Batch) -> bool {
        let (mut record, mut byte) = (0, 0);
        while record < batch.spans.len() {
            let first = batch.first + record as u64;
            match self.group(batch, record, byte) {
                Ok(written) => {
                    self.settle(first, &written);
                    record += written.records;
                    byte += written.bytes;
                }
                // A full disk may have room again for the next record. Of a device that failed nothing is known.
                Err(error) if error.kind == ErrorKind::DiskFull => {
                    let (records, bytes) = (batch.spans.len() - record, batch.bytes.len() - byte);
                    refuse(&self.shared, first, records, bytes, error);
                    return true;
                }
                Err(error) => {
                    stop(&self.shared, error);
                    return false;
                }
            }
        }
        true
    }

    /// Writes as many records as one segment and one group take, and syncs them.
    fn group(
        &mut self,
        batch: &Batch,
        record: usize,
        byte: usize,
    ) -> Result<Written, JournalError> {
        let spans = &batch.spans[record..];
        let needed = padded(spans[0].1 as usize) as u64;
        let next = if self.offset + needed > self.segment.size {
            Some(self.next_segment()?)
        } else {
            None
        };
        // Kept aside until the bytes are durable: a group that fails leaves the chain as it was.
        let mut encoder = self.encoder.clone();
        let (segment, mut offset) = match &next {
            Some(segment) => (segment, 0),
            None => (&self.segment, self.offset),
        };
        self.out.clear();
        if next.is_some() {
            encoder.seed = segment.header.crc_seed();
            self.out.extend_from_slice(&segment.header.encode());
            self.out.resize(segment.header.group_start(0) as usize, 0);
        }
        let time_us = now_us().max(self.time_us);
        let first_sequence = encoder.sequence;
        let (mut records, mut bytes) = (0, 0);
        for (kind, length) in spans {
            let length = *length as usize;
            let end = self.out.len() + padded(length);
            if records > 0 && (end > MAX_GROUP_BYTES || offset + end as u64 > segment.size) {
                break;
            }
            let payload = &batch.bytes[byte + bytes..byte + bytes + length];
            encoder.push(&mut self.out, first_sequence, *kind, time_us, payload);
            records += 1;
            bytes += length;
        }
        let end = offset + self.out.len() as u64;
        let whole = self.write_ahead(segment.size, offset, next.is_some());
        self.out.resize(whole, 0);
        let failed = |error| {
            JournalError::from_io(
                &error,
                &format!("writing {}", file_name(segment.header.number)),
            )
        };
        segment.file.write_at(offset, &self.out).map_err(failed)?;
        segment.file.sync().map_err(|error| {
            let failure = failed(error);
            // Whatever the reason, the kernel may have dropped the pages: trying again would sync nothing.
            JournalError::new(ErrorKind::Io, failure.message)
        })?;
        let written = offset + self.out.len() as u64;
        offset = segment.header.group_start(end);
        if self.out.len() > MAX_GROUP_BYTES * 2 {
            // One record of unusual size; not kept for ever.
            self.out = Vec::new();
        }
        if let Some(segment) = next {
            self.begin(segment);
        }
        self.offset = offset;
        self.written = written.max(self.written);
        self.encoder = encoder;
        self.time_us = time_us;
        Ok(Written {
            records,
            bytes,
            first_sequence,
            end,
        })
    }

    /// The prepared segment, or one made now, with the header it will have. Nothing is written yet.
    fn next_segment(&self) -> Result<Arc<Segment>, JournalError> {
        let number = self.segment.header.number + 1;
        let size = self.shared.options.segment_bytes;
        let mut prepared = lock(&self.shared.prepared);
        let file = match prepared.as_ref() {
            Some((found, file)) if *found == number => Arc::clone(file),
            _ => {
                let file = self
                    .shared
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
                first_sequence: self.encoder.sequence,
                created_us: now_us().max(self.time_us),
                previous: self.encoder.previous,
                journal: self.shared.journal,
                block: self.shared.storage.block(),
            },
            size,
            file,
        }))
    }

    /// Bytes to write, zeros for the groups to come included: a small group that reaches where the file was never written
    /// takes some along. The first write to reserved space changes the file system's own records, which costs a sync more
    /// than the data; this way one group in many pays for it. A large group is worth its own.
    fn write_ahead(&self, size: u64, offset: u64, begins: bool) -> usize {
        let end = offset + self.out.len() as u64;
        let known = if begins { 0 } else { self.written };
        if self.out.len() > SMALL_GROUP || end <= known || !self.shared.storage.durable() {
            return self.out.len();
        }
        ((end + AHEAD).min(size) - offset) as usize
    }

    fn begin(&mut self, segment: Arc<Segment>) {
        self.written = 0;
        *lock(&self.shared.prepared) = None;
        // Before the commit that ends in it is published: a reader follows the end.
        self.shared.segments.push(Arc::clone(&segment));
        self.segment = segment;
        self.shared.ask(|chores| chores.rolled = true);
    }

    fn settle(&self, first: u64, written: &Written) {
        let shared = &self.shared;
        lock(&shared.queue).settle(written.records, written.bytes);
        {
            let mut commits = lock(&shared.commits);
            commits.sequence = self.encoder.sequence - 1;
            commits.hash = self.encoder.previous;
            commits.time_us = self.time_us;
            commits.end = Position {
                segment: self.segment.header.number,
                offset: written.end,
            };
            commits.push(Acknowledged {
                first: Ticket(first),
                count: written.records as u64,
                outcome: Ok(written.first_sequence),
            });
        }
        shared.tell();
        shared.moved();
        if self.offset > self.segment.size / 2 {
            let next = self.segment.header.number + 1;
            let there = lock(&shared.prepared).is_some();
            if !there {
                shared.ask(|chores| chores.prepare = Some(next));
            }
        }
    }
}

/// `count` records of a batch were not written; the journal goes on.
fn refuse(shared: &Shared, first: u64, records: usize, bytes: usize, error: JournalError) {
    lock(&shared.queue).settle(records, bytes);
    push_failure(shared, first, records as u64, error);
}

/// Nothing that was not acknowledged will be, and nothing more is taken.
fn stop(shared: &Shared, error: JournalError) {
    let mut queue = lock(&shared.queue);
    queue.refused = Some(JournalError {
        message: format!(
            "{}; the journal takes no more records until it is opened again",
            error.message
        ),
        ..error.clone()
    });
    let (first, records) = queue.abandon();
    drop(queue);
    push_failure(shared, first, records as u64, error);
}

fn push_failure(shared: &Shared, first: u64, count: u64, error: JournalError) {
    let mut commits = lock(&shared.commits);
    commits.push(Acknowledged {
        first: Ticket(first),
        count,
        outcome: Err(error.kind),
    });
    commits.failure = Some(error);
    drop(commits);
    shared.tell();
}
