//! A group: the records that one write and one sync make durable together, encoded while the group before is on its way.

use std::sync::Arc;

use super::buffer::PageBuffer;
use super::queue::Batch;
use super::segments::Segment;
use super::shared::now_us;
use crate::format::{Digester, Encoder, Kind, RECORD_HEADER, padded};
use crate::limits::MAX_GROUP_BYTES;

/// So many records are sealed at once while the group is filled, so that each lane of the processor has one.
pub(crate) const SEAL: usize = 64;
/// Groups of up to so many bytes write ahead.
const SMALL_GROUP: usize = 32 << 10;
/// How far.
const AHEAD: u64 = 256 << 10;

/// Where the log ends: what is durable, or what will be when all that is encoded is.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) segment: Arc<Segment>,
    /// Where in it the next group goes; 0 when it has not begun: its header is then the start of the group.
    pub(crate) offset: u64,
    pub(crate) encoder: Encoder,
    pub(crate) time_us: u64,
}

impl Head {
    /// Whether a payload of this length has room in the segment.
    pub(crate) fn fits(&self, length: usize) -> bool {
        self.offset + padded(length) as u64 <= self.segment.size
    }
}

/// Being filled, or filled and on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// As it will be in the segment, from the head's offset on.
    pub(crate) bytes: PageBuffer,
    pub(crate) records: usize,
    /// Of its payloads.
    pub(crate) payload_bytes: usize,
    pub(crate) first_ticket: u64,
    pub(crate) first_sequence: u64,
    time_us: u64,
    /// Where the records start that are still to be sealed, and the lengths of their payloads.
    unsealed: Vec<(usize, usize)>,
    digester: Digester,
}

impl Group {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear(MAX_GROUP_BYTES);
        self.unsealed.clear();
        (self.records, self.payload_bytes) = (0, 0);
    }

    /// Takes the records of `batch` from `cursor` on that one group and one segment have room for.
    pub(crate) fn fill(&mut self, head: &mut Head, batch: &Batch, cursor: &mut Cursor) {
        while let Some((kind, length)) = batch.spans.get(cursor.record) {
            let length = *length as usize;
            if self.records == 0 {
                if !head.fits(length) {
                    return;
                }
                self.begin(head, batch.first + cursor.record as u64);
            } else {
                let end = self.bytes.len() + padded(length);
                if end > MAX_GROUP_BYTES || head.offset + end as u64 > head.segment.size {
                    return;
                }
            }
            let payload = &batch.bytes[cursor.byte..cursor.byte + length];
            self.push(head, *kind, payload);
            cursor.record += 1;
            cursor.byte += length;
        }
    }

    fn begin(&mut self, head: &mut Head, first_ticket: u64) {
        self.first_ticket = first_ticket;
        self.first_sequence = head.encoder.sequence;
        self.time_us = now_us().max(head.time_us);
        head.time_us = self.time_us;
        if head.offset == 0 {
            let header = &head.segment.header;
            self.bytes.reserve(header.group_start(0) as usize);
            self.bytes.tail().extend_from_slice(&header.encode());
            self.bytes.resize(header.group_start(0) as usize);
        }
    }

    fn push(&mut self, head: &mut Head, kind: Kind, payload: &[u8]) {
        self.bytes.reserve(padded(payload.len()));
        self.unsealed.push((self.bytes.len(), payload.len()));
        let tail = self.bytes.tail();
        head.encoder
            .push(tail, self.first_sequence, kind, self.time_us, payload);
        self.records += 1;
        self.payload_bytes += payload.len();
        if self.unsealed.len() == SEAL {
            self.seal(head);
        }
    }

    fn seal(&mut self, head: &mut Head) {
        let bytes = self.bytes.as_mut_slice();
        self.digester.digest(bytes, &self.unsealed);
        for ((start, length), digest) in self.unsealed.drain(..).zip(&self.digester.digests) {
            let record = &mut bytes[start..start + RECORD_HEADER + length];
            head.encoder.seal(record, digest);
        }
    }

    /// Nothing more is taken: seals what is left, fills the last block, and says where the last record ends. `head` moves
    /// behind it.
    pub(crate) fn finish(&mut self, head: &mut Head) -> u64 {
        self.seal(head);
        let end = head.offset + self.bytes.len() as u64;
        let next = head.segment.header.group_start(end);
        self.bytes
            .resize((next.min(head.segment.size) - head.offset) as usize);
        head.offset = next;
        end
    }

    /// Takes zeros for the groups to come along when it is a small one that reaches where the file was never written:
    /// the first write to reserved space changes the file system's own records, which costs a sync more than the data.
    /// This way one group in many pays for it; a large group is worth its own. `written` is how far the file is known to
    /// have been written, `offset` where the group goes.
    pub(crate) fn write_ahead(&mut self, segment: &Segment, offset: u64, written: u64) {
        let end = offset + self.bytes.len() as u64;
        if self.bytes.len() <= SMALL_GROUP && end > written {
            let whole = (end + AHEAD).min(segment.size) - offset;
            self.bytes.resize(whole as usize);
        }
    }
}

/// How much of a batch was encoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    pub(crate) record: usize,
    pub(crate) byte: usize,
}
