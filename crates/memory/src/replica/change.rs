//! What happens to a replicated region, as every member applies it.

use bytes::Bytes;

use super::{
    Epoch,
    wire::{Malformed, Reader, push_block},
};
use crate::frame::MAX_INLINE;

/// An operation that alters the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Put these bytes there.
    Write {
        /// Where.
        offset: u64,
        /// What, 1 to 65,536 bytes.
        data: Bytes,
    },
    /// Add to the little-endian word there.
    FetchAdd {
        /// Where, a multiple of 8.
        offset: u64,
        /// How much, wrapping.
        operand: u64,
    },
    /// Replace the little-endian word there, if it is what was expected.
    CompareSwap {
        /// Where, a multiple of 8.
        offset: u64,
        /// What must be there.
        expected: u64,
        /// What is put there then.
        desired: u64,
    },
    /// Only takes up a number: that of an operation which was refused.
    Nop,
}

impl Mutation {
    /// The bytes it touches: offset and length.
    pub fn range(&self) -> (u64, u64) {
        match self {
            Self::Write { offset, data } => (*offset, data.len() as u64),
            Self::FetchAdd { offset, .. } | Self::CompareSwap { offset, .. } => (*offset, 8),
            Self::Nop => (0, 0),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                out.push(1);
                out.extend_from_slice(&offset.to_le_bytes());
                push_block(out, data);
            }
            Self::FetchAdd { offset, operand } => {
                out.push(2);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&operand.to_le_bytes());
            }
            Self::CompareSwap {
                offset,
                expected,
                desired,
            } => {
                out.push(3);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&expected.to_le_bytes());
                out.extend_from_slice(&desired.to_le_bytes());
            }
            Self::Nop => out.push(4),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match reader.u8()? {
            1 => {
                let offset = reader.u64()?;
                let data = reader.block(MAX_INLINE as usize)?;
                if data.is_empty() {
                    return Err(Malformed);
                }
                Self::Write {
                    offset,
                    data: Bytes::copy_from_slice(data),
                }
            }
            2 => Self::FetchAdd {
                offset: reader.u64()?,
                operand: reader.u64()?,
            },
            3 => Self::CompareSwap {
                offset: reader.u64()?,
                expected: reader.u64()?,
                desired: reader.u64()?,
            },
            4 => Self::Nop,
            _ => return Err(Malformed),
        })
    }
}

/// One step of the sequence that all members go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new primary begins. Once this is acknowledged, so is everything before it.
    Lead,
    /// Every member has what the group began with: from here on it takes operations, and may not be given up any more.
    Form,
    /// A client's session begins, if it has not.
    Open {
        /// Chosen at random by the client.
        session: u128,
        /// The node whose session it is.
        holder: [u8; 32],
    },
    /// A client gave up mutations without an answer, and asked for something that comes behind them: they may not be executed
    /// any more, whenever a copy of one still comes.
    GiveUp {
        /// Whose.
        session: u128,
        /// Those below this number.
        below: u64,
    },
    /// A client's session and its results are forgotten.
    End {
        /// Which.
        session: u128,
    },
    /// A client's operation.
    Operate {
        /// Whose.
        session: u128,
        /// Its number in the session, counting mutations.
        sequence: u64,
        /// The client asks for nothing below this number any more.
        ack_below: u64,
        /// What.
        mutation: Mutation,
    },
}

/// A change with the epoch whose primary put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of the primary.
    pub epoch: Epoch,
    /// What.
    pub change: Change,
}

impl Entry {
    /// Bytes that it takes about, encoded and kept.
    pub(super) fn size(&self) -> usize {
        match &self.change {
            Change::Operate {
                mutation: Mutation::Write { data, .. },
                ..
            } => 96 + data.len(),
            _ => 96,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        match &self.change {
            Change::Lead => out.push(1),
            Change::Form => out.push(5),
            Change::Open { session, holder } => {
                out.push(2);
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(holder);
            }
            Change::GiveUp { session, below } => {
                out.push(6);
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&below.to_le_bytes());
            }
            Change::End { session } => {
                out.push(3);
                out.extend_from_slice(&session.to_le_bytes());
            }
            Change::Operate {
                session,
                sequence,
                ack_below,
                mutation,
            } => {
                out.push(4);
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&sequence.to_le_bytes());
                out.extend_from_slice(&ack_below.to_le_bytes());
                mutation.encode(out);
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let epoch = Epoch(reader.u64()?);
        let change = match reader.u8()? {
            1 => Change::Lead,
            2 => Change::Open {
                session: reader.u128()?,
                holder: reader.array()?,
            },
            3 => Change::End {
                session: reader.u128()?,
            },
            4 => Change::Operate {
                session: reader.u128()?,
                sequence: reader.u64()?,
                ack_below: reader.u64()?,
                mutation: Mutation::decode(reader)?,
            },
            5 => Change::Form,
            6 => Change::GiveUp {
                session: reader.u128()?,
                below: reader.u64()?,
            },
            _ => return Err(Malformed),
        };
        Ok(Self { epoch, change })
    }
}
