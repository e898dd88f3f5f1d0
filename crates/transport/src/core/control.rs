//! The control stream: the first stream of a connection, on which both sides prove who they are and say goodbye.
//!
//! Frames are `type u8 | length u32 | payload`, little-endian. HELLO: `version u16 | features u64 | proof`. ACCEPT is
//! empty. GOODBYE: `bidirectional u64 | unidirectional u64`, the streams that its sender has opened. Each may come once, and ACCEPT only from a peer whose HELLO has come.

use super::authenticator::MAX_PROOF_BYTES;
use super::peer::StreamId;

/// The version of everything above QUIC.
pub(super) const VERSION: u16 = 1;
/// Feature bits this side knows. None so far.
pub(super) const FEATURES: u64 = 0;

const HELLO: u8 = 1;
const ACCEPT: u8 = 2;
const GOODBYE: u8 = 3;
const HEADER: usize = 5;
const HELLO_FIXED: usize = 10;
const GOODBYE_LENGTH: usize = 16;
/// The most the inbox ever holds: one HELLO of full size and what may follow it in the same packet.
const MAX_INBOX: usize = HEADER + HELLO_FIXED + MAX_PROOF_BYTES + 2 * HEADER + GOODBYE_LENGTH;

/// A frame of the control stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Hello {
        version: u16,
        features: u64,
        proof: Vec<u8>,
    },
    Accept,
    Goodbye {
        opened: [u64; 2],
    },
}

/// The peer's control stream is not what it must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The state of one connection's control stream.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) stream: Option<StreamId>,
    inbox: Vec<u8>,
    /// Encoded frames that the stream did not take yet.
    pub(super) outbox: Vec<u8>,
    /// Nothing follows what is in the outbox: the stream is finished once that has been taken.
    pub(super) finishing: bool,
    /// The peer's HELLO has come.
    pub(super) greeted: bool,
    /// The peer has accepted our proof.
    pub(super) accepted: bool,
    /// The peer has said that it closes, and how many streams it has opened (bidirectional, unidirectional).
    pub(super) goodbye: Option<[u64; 2]>,
    /// The peer's feature bits.
    pub(super) features: u64,
}

impl Control {
    /// Takes bytes in.
    ///
    /// # Errors
    /// When the peer sends more than any frame may have; nothing is stored then.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.inbox.len() + bytes.len() > MAX_INBOX {
            return Err(Malformed);
        }
        self.inbox.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// On an unknown type, a length that its type cannot have, or a frame that may not come (again).
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        if self.inbox.len() < HEADER {
            return Ok(None);
        }
        let kind = self.inbox[0];
        let length =
            u32::from_le_bytes([self.inbox[1], self.inbox[2], self.inbox[3], self.inbox[4]])
                as usize;
        let fits = match kind {
            HELLO => {
                (HELLO_FIXED..=HELLO_FIXED + MAX_PROOF_BYTES).contains(&length) && !self.greeted
            }
            ACCEPT => length == 0 && self.greeted && !self.accepted,
            GOODBYE => length == GOODBYE_LENGTH && self.accepted && self.goodbye.is_none(),
            _ => false,
        };
        if !fits {
            return Err(Malformed);
        }
        if self.inbox.len() < HEADER + length {
            return Ok(None);
        }
        let payload = &self.inbox[HEADER..HEADER + length];
        let frame = match kind {
            HELLO => {
                self.greeted = true;
                Frame::Hello {
                    version: u16::from_le_bytes([payload[0], payload[1]]),
                    features: u64::from_le_bytes(
                        payload[2..HELLO_FIXED].try_into().expect("eight bytes"),
                    ),
                    proof: payload[HELLO_FIXED..].to_vec(),
                }
            }
            ACCEPT => {
                self.accepted = true;
                Frame::Accept
            }
            _ => {
                let count = |at: usize| {
                    u64::from_le_bytes(payload[at..at + 8].try_into().expect("eight bytes"))
                };
                let opened = [count(0), count(8)];
                self.goodbye = Some(opened);
                Frame::Goodbye { opened }
            }
        };
        self.inbox.drain(..HEADER + length);
        if self.inbox.is_empty() {
            // Thousands of idle connections do not keep the space of their handshake.
            self.inbox = Vec::new();
        }
        Ok(Some(frame))
    }

    /// A joining peer's stream carries one message, `length u32 | bytes`: the message once it is whole.
    ///
    /// # Errors
    /// When it is longer than `limit`.
    pub(super) fn message(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(header) = self.inbox.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header) as usize;
        if length > limit || self.inbox.len() > 4 + length {
            return Err(Malformed);
        }
        if self.inbox.len() < 4 + length {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.inbox);
        message.drain(..4);
        Ok(Some(message))
    }
}

/// Appends a HELLO.
pub(super) fn hello(out: &mut Vec<u8>, version: u16, features: u64, proof: &[u8]) {
    out.push(HELLO);
    out.extend_from_slice(&((HELLO_FIXED + proof.len()) as u32).to_le_bytes());
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&features.to_le_bytes());
    out.extend_from_slice(proof);
}

/// Appends an ACCEPT.
pub(super) fn accept(out: &mut Vec<u8>) {
    out.extend_from_slice(&[ACCEPT, 0, 0, 0, 0]);
}

/// Appends a GOODBYE.
pub(super) fn goodbye(out: &mut Vec<u8>, opened: [u64; 2]) {
    out.extend_from_slice(&[GOODBYE, GOODBYE_LENGTH as u8, 0, 0, 0]);
    out.extend_from_slice(&opened[0].to_le_bytes());
    out.extend_from_slice(&opened[1].to_le_bytes());
}

/// For the fuzz target `hello`: the first byte says where the rest is cut in two. The same frames come out wherever that is,
/// and what is decoded encodes to the same bytes.
///
/// # Panics
/// When it does not.
#[cfg(fuzzing)]
pub fn fuzz_control_stream(input: &[u8]) {
    let Some((cut, wire)) = input.split_first() else {
        return;
    };
    let decode = |parts: [&[u8]; 2]| {
        let (mut control, mut frames) = (Control::default(), Vec::new());
        for part in parts {
            control.push(part)?;
            while let Some(frame) = control.next()? {
                frames.push(frame);
            }
        }
        Ok((frames, control.inbox))
    };
    let whole: Result<_, Malformed> = decode([wire, &[]]);
    if let Ok((frames, rest)) = &whole {
        assert!(rest.len() <= MAX_INBOX);
        let mut again = Vec::new();
        for frame in frames {
            match frame {
                Frame::Hello {
                    version,
                    features,
                    proof,
                } => hello(&mut again, *version, *features, proof),
                Frame::Accept => accept(&mut again),
                Frame::Goodbye { opened } => goodbye(&mut again, *opened),
            }
        }
        again.extend_from_slice(rest);
        assert_eq!(again, wire);
    }
    let (first, second) = wire.split_at(usize::from(*cut).min(wire.len()));
    let parts = decode([first, second]);
    // Bytes that come at once may be too many where the same bytes one after the other are not.
    if whole.is_ok() {
        assert_eq!(parts, whole);
    }
    let mut control = Control::default();
    if control.push(wire).is_ok()
        && let Ok(Some(message)) = control.message(MAX_PROOF_BYTES)
    {
        assert!(message.len() <= MAX_PROOF_BYTES && message == wire[4..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_come_back_whole_at_any_split() {
        let mut wire = Vec::new();
        hello(&mut wire, 1, 0b101, &[7; 300]);
        accept(&mut wire);
        goodbye(&mut wire, [3, 1 << 40]);
        for split in 0..wire.len() {
            let mut control = Control::default();
            let mut frames = Vec::new();
            for part in [&wire[..split], &wire[split..]] {
                control.push(part).unwrap();
                while let Some(frame) = control.next().unwrap() {
                    frames.push(frame);
                }
            }
            let goodbye = Frame::Goodbye {
                opened: [3, 1 << 40],
            };
            let hello = Frame::Hello {
                version: 1,
                features: 0b101,
                proof: vec![7; 300],
            };
            assert_eq!(frames, [hello, Frame::Accept, goodbye], "split at {split}");
        }
    }

    #[test]
    fn an_accept_before_the_hello_is_refused() {
        let mut control = Control::default();
        control.push(&[ACCEPT, 0, 0, 0, 0]).unwrap();
        assert_eq!(control.next(), Err(Malformed));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_by_its_header_alone() {
        let mut control = Control::default();
        control.push(&[HELLO, 0xff, 0xff, 0xff, 0x7f]).unwrap();
        assert_eq!(control.next(), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_the_limit(parts in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..400), 0..200,
        )) {
            let mut control = Control::default();
            for part in parts {
                if control.push(&part).is_err() {
                    break;
                }
                prop_assert!(control.inbox.len() <= MAX_INBOX);
                if control.next().is_err() {
                    break;
                }
            }
        }
    }
}
