//! One operation on the wire.

use super::{Batch, Decoded, FrameError, MAX_INLINE, error::check_length, u16_at, u32_at, u64_at};

pub(super) const READ: u8 = 1;
pub(super) const WRITE: u8 = 2;
pub(super) const FETCH_ADD: u8 = 3;
pub(super) const COMPARE_SWAP: u8 = 4;
pub(super) const READ_VERSIONED: u8 = 5;
pub(super) const NOP: u8 = 6;
pub(super) const BATCH: u8 = 7;
pub(super) const ACK_BELOW: u8 = 8;

/// Waits until every earlier operation of the session was executed.
pub(super) const FENCE: u8 = 1;

const HEADER: usize = 20;
const NOP_BYTES: usize = 8;
const ACK_BYTES: usize = 6;

/// What to do. Offsets count from the start of the granted slice, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Copy `length` bytes out.
    Read {
        /// First byte.
        offset: u64,
        /// 1 to [`MAX_INLINE`].
        length: u32,
    },
    /// As `Read`, between two looks at a version word.
    ReadVersioned {
        /// First byte.
        offset: u64,
        /// 1 to [`MAX_INLINE`].
        length: u32,
        /// Offset of the version word.
        version: u64,
    },
    /// Copy bytes in.
    Write {
        /// First byte.
        offset: u64,
        /// 1 to [`MAX_INLINE`] bytes.
        data: &'a [u8],
    },
    /// Add to an aligned word, wrapping; the reply is what it was.
    FetchAdd {
        /// Of the word.
        offset: u64,
        /// What to add.
        operand: u64,
    },
    /// Set an aligned word if it is as expected; the reply is what it was.
    CompareSwap {
        /// Of the word.
        offset: u64,
        /// What it must be.
        expected: u64,
        /// What it becomes.
        desired: u64,
    },
    /// Nothing: a fence on its own, or the place of an operation that will never come.
    Nop,
}

impl Operation<'_> {
    /// True for operations that change memory: those are executed once and their results kept until acknowledged.
    #[inline]
    pub const fn is_mutation(&self) -> bool {
        matches!(
            self,
            Self::Write { .. } | Self::FetchAdd { .. } | Self::CompareSwap { .. }
        )
    }

    /// Bytes of data in the reply when it succeeds.
    #[inline]
    pub const fn reply_length(&self) -> u32 {
        match self {
            Self::Read { length, .. } => *length,
            Self::ReadVersioned { length, .. } => 16 + *length,
            Self::FetchAdd { .. } | Self::CompareSwap { .. } => 8,
            Self::Write { .. } | Self::Nop => 0,
        }
    }
}

/// An operation with its address and its place in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Low 32 bits of the sequence.
    pub sequence: u32,
    /// The client's own number of the grant in its session; 0 for [`Operation::Nop`].
    pub handle: u16,
    /// Wait for every earlier operation of the session.
    pub fence: bool,
    /// What to do.
    pub operation: Operation<'a>,
}

/// `ACK_BELOW`: the client will never ask again for results below this sequence (low 32 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckBelow(pub u32);

/// One frame from client to server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFrame<'a> {
    /// One operation.
    Request(Request<'a>),
    /// Up to 256 operations on one handle.
    Batch(Batch<'a>),
    /// Results that may be forgotten.
    AckBelow(AckBelow),
}

impl Request<'_> {
    /// Appends the frame.
    ///
    /// The lengths must be within limits; the client checks them when an operation is submitted.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = if self.fence { FENCE } else { 0 };
        if self.operation == Operation::Nop {
            out.extend_from_slice(&[NOP, flags, 0, 0]);
            out.extend_from_slice(&self.sequence.to_le_bytes());
            return;
        }
        let (code, offset, length) = head(&self.operation);
        let mut header = [0; HEADER];
        header[0] = code;
        header[1] = flags;
        header[2..4].copy_from_slice(&self.handle.to_le_bytes());
        header[4..8].copy_from_slice(&self.sequence.to_le_bytes());
        header[8..16].copy_from_slice(&offset.to_le_bytes());
        header[16..20].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&header);
        tail(&self.operation, out);
    }
}

impl AckBelow {
    /// Appends the frame.
    pub fn encode(self, out: &mut Vec<u8>) {
        let sequence = self.0.to_le_bytes();
        out.extend_from_slice(&[
            ACK_BELOW,
            0,
            sequence[0],
            sequence[1],
            sequence[2],
            sequence[3],
        ]);
    }
}

/// Code, offset and length field of an operation other than NOP.
pub(super) fn head(operation: &Operation<'_>) -> (u8, u64, u32) {
    match *operation {
        Operation::Read { offset, length } => (READ, offset, length),
        Operation::ReadVersioned { offset, length, .. } => (READ_VERSIONED, offset, length),
        Operation::Write { offset, data } => (WRITE, offset, data.len() as u32),
        Operation::FetchAdd { offset, .. } => (FETCH_ADD, offset, 8),
        Operation::CompareSwap { offset, .. } => (COMPARE_SWAP, offset, 8),
        Operation::Nop => (NOP, 0, 0),
    }
}

/// Appends what follows the header of an operation.
pub(super) fn tail(operation: &Operation<'_>, out: &mut Vec<u8>) {
    match *operation {
        Operation::Read { .. } | Operation::Nop => {}
        Operation::ReadVersioned { version, .. } => out.extend_from_slice(&version.to_le_bytes()),
        Operation::Write { data, .. } => out.extend_from_slice(data),
        Operation::FetchAdd { operand, .. } => out.extend_from_slice(&operand.to_le_bytes()),
        Operation::CompareSwap {
            expected, desired, ..
        } => {
            out.extend_from_slice(&expected.to_le_bytes());
            out.extend_from_slice(&desired.to_le_bytes());
        }
    }
}

/// Bytes that follow the header of an operation.
#[inline]
pub(super) fn tail_length(code: u8, length: u32, max: u32) -> Result<usize, FrameError> {
    let (min, max, tail) = match code {
        READ => (1, max, 0),
        WRITE => (1, max, length as usize),
        FETCH_ADD => (8, 8, 8),
        COMPARE_SWAP => (8, 8, 16),
        READ_VERSIONED => (1, max, 8),
        _ => return Err(FrameError::Code(code)),
    };
    check_length(length.into(), min, max.into())?;
    Ok(tail)
}

/// Builds the operation out of its header fields and a tail of the right length.
#[inline]
pub(super) fn operation(code: u8, offset: u64, length: u32, tail: &[u8]) -> Operation<'_> {
    match code {
        READ => Operation::Read { offset, length },
        WRITE => Operation::Write { offset, data: tail },
        FETCH_ADD => Operation::FetchAdd {
            offset,
            operand: u64_at(tail, 0),
        },
        COMPARE_SWAP => Operation::CompareSwap {
            offset,
            expected: u64_at(tail, 0),
            desired: u64_at(tail, 8),
        },
        READ_VERSIONED => Operation::ReadVersioned {
            offset,
            length,
            version: u64_at(tail, 0),
        },
        _ => Operation::Nop,
    }
}

#[inline]
pub(super) fn check_flags(flags: u8, allowed: u8) -> Result<(), FrameError> {
    if flags & !allowed == 0 {
        Ok(())
    } else {
        Err(FrameError::Flags(flags))
    }
}

/// Decodes the frame at the front of `bytes`. Costs a few nanoseconds and never allocates.
///
/// # Errors
/// [`FrameError`] as soon as the bytes that are there show that no correct peer sent them.
#[inline]
pub fn decode_request(bytes: &[u8]) -> Result<Decoded<RequestFrame<'_>>, FrameError> {
    let Some(&code) = bytes.first() else {
        return Ok(Decoded::Needs(1));
    };
    match code {
        READ..=READ_VERSIONED => {
            let Some(header) = bytes.first_chunk::<HEADER>() else {
                return Ok(Decoded::Needs(HEADER));
            };
            check_flags(header[1], FENCE)?;
            let length = u32_at(header, 16);
            let whole = HEADER + tail_length(code, length, MAX_INLINE)?;
            if bytes.len() < whole {
                return Ok(Decoded::Needs(whole));
            }
            let request = Request {
                sequence: u32_at(header, 4),
                handle: u16_at(header, 2),
                fence: header[1] == FENCE,
                operation: operation(code, u64_at(header, 8), length, &bytes[HEADER..whole]),
            };
            Ok(Decoded::Frame(RequestFrame::Request(request), whole))
        }
        NOP => {
            let Some(header) = bytes.first_chunk::<NOP_BYTES>() else {
                return Ok(Decoded::Needs(NOP_BYTES));
            };
            check_flags(header[1], FENCE)?;
            if u16_at(header, 2) != 0 {
                return Err(FrameError::Reserved);
            }
            let (sequence, fence) = (u32_at(header, 4), header[1] == FENCE);
            let request = Request {
                sequence,
                handle: 0,
                fence,
                operation: Operation::Nop,
            };
            Ok(Decoded::Frame(RequestFrame::Request(request), NOP_BYTES))
        }
        BATCH => Ok(match Batch::decode(bytes)? {
            Decoded::Frame(batch, whole) => Decoded::Frame(RequestFrame::Batch(batch), whole),
            Decoded::Needs(whole) => Decoded::Needs(whole),
        }),
        ACK_BELOW => {
            let Some(frame) = bytes.first_chunk::<ACK_BYTES>() else {
                return Ok(Decoded::Needs(ACK_BYTES));
            };
            check_flags(frame[1], 0)?;
            Ok(Decoded::Frame(
                RequestFrame::AckBelow(AckBelow(u32_at(frame, 2))),
                ACK_BYTES,
            ))
        }
        _ => Err(FrameError::Code(code)),
    }
}
