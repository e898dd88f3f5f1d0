//! The frames of the relay stream: `type u8` and a payload of a fixed length, little-endian.
//!
//! | type | payload | from |
//! |---|---|---|
//! | 1 SERVE | | a node that forwards for others |
//! | 2 OPEN | `request u32, node 32` | who wants a way to a node |
//! | 3 OPENED | `request u32, id 12` | the relay |
//! | 4 REFUSED | `request u32, reason u8` | the relay |
//! | 5 OFFER | `node 32, id 12` | the relay, to the other end |
//! | 6 CLOSE | `id 12` | either end, then the relay |

use super::packet::{ID, RelayId};
use crate::core::NodeId;

const SERVE: u8 = 1;
const OPEN: u8 = 2;
const OPENED: u8 = 3;
const REFUSED: u8 = 4;
const OFFER: u8 = 5;
const CLOSE: u8 = 6;
const LONGEST: usize = 1 + 32 + ID;

/// Why a relay gives no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It forwards for nobody.
    NotServing,
    /// The other node is not connected to it.
    Unknown,
    /// The quota is used up, or it has as many as it takes.
    Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Serve,
    Open { request: u32, node: NodeId },
    Opened { request: u32, id: RelayId },
    Refused { request: u32, reason: Refusal },
    Offer { node: NodeId, id: RelayId },
    Close { id: RelayId },
}

/// The peer's stream is not what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Frame {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Serve => out.push(SERVE),
            Self::Open { request, node } => {
                out.push(OPEN);
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&node.0);
            }
            Self::Opened { request, id } => {
                out.push(OPENED);
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&id.0);
            }
            Self::Refused { request, reason } => {
                out.push(REFUSED);
                out.extend_from_slice(&request.to_le_bytes());
                out.push(match reason {
                    Refusal::NotServing => 0,
                    Refusal::Unknown => 1,
                    Refusal::Limit => 2,
                });
            }
            Self::Offer { node, id } => {
                out.push(OFFER);
                out.extend_from_slice(&node.0);
                out.extend_from_slice(&id.0);
            }
            Self::Close { id } => {
                out.push(CLOSE);
                out.extend_from_slice(&id.0);
            }
        }
    }

    /// The first whole frame and its length.
    fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((&kind, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let length = match kind {
            SERVE => 0,
            OPEN => 4 + 32,
            OPENED => 4 + ID,
            REFUSED => 4 + 1,
            OFFER => 32 + ID,
            CLOSE => ID,
            _ => return Err(Malformed),
        };
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let request = || u32::from_le_bytes(payload[..4].try_into().expect("four bytes"));
        let node = |at: usize| NodeId(payload[at..at + 32].try_into().expect("32 bytes"));
        let id = |at: usize| RelayId(payload[at..at + ID].try_into().expect("12 bytes"));
        let frame = match kind {
            SERVE => Self::Serve,
            OPEN => Self::Open {
                request: request(),
                node: node(4),
            },
            OPENED => Self::Opened {
                request: request(),
                id: id(4),
            },
            REFUSED => Self::Refused {
                request: request(),
                reason: match payload[4] {
                    0 => Refusal::NotServing,
                    1 => Refusal::Unknown,
                    2 => Refusal::Limit,
                    _ => return Err(Malformed),
                },
            },
            OFFER => Self::Offer {
                node: node(0),
                id: id(32),
            },
            _ => Self::Close { id: id(0) },
        };
        Ok(Some((frame, 1 + length)))
    }
}

/// Puts the frames of one stream together. Holds less than one frame between two calls.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    held: Vec<u8>,
}

impl FrameReader {
    /// The frames that are whole now.
    ///
    /// # Errors
    /// On an unknown type; nothing of these bytes counts then.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Malformed> {
        self.held.extend_from_slice(bytes);
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some((frame, length)) = Frame::decode(&self.held[at..])? {
            frames.push(frame);
            at += length;
        }
        self.held.drain(..at);
        debug_assert!(self.held.len() < LONGEST);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> Vec<Frame> {
        let (node, id) = (NodeId([3; 32]), RelayId([4; ID]));
        vec![
            Frame::Serve,
            Frame::Open { request: 7, node },
            Frame::Opened { request: 7, id },
            Frame::Refused {
                request: 8,
                reason: Refusal::Limit,
            },
            Frame::Offer { node, id },
            Frame::Close { id },
        ]
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(cuts in prop::collection::vec(1..20_usize, 0..40)) {
            let mut wire = Vec::new();
            for frame in frames() {
                frame.encode(&mut wire);
            }
            let (mut reader, mut found, mut at) = (FrameReader::default(), Vec::new(), 0);
            for cut in cuts.into_iter().chain([wire.len()]) {
                let end = wire.len().min(at + cut);
                found.extend(reader.read(&wire[at..end]).unwrap());
                at = end;
            }
            prop_assert_eq!(found, frames());
        }

        #[test]
        fn no_bytes_make_it_panic_or_hold_a_frame(parts in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..100), 0..50,
        )) {
            let mut reader = FrameReader::default();
            for part in parts {
                if reader.read(&part).is_err() {
                    break;
                }
                prop_assert!(reader.held.len() < LONGEST);
            }
        }
    }
}
