//! What is said before and between the descriptors: invitation, messages, proofs. Bytes only.
//!
//! Two processes that have authenticated each other over QUIC share a secret that nobody else has. One invites (over
//! QUIC: which kernel, which socket, a one-time number), the other connects to the socket; both prove there that they hold
//! the secret, each over its own process id, which the kernel tells the other side truthfully. So neither a stranger nor a process
//! of the same user that passes messages on gets a descriptor.

use std::{
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use subtle::ConstantTimeEq;

use super::socket::MAX_PATH;
use crate::region::Rights;

/// Bytes of a secret, a proof.
pub(super) const SECRET_BYTES: usize = 32;
const VERSION: u8 = 1;

/// Which kernel runs this process: the same after the boot for all of its processes, in containers too.
pub(super) type KernelId = [u8; 16];
/// Number of an invitation. Not secret.
pub(super) type InvitationId = [u8; 16];
/// What two authenticated processes know and nobody else does.
pub(super) type Secret = [u8; SECRET_BYTES];

/// What the inviting side sends over the authenticated connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invitation {
    pub(super) kernel: KernelId,
    pub(super) id: InvitationId,
    pub(super) path: PathBuf,
}

impl Invitation {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let path = self.path.as_os_str().as_bytes();
        [&[VERSION], &self.kernel[..], &self.id, path].concat()
    }

    /// `None` for what no inviting side writes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (kernel, rest) = rest.split_first_chunk()?;
        let (id, path) = rest.split_first_chunk()?;
        let sound =
            version == VERSION && (1..=MAX_PATH).contains(&path.len()) && !path.contains(&0);
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        (sound && path.is_absolute()).then(|| Self {
            kernel: *kernel,
            id: *id,
            path: path.to_owned(),
        })
    }
}

/// A proof that the sender holds the secret of an invitation, bound to what it says and to its process.
#[derive(Clone, Copy)]
pub(super) struct Proof([u8; SECRET_BYTES]);

impl Proof {
    /// Of the side that connects.
    pub(super) fn of_connector(
        secret: &Secret,
        id: &InvitationId,
        nonce: &[u8; 16],
        process: u32,
    ) -> Self {
        Self::over(
            secret,
            b"linkmesh same host connect",
            &[id, nonce, &process.to_le_bytes()],
        )
    }

    /// Of the side that invited.
    pub(super) fn of_acceptor(
        secret: &Secret,
        id: &InvitationId,
        nonce: &[u8; 16],
        process: u32,
        ring_bytes: u32,
    ) -> Self {
        Self::over(
            secret,
            b"linkmesh same host accept",
            &[id, nonce, &process.to_le_bytes(), &ring_bytes.to_le_bytes()],
        )
    }

    /// All parts have fixed lengths but the label, which is one of two and none a prefix of the other.
    fn over(secret: &Secret, label: &[u8], parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(label);
        for part in parts {
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// In constant time.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(…)")
    }
}

/// A message on the Unix socket. The descriptors that go with it are named at each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    /// First message of the connector.
    Connect {
        id: InvitationId,
        nonce: [u8; 16],
        proof: Proof,
    },
    /// The answer; with the channel's memory, an end of its bell, and the acceptor's control page.
    Accept { ring_bytes: u32, proof: Proof },
    /// With the connector's control page. The link stands.
    Confirm,
    /// A grant; with the memory object.
    Offer(Offer),
}

/// A grant as it is offered to a linked peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) grant: [u8; 16],
    pub(super) rights: Rights,
    pub(super) slot: u16,
    pub(super) word: u64,
    pub(super) len: u64,
    /// From the moment of sending.
    pub(super) lifetime_ms: Option<u64>,
}

impl Message {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Connect { id, nonce, proof } => {
                [&[1, VERSION], &id[..], &nonce, &proof.0].concat()
            }
            Self::Accept { ring_bytes, proof } => {
                [&[2], &ring_bytes.to_le_bytes()[..], &proof.0].concat()
            }
            Self::Confirm => vec![3],
            Self::Offer(offer) => [
                &[4, offer.rights.bits()],
                &offer.slot.to_le_bytes()[..],
                &offer.word.to_le_bytes(),
                &offer.len.to_le_bytes(),
                &offer.lifetime_ms.unwrap_or(u64::MAX).to_le_bytes(),
                &offer.grant,
            ]
            .concat(),
        }
    }

    /// `None` for anything that is not exactly one message.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&kind, mut rest) = bytes.split_first()?;
        let rest = &mut rest;
        let message = match kind {
            1 => {
                if take::<1>(rest)? != [VERSION] {
                    return None;
                }
                Self::Connect {
                    id: take(rest)?,
                    nonce: take(rest)?,
                    proof: Proof(take(rest)?),
                }
            }
            2 => Self::Accept {
                ring_bytes: u32::from_le_bytes(take(rest)?),
                proof: Proof(take(rest)?),
            },
            3 => Self::Confirm,
            4 => {
                let rights = Rights::from_bits(take::<1>(rest)?[0])?;
                let slot = u16::from_le_bytes(take(rest)?);
                let word = u64::from_le_bytes(take(rest)?);
                let len = u64::from_le_bytes(take(rest)?);
                let lifetime = u64::from_le_bytes(take(rest)?);
                Self::Offer(Offer {
                    grant: take(rest)?,
                    rights,
                    slot,
                    word,
                    len,
                    lifetime_ms: (lifetime != u64::MAX).then_some(lifetime),
                })
            }
            _ => return None,
        };
        rest.is_empty().then_some(message)
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: Secret = [7; 32];

    #[test]
    fn a_proof_fits_one_secret_one_invitation_one_side_one_process() {
        let (id, nonce) = ([1; 16], [2; 16]);
        let proof = Proof::of_connector(&SECRET, &id, &nonce, 10);
        assert!(proof.is(&Proof::of_connector(&SECRET, &id, &nonce, 10)));
        for other in [
            Proof::of_connector(&[8; 32], &id, &nonce, 10),
            Proof::of_connector(&SECRET, &[9; 16], &nonce, 10),
            Proof::of_connector(&SECRET, &id, &[9; 16], 10),
            Proof::of_connector(&SECRET, &id, &nonce, 11),
            Proof::of_acceptor(&SECRET, &id, &nonce, 10, 4096),
        ] {
            assert!(!proof.is(&other));
        }
        let answer = Proof::of_acceptor(&SECRET, &id, &nonce, 10, 4096);
        assert!(!answer.is(&Proof::of_acceptor(&SECRET, &id, &nonce, 10, 8192)));
    }

    #[test]
    fn messages_and_invitations_come_back() {
        let offer = Offer {
            grant: [3; 16],
            rights: Rights::ALL,
            slot: 1023,
            word: 1 << 60,
            len: 4097,
            lifetime_ms: Some(60_000),
        };
        let proof = Proof([5; 32]);
        let (id, nonce) = ([1; 16], [2; 16]);
        for message in [
            Message::Connect { id, nonce, proof },
            Message::Accept {
                ring_bytes: 65_536,
                proof,
            },
            Message::Confirm,
            Message::Offer(offer),
        ] {
            let bytes = message.to_bytes();
            let back = Message::from_bytes(&bytes).unwrap();
            assert_eq!(back.to_bytes(), bytes);
            assert!(bytes.len() <= super::super::socket::MAX_MESSAGE);
            assert!(Message::from_bytes(&bytes[..bytes.len() - 1]).is_none());
            assert!(Message::from_bytes(&[&bytes[..], &[0]].concat()).is_none());
        }
        let Some(Message::Offer(back)) = Message::from_bytes(&Message::Offer(offer).to_bytes())
        else {
            panic!("an offer")
        };
        assert_eq!(back, offer);
        let invitation = Invitation {
            kernel: [4; 16],
            id,
            path: "/run/user/0/x/s".into(),
        };
        let back = Invitation::from_bytes(&invitation.to_bytes());
        assert_eq!(back, Some(invitation));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_themselves_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(message) = Message::from_bytes(&bytes) {
                prop_assert_eq!(message.to_bytes(), &bytes[..]);
            }
            if let Some(invitation) = Invitation::from_bytes(&bytes) {
                prop_assert_eq!(invitation.to_bytes(), bytes);
            }
        }
    }
}
