//! The server's answer to one operation, or to a batch.

use super::{
    Decoded, FrameError, MAX_BATCH, MAX_INLINE, Status, error::check_length, u16_at, u32_at,
};

/// Bytes before the data of a reply.
pub const REPLY_HEADER: usize = 8;
/// Bytes before the entries of a batch reply.
pub const BATCH_REPLY_HEADER: usize = 10;
/// Bytes before the data of one answer in a batch reply.
pub(crate) const ENTRY_HEADER: usize = 4;
const BATCH: u8 = 128;

/// Most bytes after the length field: a versioned read of the longest kind.
const MAX_DATA: u32 = MAX_INLINE + 16;
/// Most bytes after the length field of a batch reply: count, entries, refusals of 8 bytes each included.
const MAX_BATCH_REPLY: u32 =
    2 + MAX_BATCH as u32 * (ENTRY_HEADER as u32 + 8) + super::MAX_BATCH_BODY;

/// The answer to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Low 32 bits of the operation's sequence.
    pub sequence: u32,
    /// How it ended.
    pub status: Status,
    /// By operation and status; see the [module](super).
    pub data: &'a [u8],
}

/// One frame from server to client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyFrame<'a> {
    /// One answer.
    Reply(Reply<'a>),
    /// The answers to a batch.
    Batch(BatchReply<'a>),
}

/// The answers to a batch, in order. Every entry was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchReply<'a> {
    /// Low 32 bits of the first operation's sequence.
    pub sequence: u32,
    /// Answers, 1 to [`MAX_BATCH`].
    pub count: u16,
    body: &'a [u8],
}

impl<'a> BatchReply<'a> {
    /// The answers in order.
    pub fn entries(&self) -> BatchReplyEntries<'a> {
        BatchReplyEntries {
            sequence: self.sequence,
            body: self.body,
        }
    }
}

/// The answers of a [`BatchReply`].
#[derive(Clone, Debug)]
pub struct BatchReplyEntries<'a> {
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Iterator for BatchReplyEntries<'a> {
    type Item = Reply<'a>;

    #[inline]
    fn next(&mut self) -> Option<Reply<'a>> {
        let header = self.body.first_chunk::<ENTRY_HEADER>()?;
        let end = ENTRY_HEADER + usize::from(u16_at(header, 2));
        let reply = Reply {
            sequence: self.sequence,
            status: Status::from_code(header[0])?,
            data: self.body.get(ENTRY_HEADER..end)?,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.body = &self.body[end..];
        Some(reply)
    }
}

/// The eight bytes before the data of a reply.
#[inline]
pub(crate) fn reply_header(sequence: u32, status: Status, length: usize) -> [u8; REPLY_HEADER] {
    let ([a, b, c, d], [x, y, z, _]) = (sequence.to_le_bytes(), (length as u32).to_le_bytes());
    [a, b, c, d, status as u8, x, y, z]
}

/// The four bytes before the data of one answer in a batch reply.
#[inline]
pub(crate) fn entry_header(status: Status, length: usize) -> [u8; ENTRY_HEADER] {
    let [x, y] = (length as u16).to_le_bytes();
    [status as u8, 0, x, y]
}

/// The bytes before the entries of a batch reply; `body` counts the entries' bytes.
#[inline]
pub(crate) fn batch_reply_header(
    sequence: u32,
    count: u16,
    body: usize,
) -> [u8; BATCH_REPLY_HEADER] {
    let ([a, b, c, d], [x, y, z, _]) = (sequence.to_le_bytes(), (body as u32 + 2).to_le_bytes());
    let [m, n] = count.to_le_bytes();
    [a, b, c, d, BATCH, x, y, z, m, n]
}

/// Appends one reply.
#[inline]
pub fn encode_reply(out: &mut Vec<u8>, reply: &Reply<'_>) {
    out.extend_from_slice(&reply_header(
        reply.sequence,
        reply.status,
        reply.data.len(),
    ));
    out.extend_from_slice(reply.data);
}

/// Decodes the frame at the front of `bytes`. Never allocates.
///
/// # Errors
/// [`FrameError`] as soon as the bytes that are there show that no correct peer sent them.
#[inline]
pub fn decode_reply(bytes: &[u8]) -> Result<Decoded<ReplyFrame<'_>>, FrameError> {
    let Some(header) = bytes.first_chunk::<REPLY_HEADER>() else {
        return Ok(Decoded::Needs(REPLY_HEADER));
    };
    let length = u32::from_le_bytes([header[5], header[6], header[7], 0]);
    let (sequence, code) = (u32_at(header, 0), header[4]);
    let whole = REPLY_HEADER + length as usize;
    if code != BATCH {
        let status = Status::from_code(code).ok_or(FrameError::Code(code))?;
        check_length(length.into(), 0, MAX_DATA.into())?;
        if bytes.len() < whole {
            return Ok(Decoded::Needs(whole));
        }
        let reply = Reply {
            sequence,
            status,
            data: &bytes[REPLY_HEADER..whole],
        };
        return Ok(Decoded::Frame(ReplyFrame::Reply(reply), whole));
    }
    check_length(
        length.into(),
        2 + ENTRY_HEADER as u64,
        MAX_BATCH_REPLY.into(),
    )?;
    if bytes.len() < whole {
        return Ok(Decoded::Needs(whole));
    }
    let count = u16_at(bytes, REPLY_HEADER);
    check_length(count.into(), 1, MAX_BATCH as u64)?;
    let body = &bytes[BATCH_REPLY_HEADER..whole];
    check_entries(body, count)?;
    Ok(Decoded::Frame(
        ReplyFrame::Batch(BatchReply {
            sequence,
            count,
            body,
        }),
        whole,
    ))
}

fn check_entries(body: &[u8], count: u16) -> Result<(), FrameError> {
    let mut at = 0;
    for _ in 0..count {
        let Some(header) = body
            .get(at..)
            .and_then(|rest| rest.first_chunk::<ENTRY_HEADER>())
        else {
            return Err(FrameError::Body);
        };
        if Status::from_code(header[0]).is_none() {
            return Err(FrameError::Code(header[0]));
        }
        if header[1] != 0 {
            return Err(FrameError::Reserved);
        }
        at += ENTRY_HEADER + usize::from(u16_at(header, 2));
    }
    if at == body.len() {
        Ok(())
    } else {
        Err(FrameError::Body)
    }
}
