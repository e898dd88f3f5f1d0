//! Up to 256 operations on one handle in one frame.

use super::{
    Decoded, FrameError, MAX_BATCH, MAX_BATCH_BODY, MAX_BATCH_DATA, Operation,
    error::check_length,
    request::{BATCH, FENCE, check_flags, head, operation, tail, tail_length},
    u16_at, u32_at, u64_at,
};

const HEADER: usize = 16;
const ENTRY: usize = 12;

/// A batch whose every entry was checked. Its operations have consecutive sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Low 32 bits of the first operation's sequence.
    pub sequence: u32,
    /// The client's own number of the grant in its session.
    pub handle: u16,
    /// The batch waits for every earlier operation of the session.
    pub fence: bool,
    /// Operations, 1 to [`MAX_BATCH`].
    pub count: u16,
    body: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Decodes the batch at the front of `bytes`, whose first byte says that it is one.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Decoded<Self>, FrameError> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Ok(Decoded::Needs(HEADER));
        };
        check_flags(header[1], FENCE)?;
        let (count, length) = (u16_at(header, 8), u32_at(header, 12));
        check_length(count.into(), 1, MAX_BATCH as u64)?;
        if u16_at(header, 10) != 0 {
            return Err(FrameError::Reserved);
        }
        check_length(length.into(), ENTRY as u64, MAX_BATCH_BODY.into())?;
        let whole = HEADER + length as usize;
        if bytes.len() < whole {
            return Ok(Decoded::Needs(whole));
        }
        let body = &bytes[HEADER..whole];
        check_entries(body, count)?;
        let batch = Self {
            sequence: u32_at(header, 4),
            handle: u16_at(header, 2),
            fence: header[1] == FENCE,
            count,
            body,
        };
        Ok(Decoded::Frame(batch, whole))
    }

    /// The operations in order.
    pub fn entries(&self) -> BatchEntries<'a> {
        BatchEntries { body: self.body }
    }
}

/// Checks every entry before any is executed, so that a malformed batch changes nothing.
fn check_entries(body: &[u8], count: u16) -> Result<(), FrameError> {
    let (mut at, mut replies) = (0, 0u32);
    for _ in 0..count {
        let Some(header) = body[at..].first_chunk::<ENTRY>() else {
            return Err(FrameError::Body);
        };
        if header[1] != 0 {
            return Err(FrameError::Reserved);
        }
        let length = u32::from(u16_at(header, 2));
        let tail = tail_length(header[0], length, MAX_BATCH_DATA)?;
        at += ENTRY + tail;
        if at > body.len() {
            return Err(FrameError::Body);
        }
        replies += operation(header[0], 0, length, &body[at - tail..at]).reply_length();
    }
    if at != body.len() {
        return Err(FrameError::Body);
    }
    check_length(replies.into(), 0, MAX_BATCH_BODY.into())
}

/// The operations of a [`Batch`].
#[derive(Clone, Debug)]
pub struct BatchEntries<'a> {
    body: &'a [u8],
}

impl<'a> Iterator for BatchEntries<'a> {
    type Item = Operation<'a>;

    #[inline]
    fn next(&mut self) -> Option<Operation<'a>> {
        let header = self.body.first_chunk::<ENTRY>()?;
        let (code, length) = (header[0], u32::from(u16_at(header, 2)));
        // `Batch::decode` checked every entry, so neither of these ends the iteration early.
        let end = ENTRY + tail_length(code, length, MAX_BATCH_DATA).ok()?;
        let operation = operation(code, u64_at(header, 4), length, self.body.get(ENTRY..end)?);
        self.body = &self.body[end..];
        Some(operation)
    }
}

/// Writes a batch frame in place, entry by entry.
#[derive(Debug)]
pub struct BatchWriter {
    start: usize,
    count: u16,
    replies: u32,
}

impl BatchWriter {
    /// Appends the header.
    pub fn new(out: &mut Vec<u8>, handle: u16, sequence: u32, fence: bool) -> Self {
        let start = out.len();
        let mut header = [0; HEADER];
        header[0] = BATCH;
        header[1] = if fence { FENCE } else { 0 };
        header[2..4].copy_from_slice(&handle.to_le_bytes());
        header[4..8].copy_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(&header);
        Self {
            start,
            count: 0,
            replies: 0,
        }
    }

    /// True if `operation` may be an entry of some batch.
    pub fn takes(operation: &Operation<'_>) -> bool {
        let (_, _, length) = head(operation);
        length <= MAX_BATCH_DATA && *operation != Operation::Nop
    }

    /// Appends an entry; false, and nothing is appended, if this batch has no place for it.
    pub fn push(&mut self, out: &mut Vec<u8>, operation: &Operation<'_>) -> bool {
        let (code, offset, length) = head(operation);
        let replies = self.replies + operation.reply_length();
        let Ok(tail_bytes) = tail_length(code, length, MAX_BATCH_DATA) else {
            return false;
        };
        let body = out.len() - self.start - HEADER + ENTRY + tail_bytes;
        if usize::from(self.count) == MAX_BATCH
            || body > MAX_BATCH_BODY as usize
            || replies > MAX_BATCH_BODY
        {
            return false;
        }
        let mut header = [0; ENTRY];
        header[0] = code;
        header[2..4].copy_from_slice(&(length as u16).to_le_bytes());
        header[4..12].copy_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&header);
        tail(operation, out);
        self.count += 1;
        self.replies = replies;
        true
    }

    /// Writes count and length into the header; the batch must have an entry. Returns the count.
    pub fn finish(self, out: &mut [u8]) -> u16 {
        let body = (out.len() - self.start - HEADER) as u32;
        out[self.start + 8..self.start + 10].copy_from_slice(&self.count.to_le_bytes());
        out[self.start + 12..self.start + 16].copy_from_slice(&body.to_le_bytes());
        self.count
    }
}
