//! One stream on which a part of a transfer arrives: finds out which, and what goes where.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::{
    HEAD_BYTES, Head, StreamKind,
    block::{Block, BlockReader},
    limits::MAX_EARLY_BYTES,
};
use crate::compress::Decompressor;

/// A stream that the peer opened.
#[derive(Debug)]
pub(super) struct Incoming<S> {
    pub(super) stream: S,
    pub(super) kind: StreamKind,
    head: HeadBytes,
    /// Bytes that came of an ordered stream.
    received: u64,
    /// Came before the head was complete: offset in the stream, bytes.
    early: Vec<(u64, Bytes)>,
    early_bytes: usize,
    /// One past the furthest byte that came early, kept or not.
    early_end: u64,
    blocks: BlockReader,
    /// Place in the transfer after all that came (ordered) or the furthest that came (unordered).
    pub(super) end: u32,
    /// To be placed: place in the transfer, bytes.
    ready: VecDeque<(u32, Bytes)>,
}

/// The head, as far as it came.
#[derive(Debug)]
enum HeadBytes {
    /// Bytes, and a bit for each that is there.
    Partial([u8; HEAD_BYTES], u32),
    Whole(Head),
}

/// No correct peer sent this.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadStream;

impl<S> Incoming<S> {
    pub(super) fn new(stream: S, kind: StreamKind) -> Self {
        Self {
            stream,
            kind,
            head: HeadBytes::Partial([0; HEAD_BYTES], 0),
            received: 0,
            early: Vec::new(),
            early_bytes: 0,
            early_end: HEAD_BYTES as u64,
            blocks: BlockReader::default(),
            end: 0,
            ready: VecDeque::new(),
        }
    }

    /// The head, once it is complete.
    pub(super) fn head(&self) -> Option<Head> {
        match self.head {
            HeadBytes::Whole(head) => Some(head),
            HeadBytes::Partial(..) => None,
        }
    }

    /// Takes bytes at `offset` of the stream (counted here for [`StreamKind::Blocks`], which come in order).
    pub(super) fn receive(
        &mut self,
        offset: u64,
        mut bytes: Bytes,
        decompressor: &mut Decompressor,
    ) -> Result<(), BadStream> {
        let mut at = match self.kind {
            StreamKind::Plain => offset,
            StreamKind::Blocks => self.received,
        };
        self.received += bytes.len() as u64;
        if let HeadBytes::Partial(held, there) = &mut self.head {
            while at < HEAD_BYTES as u64 && bytes.has_remaining() {
                held[at as usize] = bytes.get_u8();
                *there |= 1 << at;
                at += 1;
            }
            if *there == (1 << HEAD_BYTES) - 1 {
                let head = Head::decode(held).ok_or(BadStream)?;
                if head.options.is_framed() != (self.kind == StreamKind::Blocks) {
                    return Err(BadStream);
                }
                self.head = HeadBytes::Whole(head);
                // Up to here it is known that something was sent, so a gap below it is one.
                let early = u64::from(head.start) + (self.early_end - HEAD_BYTES as u64);
                if early > u64::from(head.length) {
                    return Err(BadStream);
                }
                self.end = early as u32;
                for (at, bytes) in std::mem::take(&mut self.early) {
                    self.body(head, at, bytes, decompressor)?;
                }
            }
        } else {
            // Bytes of the head come once.
            let again = (HEAD_BYTES as u64)
                .saturating_sub(at)
                .min(bytes.len() as u64);
            bytes.advance(again as usize);
            at += again;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        match self.head {
            HeadBytes::Whole(head) => self.body(head, at, bytes, decompressor),
            HeadBytes::Partial(..) => {
                self.early_end = self.early_end.max(at + bytes.len() as u64);
                // What does not fit is asked for again like anything else that did not arrive.
                if self.early_bytes + bytes.len() <= MAX_EARLY_BYTES {
                    self.early_bytes += bytes.len();
                    self.early.push((at, bytes));
                }
                Ok(())
            }
        }
    }

    fn body(
        &mut self,
        head: Head,
        at: u64,
        bytes: Bytes,
        decompressor: &mut Decompressor,
    ) -> Result<(), BadStream> {
        match self.kind {
            StreamKind::Plain => {
                let place = u64::from(head.start) + (at - HEAD_BYTES as u64);
                let end = place + bytes.len() as u64;
                if end > u64::from(head.length) {
                    return Err(BadStream);
                }
                self.end = self.end.max(end as u32);
                self.ready.push_back((place as u32, bytes));
            }
            StreamKind::Blocks => {
                let mut rest = &bytes[..];
                while let Some(block) = self
                    .blocks
                    .next(&mut rest, decompressor)
                    .map_err(|_| BadStream)?
                {
                    let place = self.end;
                    let length = match &block {
                        Block::Whole(raw) => raw.len() as u32,
                        Block::Damaged(length) => *length,
                    };
                    self.end = place
                        .checked_add(length)
                        .filter(|end| *end <= head.length)
                        .ok_or(BadStream)?;
                    if let Block::Whole(raw) = block {
                        self.ready.push_back((place, raw));
                    }
                }
            }
        }
        Ok(())
    }

    /// The next bytes to be placed.
    pub(super) fn next_ready(&mut self) -> Option<(u32, Bytes)> {
        self.ready.pop_front()
    }
}
