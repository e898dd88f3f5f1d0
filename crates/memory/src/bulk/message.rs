//! What both sides say about transfers on their control stream.
//!
//! ```text
//! message   kind u8 · body length u8 · body, little-endian
//!   READ     1 →  id u64 · offset u64 · length u32 · handle u16 · options u8 · ranges      send me these parts
//!   STATUS   2 →  id u64 · length u32                                                      what of my write is missing?
//!   CANCEL   3 →  id u64                                                                   give it up, and say what is there
//!   FORGET   4 →  id u64                                                                   DONE was read
//!   MISSING  5 ←  id u64 · ranges                                                          of a write: send me these parts
//!   DONE     6 ←  id u64 · status u8 · placed u32                                          a write ended; a read failed
//! ranges    count u8 (1..=8) · (start u32 · end u32) each, ascending
//! ```

use std::ops::Range;

use super::{MAX_PIECES, Options, TransferStatus, is_length};

/// Bytes of the longest message.
pub const MAX_MESSAGE_BYTES: usize = 2 + 24 + 8 * MAX_PIECES;

/// Up to [`MAX_PIECES`] ascending parts of one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    ranges: [(u32, u32); MAX_PIECES],
    count: usize,
}

impl Ranges {
    /// The gaps, the last one reaching over all that do not fit: what is there already is not placed twice.
    pub fn cover(gaps: impl Iterator<Item = Range<u64>>) -> Self {
        let mut ranges = Self {
            ranges: [(0, 0); MAX_PIECES],
            count: 0,
        };
        for gap in gaps {
            let (start, end) = (gap.start as u32, gap.end as u32);
            if ranges.count < MAX_PIECES {
                ranges.ranges[ranges.count] = (start, end);
                ranges.count += 1;
            } else {
                ranges.ranges[MAX_PIECES - 1].1 = end;
            }
        }
        ranges
    }

    /// The parts.
    pub fn iter(&self) -> impl Iterator<Item = Range<u32>> {
        self.ranges[..self.count]
            .iter()
            .map(|(start, end)| *start..*end)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.count as u8);
        for (start, end) in &self.ranges[..self.count] {
            out.extend_from_slice(&start.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
        }
    }

    /// Reads them from the end of a body; `limit` bounds each.
    fn decode(body: &[u8], limit: u32) -> Option<Self> {
        let (count, body) = body.split_first()?;
        let count = usize::from(*count);
        if count == 0 || count > MAX_PIECES || body.len() != count * 8 {
            return None;
        }
        let mut ranges = [(0, 0); MAX_PIECES];
        let mut covered = 0;
        for (range, bytes) in ranges.iter_mut().zip(body.chunks_exact(8)) {
            let (start, end) = (word(bytes, 0), word(bytes, 4));
            if start < covered || start >= end || end > limit {
                return None;
            }
            *range = (start, end);
            covered = end;
        }
        Some(Self { ranges, count })
    }
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Client: send these parts of a slice.
    Read {
        /// The transfer.
        id: u64,
        /// Where it begins in the grant's slice.
        offset: u64,
        /// Bytes of the whole.
        length: u32,
        /// The client's number for the grant.
        handle: u16,
        /// How to send.
        options: Options,
        /// Which parts.
        ranges: Ranges,
    },
    /// Client: what of this write is missing?
    Status {
        /// The transfer.
        id: u64,
        /// Bytes of the whole.
        length: u32,
    },
    /// Client: give it up.
    Cancel {
        /// The transfer.
        id: u64,
    },
    /// Client: the end of it is known; nothing more comes.
    Forget {
        /// The transfer.
        id: u64,
    },
    /// Server: these parts of a write did not arrive, or did damaged.
    Missing {
        /// The transfer.
        id: u64,
        /// Which parts.
        ranges: Ranges,
    },
    /// Server: a write ended, or a read cannot go on.
    Done {
        /// The transfer.
        id: u64,
        /// How.
        status: TransferStatus,
        /// Bytes placed in the region; 0 for a read.
        placed: u32,
    },
}

impl Message {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 2];
        out[0] = match *self {
            Self::Read {
                id,
                offset,
                length,
                handle,
                options,
                ranges,
            } => {
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&handle.to_le_bytes());
                out.push(options.bits());
                ranges.encode(&mut out);
                1
            }
            Self::Missing { id, ranges } => {
                out.extend_from_slice(&id.to_le_bytes());
                ranges.encode(&mut out);
                5
            }
            Self::Done { id, status, placed } => {
                out.extend_from_slice(&id.to_le_bytes());
                out.push(status as u8);
                out.extend_from_slice(&placed.to_le_bytes());
                6
            }
            Self::Status { id, length } => {
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
                2
            }
            Self::Cancel { id } => {
                out.extend_from_slice(&id.to_le_bytes());
                3
            }
            Self::Forget { id } => {
                out.extend_from_slice(&id.to_le_bytes());
                4
            }
        };
        out[1] = (out.len() - 2) as u8;
        out
    }

    /// Reads a message's body.
    fn decode(kind: u8, body: &[u8]) -> Option<Self> {
        let (id, rest) = body.split_first_chunk::<8>()?;
        let id = u64::from_le_bytes(*id);
        match (kind, rest) {
            (1, rest) => {
                let (fixed, ranges) = rest.split_first_chunk::<15>()?;
                let length = word(fixed, 8);
                is_length(length).then_some(())?;
                Some(Self::Read {
                    id,
                    offset: u64::from(word(fixed, 0)) | u64::from(word(fixed, 4)) << 32,
                    length,
                    handle: u16::from_le_bytes([fixed[12], fixed[13]]),
                    options: Options::from_bits(fixed[14])?,
                    ranges: Ranges::decode(ranges, length)?,
                })
            }
            (2, length) if length.len() == 4 => {
                let length = word(length, 0);
                is_length(length).then_some(Self::Status { id, length })
            }
            (3, []) => Some(Self::Cancel { id }),
            (4, []) => Some(Self::Forget { id }),
            (5, ranges) => Some(Self::Missing {
                id,
                ranges: Ranges::decode(ranges, super::MAX_TRANSFER_BYTES as u32)?,
            }),
            (6, [status, placed @ ..]) if placed.len() == 4 => Some(Self::Done {
                id,
                status: TransferStatus::from_code(*status)?,
                placed: word(placed, 0),
            }),
            _ => None,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Puts messages together from however the stream cut them. Never holds more than one message.
#[derive(Clone, Debug, Default)]
pub struct MessageReader {
    held: Vec<u8>,
}

/// No correct peer sent this: the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes that are no message about a transfer")
    }
}

impl std::error::Error for Malformed {}

impl MessageReader {
    /// Takes the bytes of one message off the front of `bytes`, if it is complete now.
    ///
    /// # Errors
    /// [`Malformed`] as soon as the message cannot be one.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Message>, Malformed> {
        loop {
            let whole = match self.held.get(1) {
                Some(length) => 2 + usize::from(*length),
                None => 2,
            };
            if whole > MAX_MESSAGE_BYTES {
                return Err(Malformed);
            }
            let take = (whole - self.held.len()).min(bytes.len());
            let (taken, rest) = bytes.split_at(take);
            self.held.extend_from_slice(taken);
            *bytes = rest;
            if self.held.len() < whole {
                return Ok(None);
            }
            if whole > 2 || self.held[1] == 0 {
                let message = Message::decode(self.held[0], &self.held[2..]);
                self.held.clear();
                return message.map(Some).ok_or(Malformed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Ranges> {
        prop::collection::btree_set(0u32..1000, 2..20).prop_map(|edges| {
            let edges: Vec<_> = edges.into_iter().map(u64::from).collect();
            Ranges::cover(edges.chunks_exact(2).map(|edge| edge[0]..edge[1]))
        })
    }

    fn message() -> impl Strategy<Value = Message> {
        let id = any::<u64>();
        prop_oneof![
            (
                id,
                any::<u64>(),
                1000u32..5000,
                any::<u16>(),
                0u8..4,
                ranges()
            )
                .prop_map(|(id, offset, length, handle, bits, ranges)| Message::Read {
                    id,
                    offset,
                    length,
                    handle,
                    options: Options::from_bits(bits).unwrap(),
                    ranges,
                }),
            (id, 1u32..9000).prop_map(|(id, length)| Message::Status { id, length }),
            id.prop_map(|id| Message::Cancel { id }),
            id.prop_map(|id| Message::Forget { id }),
            (id, ranges()).prop_map(|(id, ranges)| Message::Missing { id, ranges }),
            (id, 0u8..12, any::<u32>()).prop_map(|(id, code, placed)| Message::Done {
                id,
                status: TransferStatus::from_code(code).unwrap(),
                placed,
            }),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back_however_they_are_cut(
            messages in prop::collection::vec(message(), 1..8),
            cuts in prop::collection::vec(1usize..40, 1..30),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
            let (mut reader, mut found, mut rest) = (MessageReader::default(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (mut piece, later) = rest.split_at(rest.len().min(*cut));
                rest = later;
                while let Some(message) = reader.next(&mut piece).unwrap() {
                    found.push(message);
                }
            }
            prop_assert_eq!(found, messages);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut reader, mut rest) = (MessageReader::default(), &bytes[..]);
            while let Ok(Some(message)) = reader.next(&mut rest) {
                prop_assert!(message.encode().len() <= MAX_MESSAGE_BYTES);
            }
        }
    }

    #[test]
    fn more_gaps_than_fit_are_covered_by_the_last() {
        let covered = Ranges::cover((0..20).map(|gap| gap * 10..gap * 10 + 1));
        let parts: Vec<_> = covered.iter().collect();
        assert_eq!(parts.len(), MAX_PIECES);
        assert_eq!(
            (parts[0].clone(), parts[MAX_PIECES - 1].clone()),
            (0..1, 70..191)
        );
    }
}
