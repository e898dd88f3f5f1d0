//! The frames of the locator stream.
//!
//! Each side opens one unidirectional stream of kind [`KIND`](super::locators) per connection. A frame is
//! `type u8 | length u32 | payload`, little-endian.
//!
//! | type | payload |
//! |---|---|
//! | 1 PUBLISH | the sender's own signed locator |
//! | 2 QUERY | `id u32, node field u64` |
//! | 3 ANSWER | `id u32, status u8`, a signed locator when found |
//! | 4 PING | `id u64` |
//! | 5 PONG | `id u64` |

use super::global_address::NodeField;
use super::signed_locator::MAX_SIGNED_LOCATOR_BYTES;

/// The longest frame, bytes. A longer one is refused by its header.
pub const MAX_FRAME_BYTES: usize = HEADER + ANSWER_FIXED + MAX_SIGNED_LOCATOR_BYTES;

const HEADER: usize = 5;
const ANSWER_FIXED: usize = 5;
const PUBLISH: u8 = 1;
const QUERY: u8 = 2;
const ANSWER: u8 = 3;
const PING: u8 = 4;
const PONG: u8 = 5;

/// What a node answers to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It does not know, or has said all it knows.
    End,
    /// A record follows, and another answer after it.
    Found,
    /// It answers no further question at the moment.
    Busy,
}

/// A frame; borrows from the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Publish(&'a [u8]),
    Query {
        id: u32,
        field: NodeField,
    },
    Answer {
        id: u32,
        status: Status,
        record: &'a [u8],
    },
    Ping(u64),
    Pong(u64),
}

/// The peer's stream is not what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Frame<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; HEADER]);
        out[at] = match *self {
            Self::Publish(record) => {
                out.extend_from_slice(record);
                PUBLISH
            }
            Self::Query { id, field } => {
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&field.bits().to_le_bytes());
                QUERY
            }
            Self::Answer { id, status, record } => {
                out.extend_from_slice(&id.to_le_bytes());
                out.push(match status {
                    Status::End => 0,
                    Status::Found => 1,
                    Status::Busy => 2,
                });
                out.extend_from_slice(record);
                ANSWER
            }
            Self::Ping(id) => {
                out.extend_from_slice(&id.to_le_bytes());
                PING
            }
            Self::Pong(id) => {
                out.extend_from_slice(&id.to_le_bytes());
                PONG
            }
        };
        let length = (out.len() - at - HEADER) as u32;
        out[at + 1..at + HEADER].copy_from_slice(&length.to_le_bytes());
    }

    fn decode(kind: u8, payload: &'a [u8]) -> Result<Self, Malformed> {
        let number = || {
            payload
                .try_into()
                .map(u64::from_le_bytes)
                .map_err(|_| Malformed)
        };
        match kind {
            PUBLISH => Ok(Self::Publish(payload)),
            PING => number().map(Self::Ping),
            PONG => number().map(Self::Pong),
            QUERY => {
                let (id, field) = payload.split_first_chunk::<4>().ok_or(Malformed)?;
                let bits = u64::from_le_bytes(field.try_into().map_err(|_| Malformed)?);
                let field = NodeField::from_bits(bits);
                if field.bits() != bits {
                    return Err(Malformed);
                }
                Ok(Self::Query {
                    id: u32::from_le_bytes(*id),
                    field,
                })
            }
            ANSWER => {
                let (head, record) = payload
                    .split_first_chunk::<ANSWER_FIXED>()
                    .ok_or(Malformed)?;
                let status = match (head[4], record.is_empty()) {
                    (0, true) => Status::End,
                    (1, false) => Status::Found,
                    (2, true) => Status::Busy,
                    _ => return Err(Malformed),
                };
                let id = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
                Ok(Self::Answer { id, status, record })
            }
            _ => Err(Malformed),
        }
    }
}

/// Puts the frames of one stream together from the pieces they come in. Holds at most one frame.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    held: Vec<u8>,
}

impl FrameReader {
    /// Hands each whole frame to `take`, also those of the bytes held from before.
    ///
    /// # Errors
    /// On the first frame that cannot be; what came before it has been handed over.
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Frame<'_>),
    ) -> Result<(), Malformed> {
        loop {
            // What is held is completed from the front of the new bytes: first its header, then its payload.
            let wanted = match self.held.get(1..HEADER) {
                None => HEADER,
                Some(length) => HEADER + length_of(length)?,
            };
            let missing = wanted.saturating_sub(self.held.len());
            let (now, rest) = bytes.split_at(missing.min(bytes.len()));
            self.held.extend_from_slice(now);
            bytes = rest;
            if self.held.len() < wanted {
                return Ok(());
            }
            if wanted == HEADER && length_of(&self.held[1..HEADER])? > 0 {
                continue;
            }
            take(Frame::decode(self.held[0], &self.held[HEADER..])?);
            self.held.clear();
            if self.held.capacity() > 1024 {
                // Thousands of idle connections do not keep the space of one record each.
                self.held = Vec::new();
            }
        }
    }
}

fn length_of(field: &[u8]) -> Result<usize, Malformed> {
    let length = u32::from_le_bytes(field.try_into().map_err(|_| Malformed)?) as usize;
    if length > MAX_FRAME_BYTES - HEADER {
        return Err(Malformed);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> Vec<Frame<'static>> {
        vec![
            Frame::Ping(7),
            Frame::Query {
                id: 1,
                field: NodeField::from_bits(0x1234_5678_9abc),
            },
            Frame::Answer {
                id: 1,
                status: Status::Found,
                record: b"some record",
            },
            Frame::Answer {
                id: 1,
                status: Status::End,
                record: b"",
            },
            Frame::Publish(b"another record"),
            Frame::Pong(u64::MAX),
        ]
    }

    fn encoded() -> Vec<u8> {
        let mut wire = Vec::new();
        for frame in frames() {
            frame.encode(&mut wire);
        }
        wire
    }

    #[test]
    fn a_header_beyond_the_limit_is_refused_alone() {
        let mut reader = FrameReader::default();
        assert_eq!(
            reader.read(&[PUBLISH, 0xff, 0xff, 0xff, 0], |_| panic!("no frame")),
            Err(Malformed)
        );
        assert!(reader.held.len() <= HEADER);
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(cuts in prop::collection::vec(1..40_usize, 0..60)) {
            let wire = encoded();
            let (mut reader, mut count, mut at) = (FrameReader::default(), 0, 0);
            for cut in cuts.into_iter().chain([wire.len()]) {
                let end = wire.len().min(at + cut);
                let expected = frames();
                reader.read(&wire[at..end], |frame| {
                    assert_eq!(frame, expected[count]);
                    count += 1;
                }).unwrap();
                at = end;
            }
            prop_assert_eq!(count, frames().len());
        }

        #[test]
        fn no_bytes_make_it_panic_or_hold_more_than_a_frame(parts in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..300), 0..50,
        )) {
            let mut reader = FrameReader::default();
            for part in parts {
                let outcome = reader.read(&part, |_| {});
                prop_assert!(reader.held.len() <= MAX_FRAME_BYTES);
                if outcome.is_err() {
                    break;
                }
            }
        }
    }
}
