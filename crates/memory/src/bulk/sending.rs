//! One stream on which a part of a transfer leaves.

use std::time::Instant;

use bytes::Bytes;

use super::{BLOCK_BYTES, Head, StreamKind, Wire, snapshot::Snapshots};
use crate::region::{Access, AccessError, Rights};

/// A part that is being sent, or waits for a stream.
#[derive(Debug)]
pub(super) struct Sending<S> {
    pub(super) stream: Option<S>,
    pub(super) head: Head,
    memory: Access,
    /// Where in the memory's slice the transfer begins.
    base: u64,
    needed: Rights,
    next: u32,
    end: u32,
    /// Taken from the region, not yet taken by the stream.
    pending: Bytes,
}

/// How far it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The peer takes no more for now, or allows no stream.
    Waiting,
    /// All is handed to the stream, and the stream was finished.
    All,
    /// The memory may not be read any more; the stream was reset.
    Refused(AccessError),
    /// The stream died.
    Dead,
}

impl<S: Copy + Eq + std::fmt::Debug> Sending<S> {
    /// `head.start..end` of the transfer, out of `memory` from `base` on.
    pub(super) fn new(head: Head, end: u32, memory: Access, base: u64, needed: Rights) -> Self {
        Self {
            stream: None,
            pending: Bytes::copy_from_slice(&head.encode()),
            next: head.start,
            head,
            memory,
            base,
            needed,
            end,
        }
    }

    /// Bytes of the transfer up to which the stream has taken all; a later part does not know of earlier ones.
    pub(super) fn handed_over(&self) -> u64 {
        u64::from(self.next)
    }

    /// Sends as much as the stream takes.
    pub(super) fn pump<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        snapshots: &mut Snapshots,
        now: Instant,
    ) -> Sent {
        let options = self.head.options;
        let stream = match self.stream {
            Some(stream) => stream,
            None => match wire.open(if options.is_framed() {
                StreamKind::Blocks
            } else {
                StreamKind::Plain
            }) {
                Some(stream) => *self.stream.insert(stream),
                None => return Sent::Waiting,
            },
        };
        loop {
            if self.pending.is_empty() {
                if self.next == self.end {
                    wire.finish(stream);
                    return Sent::All;
                }
                let length = BLOCK_BYTES.min((self.end - self.next) as usize);
                let offset = self.base + u64::from(self.next);
                match snapshots.take(&self.head, &self.memory, self.needed, offset, length, now) {
                    Ok(block) => self.pending = block,
                    Err(error) => {
                        wire.reset(stream);
                        return Sent::Refused(error);
                    }
                }
                self.next += length as u32;
            }
            if wire.write(stream, &mut self.pending).is_err() {
                return Sent::Dead;
            }
            if !self.pending.is_empty() {
                return Sent::Waiting;
            }
        }
    }
}
