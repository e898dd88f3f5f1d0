//! What members and clients of a group say to each other.
//!
//! ```text
//! message   length u32 (of what follows) · group u128 · kind u8 · body, little-endian
//! ```
//!
//! Any message may be lost, and come late or out of order; between members it may also come twice.

use bytes::Bytes;

use super::{
    Entry, Epoch, Mutation, Position,
    wire::{Malformed, Reader, push_block},
};
use crate::frame::{Decoded, MAX_INLINE};

/// Bytes of one message at most.
pub const MAX_MESSAGE: usize = 160 * 1024;
/// Changes in one message, about: it ends with the one that passes this.
pub(super) const MAX_BATCH_BYTES: usize = 64 * 1024;
pub(super) const MAX_BATCH: usize = 256;
/// Bytes of a state that one message carries.
pub(super) const CHUNK: usize = 64 * 1024;

pub(super) const LENGTH: usize = 4;
pub(super) const HEADER: usize = LENGTH + 17;

/// Why a request was not executed. Nothing of it was applied, and this copy of it never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// Too few backups can be reached to acknowledge a change, or too much waits for them already.
    Unavailable = 1,
    /// The group has forgotten the session, or never knew it.
    UnknownSession = 2,
    /// The group has as many sessions as it may.
    Sessions = 3,
    /// The client said before that it gave this operation up.
    Stale = 4,
    /// The range does not lie inside of the region or the granted slice.
    OutOfRange = 5,
    /// The offset of an atomic is not a multiple of 8.
    Misaligned = 6,
    /// The grant does not hold the right, or the session is another node's.
    Rights = 7,
    /// The grant has expired.
    Expired = 8,
    /// The grant was revoked, or none was presented.
    Revoked = 9,
}

impl Refusal {
    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Unavailable,
            2 => Self::UnknownSession,
            3 => Self::Sessions,
            4 => Self::Stale,
            5 => Self::OutOfRange,
            6 => Self::Misaligned,
            7 => Self::Rights,
            8 => Self::Expired,
            9 => Self::Revoked,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "too few replicas can be reached to keep the change safe",
            Self::UnknownSession => "the replicas have forgotten the session",
            Self::Sessions => "the replicas hold as many sessions as they may",
            Self::Stale => "the operation was given up before",
            Self::OutOfRange => "the range does not lie inside of the region",
            Self::Misaligned => "the offset of an atomic is not a multiple of 8",
            Self::Rights => "the grant does not allow it",
            Self::Expired => "the grant has expired",
            Self::Revoked => "the grant was revoked, or none was presented",
        })
    }
}

/// What a client asks of the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Begin the session, or keep it.
    Open,
    /// Forget the session.
    End,
    /// Execute this once.
    Mutate {
        /// Its number among the session's mutations.
        sequence: u64,
        /// What.
        mutation: Mutation,
    },
    /// Read, after the session's mutations below `after`.
    Read {
        /// The client's number for the read.
        number: u64,
        /// Mutations that must come first.
        after: u64,
        /// Where.
        offset: u64,
        /// How many bytes, 1 to 65,536.
        length: u32,
    },
}

impl Ask {
    /// Which read (true) or mutation this is, for a refusal; `None` for what concerns the whole session.
    pub const fn which(&self) -> Option<(bool, u64)> {
        match self {
            Self::Mutate { sequence, .. } => Some((false, *sequence)),
            Self::Read { number, .. } => Some((true, *number)),
            Self::Open | Self::End => None,
        }
    }
}

/// What a primary answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The session is there.
    Opened,
    /// The mutation was applied by as many members as it takes.
    Mutated {
        /// Which.
        sequence: u64,
        /// The word as it was; 0 for a write.
        value: u64,
    },
    /// The bytes as they were at a moment between question and answer.
    Bytes {
        /// Which read.
        number: u64,
        /// What was there.
        bytes: Bytes,
    },
    /// Not executed.
    Refused {
        /// Which: `None` when OPEN was refused, `Some((true, number))` a read, `Some((false, sequence))` a mutation.
        which: Option<(bool, u64)>,
        /// Why.
        refusal: Refusal,
    },
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Primary to backup: apply these after `previous`. Without entries a sign of life.
    Append {
        /// In which the primary leads.
        epoch: Epoch,
        /// Counts the primary's messages, so that an answer shows when it led.
        round: u64,
        /// Before the first entry.
        previous: Position,
        /// In order.
        entries: Vec<Entry>,
    },
    /// Primary to backup: begin anew from this state.
    Snapshot {
        /// In which the primary leads.
        epoch: Epoch,
        /// Of the state.
        position: Position,
        /// Bytes of the whole.
        total: u64,
        /// Of these bytes in it.
        offset: u64,
        /// A part.
        bytes: Bytes,
    },
    /// Backup to primary: how far it is.
    Appended {
        /// The primary's.
        epoch: Epoch,
        /// Of the message that is answered.
        round: u64,
        /// Of the backup's state.
        position: Position,
        /// Bytes of a state that it is receiving, if it is.
        received: Option<(Position, u64)>,
    },
    /// Candidate to member: promise to follow nobody of an earlier epoch.
    Prepare {
        /// In which the candidate would lead.
        epoch: Epoch,
        /// Of the candidate's state.
        position: Position,
    },
    /// Member to candidate: promised.
    Promise {
        /// The candidate's.
        epoch: Epoch,
        /// Of the member's state.
        position: Position,
        /// True if the candidate may lead as far as this member knows; false if it itself knows more.
        is_granted: bool,
    },
    /// To whoever speaks in an epoch that is over.
    Fenced {
        /// The epoch that was promised.
        epoch: Epoch,
    },
    /// Client to member.
    Request {
        /// Whose.
        session: u128,
        /// It waits for nothing below this any more.
        ack_below: u64,
        /// What.
        ask: Ask,
    },
    /// Primary to client.
    Reply {
        /// Whose.
        session: u128,
        /// In which it was answered.
        epoch: Epoch,
        /// What.
        answer: Answer,
    },
    /// Member to client: ask the primary.
    NotPrimary {
        /// Whose.
        session: u128,
        /// The highest epoch that the member has heard of.
        epoch: Epoch,
        /// Who leads, if that is known.
        primary: Option<u8>,
    },
}

impl Message {
    /// Appends the message of `group`.
    pub fn encode(&self, group: u128, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH]);
        out.extend_from_slice(&group.to_le_bytes());
        out.push(self.kind());
        self.encode_body(out);
        let length = (out.len() - start - LENGTH) as u32;
        debug_assert!(length as usize + LENGTH <= MAX_MESSAGE);
        out[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Append { .. } => 1,
            Self::Snapshot { .. } => 2,
            Self::Appended { .. } => 3,
            Self::Prepare { .. } => 4,
            Self::Promise { .. } => 5,
            Self::Fenced { .. } => 6,
            Self::Request { .. } => 7,
            Self::Reply { .. } => 8,
            Self::NotPrimary { .. } => 9,
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Append {
                epoch,
                round,
                previous,
                entries,
            } => {
                push_u64(out, &[epoch.0, *round]);
                push_position(out, *previous);
                out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
                for entry in entries {
                    entry.encode(out);
                }
            }
            Self::Snapshot {
                epoch,
                position,
                total,
                offset,
                bytes,
            } => {
                push_u64(out, &[epoch.0]);
                push_position(out, *position);
                push_u64(out, &[*total, *offset]);
                push_block(out, bytes);
            }
            Self::Appended {
                epoch,
                round,
                position,
                received,
            } => {
                push_u64(out, &[epoch.0, *round]);
                push_position(out, *position);
                out.push(u8::from(received.is_some()));
                if let Some((position, bytes)) = received {
                    push_position(out, *position);
                    push_u64(out, &[*bytes]);
                }
            }
            Self::Prepare { epoch, position } => {
                push_u64(out, &[epoch.0]);
                push_position(out, *position);
            }
            Self::Promise {
                epoch,
                position,
                is_granted,
            } => {
                push_u64(out, &[epoch.0]);
                push_position(out, *position);
                out.push(u8::from(*is_granted));
            }
            Self::Fenced { epoch } => push_u64(out, &[epoch.0]),
            Self::Request {
                session,
                ack_below,
                ask,
            } => {
                out.extend_from_slice(&session.to_le_bytes());
                push_u64(out, &[*ack_below]);
                encode_ask(ask, out);
            }
            Self::Reply {
                session,
                epoch,
                answer,
            } => {
                out.extend_from_slice(&session.to_le_bytes());
                push_u64(out, &[epoch.0]);
                encode_answer(answer, out);
            }
            Self::NotPrimary {
                session,
                epoch,
                primary,
            } => {
                out.extend_from_slice(&session.to_le_bytes());
                push_u64(out, &[epoch.0]);
                out.push(primary.unwrap_or(u8::MAX));
            }
        }
    }

    /// Decodes the message at the front of `bytes`, and whose group's it is.
    ///
    /// # Errors
    /// [`Malformed`] as soon as the bytes that are there show that no correct peer sent them.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<(u128, Self)>, Malformed> {
        let Some(length) = bytes.first_chunk::<LENGTH>() else {
            return Ok(Decoded::Needs(LENGTH));
        };
        let whole = LENGTH + u32::from_le_bytes(*length) as usize;
        if !(HEADER..=MAX_MESSAGE).contains(&whole) {
            return Err(Malformed);
        }
        let Some(frame) = bytes.get(LENGTH..whole) else {
            return Ok(Decoded::Needs(whole));
        };
        let mut reader = Reader::new(frame);
        let group = reader.u128()?;
        let message = decode_body(reader.u8()?, &mut reader)?;
        if !reader.is_at_end() {
            return Err(Malformed);
        }
        Ok(Decoded::Frame((group, message), whole))
    }
}

fn push_u64(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn push_position(out: &mut Vec<u8>, position: Position) {
    push_u64(out, &[position.epoch.0, position.index]);
}

fn epoch(reader: &mut Reader<'_>) -> Result<Epoch, Malformed> {
    reader.u64().map(Epoch)
}

fn position(reader: &mut Reader<'_>) -> Result<Position, Malformed> {
    let epoch = epoch(reader)?;
    let index = reader.u64()?;
    // Half of the numbers will never be reached, so that none wraps.
    if index > u64::MAX / 2 {
        return Err(Malformed);
    }
    Ok(Position { epoch, index })
}

fn decode_body(kind: u8, reader: &mut Reader<'_>) -> Result<Message, Malformed> {
    Ok(match kind {
        1 => {
            let (epoch, round, previous) = (epoch(reader)?, reader.u64()?, position(reader)?);
            let count = reader.u32()? as usize;
            if count > MAX_BATCH {
                return Err(Malformed);
            }
            let entries = (0..count)
                .map(|_| Entry::decode(reader))
                .collect::<Result<_, _>>()?;
            Message::Append {
                epoch,
                round,
                previous,
                entries,
            }
        }
        2 => Message::Snapshot {
            epoch: epoch(reader)?,
            position: position(reader)?,
            total: reader.u64()?,
            offset: reader.u64()?,
            bytes: Bytes::copy_from_slice(reader.block(CHUNK)?),
        },
        3 => {
            let (epoch, round, at) = (epoch(reader)?, reader.u64()?, position(reader)?);
            let received = if reader.flag()? {
                Some((position(reader)?, reader.u64()?))
            } else {
                None
            };
            Message::Appended {
                epoch,
                round,
                position: at,
                received,
            }
        }
        4 => Message::Prepare {
            epoch: epoch(reader)?,
            position: position(reader)?,
        },
        5 => Message::Promise {
            epoch: epoch(reader)?,
            position: position(reader)?,
            is_granted: reader.flag()?,
        },
        6 => Message::Fenced {
            epoch: epoch(reader)?,
        },
        7 => Message::Request {
            session: reader.u128()?,
            ack_below: sequence(reader)?,
            ask: decode_ask(reader)?,
        },
        8 => Message::Reply {
            session: reader.u128()?,
            epoch: epoch(reader)?,
            answer: decode_answer(reader)?,
        },
        9 => Message::NotPrimary {
            session: reader.u128()?,
            epoch: epoch(reader)?,
            primary: Some(reader.u8()?).filter(|primary| *primary != u8::MAX),
        },
        _ => return Err(Malformed),
    })
}

/// A sequence; half of the numbers will never be reached, so that none wraps.
fn sequence(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    reader
        .u64()
        .and_then(|number| (number <= u64::MAX / 2).then_some(number).ok_or(Malformed))
}

fn encode_ask(ask: &Ask, out: &mut Vec<u8>) {
    match ask {
        Ask::Open => out.push(1),
        Ask::End => out.push(2),
        Ask::Mutate { sequence, mutation } => {
            out.push(3);
            push_u64(out, &[*sequence]);
            mutation.encode(out);
        }
        Ask::Read {
            number,
            after,
            offset,
            length,
        } => {
            out.push(4);
            push_u64(out, &[*number, *after, *offset]);
            out.extend_from_slice(&length.to_le_bytes());
        }
    }
}

fn decode_ask(reader: &mut Reader<'_>) -> Result<Ask, Malformed> {
    Ok(match reader.u8()? {
        1 => Ask::Open,
        2 => Ask::End,
        3 => Ask::Mutate {
            sequence: sequence(reader)?,
            mutation: Mutation::decode(reader)?,
        },
        4 => {
            let (number, after) = (reader.u64()?, sequence(reader)?);
            let (offset, length) = (reader.u64()?, reader.u32()?);
            if length == 0 || length > MAX_INLINE {
                return Err(Malformed);
            }
            Ask::Read {
                number,
                after,
                offset,
                length,
            }
        }
        _ => return Err(Malformed),
    })
}

fn encode_answer(answer: &Answer, out: &mut Vec<u8>) {
    match answer {
        Answer::Opened => out.push(1),
        Answer::Mutated { sequence, value } => {
            out.push(2);
            push_u64(out, &[*sequence, *value]);
        }
        Answer::Bytes { number, bytes } => {
            out.push(3);
            push_u64(out, &[*number]);
            push_block(out, bytes);
        }
        Answer::Refused { which, refusal } => {
            let kind = match which {
                None => 0,
                Some((false, _)) => 1,
                Some((true, _)) => 2,
            };
            out.extend_from_slice(&[4, kind, *refusal as u8]);
            push_u64(out, &[which.map_or(0, |(_, number)| number)]);
        }
    }
}

fn decode_answer(reader: &mut Reader<'_>) -> Result<Answer, Malformed> {
    Ok(match reader.u8()? {
        1 => Answer::Opened,
        2 => Answer::Mutated {
            sequence: reader.u64()?,
            value: reader.u64()?,
        },
        3 => Answer::Bytes {
            number: reader.u64()?,
            bytes: Bytes::copy_from_slice(reader.block(MAX_INLINE as usize)?),
        },
        4 => {
            let kind = reader.u8()?;
            let refusal = Refusal::from_code(reader.u8()?).ok_or(Malformed)?;
            let number = reader.u64()?;
            let which = match kind {
                0 if number == 0 => None,
                1 => Some((false, number)),
                2 => Some((true, number)),
                _ => return Err(Malformed),
            };
            Answer::Refused { which, refusal }
        }
        _ => return Err(Malformed),
    })
}
