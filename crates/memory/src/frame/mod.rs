//! The bytes on a lane: operations one way, replies the other. Little-endian, self-delimiting, many in one packet.
//!
//! ```text
//! operation   op u8 · flags u8 · handle u16 · sequence u32 · offset u64 · length u32         20 bytes
//!   READ            1   · length 1 ..= 65,536
//!   WRITE           2   · length 1 ..= 65,536, then the bytes
//!   FETCH_ADD       3   · length 8, then operand u64
//!   COMPARE_SWAP    4   · length 8, then expected u64 · desired u64
//!   READ_VERSIONED  5   · length 1 ..= 65,536, then version offset u64
//!   NOP             6   · op u8 · flags u8 · 0 u16 · sequence u32                             8 bytes
//! ACK_BELOW         8   · op u8 · 0 u8 · sequence u32                                         6 bytes
//! BATCH             7   · op u8 · flags u8 · handle u16 · sequence u32 of the first
//!                         · count u16 (1 ..= 256) · 0 u16 · body u32 (≤ 65,536)               16 bytes, then entries:
//!   entry               op u8 · 0 u8 · length u16 (≤ 8,192) · offset u64, then as above       12 bytes + operands
//!
//! reply       sequence u32 · status u8 · length u24, then the bytes                           8 bytes + data
//! batch reply sequence u32 of the first · 128 u8 · length u24 (of all that follows)
//!                         · count u16, then entries:  status u8 · 0 u8 · length u16 · bytes
//! ```
//!
//! The only flag is `FENCE` (1): the operation waits until every earlier one of the session was executed. Sequences are
//! the low 32 bits of a 64-bit number; at most [`WINDOW`] are outstanding, so they can be told apart. The data of a
//! reply: READ the bytes; `READ_VERSIONED` version before u64, version after u64, the bytes; `FETCH_ADD` and `COMPARE_SWAP` the
//! word as it was, u64; WRITE and NOP nothing; a refusal the limit that was hit, u64 (see [`Status`]).
//!
//! # What may enter
//!
//! Encoding and decoding of one frame out of bytes that are there, or the answer that more are needed. Limits are checked
//! before anything else looks at a number; nothing here allocates by a number that a peer sent.
//!
//! # What is deliberately absent
//!
//! Sequences' meaning, handles' meaning, regions, time. A [`FrameError`] is final: a stream that broke the format
//! cannot be followed any more.

mod batch;
mod buffer;
mod control;
mod error;
mod reply;
mod request;
mod status;

pub use batch::{Batch, BatchEntries, BatchWriter};
pub use buffer::{FrameBuffer, Step};
pub(crate) use control::MAX_GRANT;
pub use control::{Attach, Attached, Control, ImportRefusal, Imported, decode_control};
pub use error::FrameError;
pub use reply::{
    BATCH_REPLY_HEADER, BatchReply, BatchReplyEntries, REPLY_HEADER, Reply, ReplyFrame,
    decode_reply, encode_reply,
};
pub(crate) use reply::{ENTRY_HEADER, batch_reply_header, entry_header, reply_header};
pub use request::{AckBelow, Operation, Request, RequestFrame, decode_request};
pub use status::Status;

/// Operations that may be outstanding in a session, and results that a server keeps.
pub const WINDOW: u64 = 1024;
/// Bytes that one READ or WRITE on a lane may carry. Longer ones are bulk transfers on streams of their own.
pub const MAX_INLINE: u32 = 64 * 1024;
/// Operations in one BATCH.
pub const MAX_BATCH: usize = 256;
/// Bytes of all entries of one BATCH, and of all data in its reply.
pub const MAX_BATCH_BODY: u32 = 64 * 1024;
/// Bytes that one READ or WRITE inside a BATCH may carry.
pub const MAX_BATCH_DATA: u32 = 8 * 1024;

/// The result of decoding from the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<T> {
    /// A whole frame and its length in bytes.
    Frame(T, usize),
    /// The frame is not whole yet. It has at least so many bytes, the ones that are there included.
    Needs(usize),
}

/// The low half of a sequence as it stands on the wire, made whole again: the number nearest to `base` with these bits.
///
/// Exact while the true number is less than 2^31 away from `base`, which [`WINDOW`] guarantees.
#[inline]
pub fn widen_sequence(wire: u32, base: u64) -> u64 {
    base.wrapping_add(wire.wrapping_sub(base as u32) as i32 as u64)
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests;
