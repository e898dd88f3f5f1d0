//! What waits to be written: payloads copied back to back into one buffer that the writer swaps for an empty one, so
//! that an append allocates only while the buffers grow.

use super::commits::Ticket;
use super::group::SEAL;
use crate::error::{ErrorKind, JournalError};
use crate::format::Kind;
use crate::limits::JournalOptions;

/// Payloads in the order of their tickets.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) spans: Vec<(Kind, u32)>,
    /// Ticket of the first.
    pub(crate) first: u64,
}

impl Batch {
    /// Whether a writer that waits for the disk anyway encodes these now: enough to fill its lanes, or to take a while.
    pub(crate) fn is_worth_taking(&self) -> bool {
        const BYTES: usize = 32 << 10;
        self.spans.len() >= SEAL || self.bytes.len() >= BYTES
    }

    pub(crate) fn clear(&mut self) {
        // What one burst needed is not kept for ever.
        const KEEP: usize = 8 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.spans.clear();
        self.spans.shrink_to(KEEP / 64);
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) batch: Batch,
    next_ticket: u64,
    /// Appended but not swapped out yet, and swapped out but not settled yet.
    under_way: (usize, usize),
    /// No more is taken: closed, or the device failed.
    pub(crate) refused: Option<JournalError>,
    /// A writer has claimed the disk: it writes a group and syncs it.
    pub(crate) syncing: bool,
    /// Another one waits for that.
    pub(crate) turn_awaited: bool,
    /// Groups that were not written although the journal goes on.
    pub(crate) failures: u64,
    /// The device failed: every ticket has its outcome, and nothing is written any more.
    pub(crate) stopped: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            batch: Batch {
                first: 1,
                ..Batch::default()
            },
            next_ticket: 1,
            under_way: (0, 0),
            refused: None,
            syncing: false,
            turn_awaited: false,
            failures: 0,
            stopped: false,
        }
    }

    /// Takes all of `payloads` or none.
    pub(crate) fn push_all<'a>(
        &mut self,
        kind: Kind,
        payloads: impl Iterator<Item = &'a [u8]> + Clone,
        options: &JournalOptions,
    ) -> Result<Ticket, JournalError> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let (mut count, mut bytes) = (0, 0);
        for payload in payloads.clone() {
            if payload.len() > options.max_record_bytes {
                return Err(JournalError::new(
                    ErrorKind::LimitExceeded,
                    format!(
                        "a record has at most {} bytes, not {}",
                        options.max_record_bytes,
                        payload.len()
                    ),
                )
                .field("payload")
                .limit(options.max_record_bytes as u64));
            }
            count += 1;
            bytes += payload.len();
        }
        let (records_now, bytes_now) = self.under_way;
        if records_now + count > options.max_queued_records {
            return Err(full(options.max_queued_records, "records").field("maxQueuedRecords"));
        }
        if bytes_now + bytes > options.max_queued_bytes {
            return Err(full(options.max_queued_bytes, "bytes").field("maxQueuedBytes"));
        }
        let ticket = Ticket(self.next_ticket);
        for payload in payloads {
            self.batch.bytes.extend_from_slice(payload);
            self.batch.spans.push((kind, payload.len() as u32));
        }
        self.next_ticket += count as u64;
        self.under_way = (records_now + count, bytes_now + bytes);
        Ok(ticket)
    }

    /// Hands out what waits and takes `empty` in its place.
    pub(crate) fn swap(&mut self, empty: &mut Batch) {
        std::mem::swap(&mut self.batch, empty);
        self.batch.clear();
        self.batch.first = self.next_ticket;
    }

    /// Forgets everything that is not settled: its first ticket, and how many there are.
    pub(crate) fn abandon(&mut self) -> (u64, usize) {
        let (records, _) = std::mem::take(&mut self.under_way);
        self.batch.clear();
        (self.next_ticket - records as u64, records)
    }

    /// Records were acknowledged or refused: their room is free again.
    pub(crate) fn settle(&mut self, records: usize, bytes: usize) {
        if !self.stopped {
            self.under_way.0 -= records;
            self.under_way.1 -= bytes;
        }
    }
}

fn full(limit: usize, unit: &str) -> JournalError {
    JournalError::new(
        ErrorKind::QueueFull,
        format!(
            "{limit} {unit} wait to be written already; append again when some were acknowledged"
        ),
    )
    .limit(limit as u64)
}
