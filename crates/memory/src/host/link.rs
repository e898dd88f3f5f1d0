//! A linked pair of processes: what each has offered the other.

use std::{
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    control::{ControlPage, ControlView},
    handover::{Message, Offer},
    mapping::MemoryFile,
    object::{SharedObject, Sharing},
    region::{MappedRegion, Parts},
    service::Session,
    socket::Socket,
};
use crate::region::Rights;

/// What an offered grant says.
#[derive(Clone, Debug)]
pub struct OfferTerms {
    /// The grant's id: how the importer knows which of its imports this is.
    pub grant: [u8; 16],
    /// What the grant allows.
    pub rights: Rights,
    /// First byte of the granted range.
    pub offset: u64,
    /// Bytes of the granted range.
    pub length: u64,
    /// How long it still holds; `None` until it is revoked.
    pub lifetime: Option<Duration>,
}

/// Why a grant does not go by descriptor. It holds nevertheless, over QUIC.
#[derive(Debug)]
pub enum OfferError {
    /// The grant is over a part of the object, and a descriptor shows all of it.
    Window {
        /// Bytes of the object.
        len: usize,
    },
    /// The rights do not fit what the object's seals enforce; see the table in [`host`](super).
    Rights {
        /// Of the grant.
        rights: Rights,
        /// Of the object.
        sharing: Sharing,
    },
    /// This link has as many live grants as it can have.
    TooManyGrants {
        /// How many that is.
        limit: usize,
    },
    /// The peer's process is gone.
    PeerGone,
    /// The kernel refused; `WouldBlock` when the peer does not take its messages.
    Io(io::Error),
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window { len } => {
                write!(
                    f,
                    "the grant is not over all {len} bytes of the memory object"
                )
            }
            Self::Rights { rights, sharing } => write!(
                f,
                "a grant of {rights} on memory shared as {sharing:?} cannot be enforced"
            ),
            Self::TooManyGrants { limit } => {
                write!(f, "{limit} grants are offered over this link already")
            }
            Self::PeerGone => f.write_str("the peer's process is gone"),
            Self::Io(error) => write!(f, "the memory object could not be handed over: {error}"),
        }
    }
}

impl std::error::Error for OfferError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// The connection to another process of this host.
#[derive(Debug)]
pub struct Link {
    pub(super) session: Session,
    pub(super) socket: Socket,
    pub(super) peer_process: u32,
    pub(super) peer_gone: Arc<AtomicBool>,
    /// Our grants to the peer.
    pub(super) own: ControlPage,
    /// The peer's grants to us.
    pub(super) theirs: Arc<ControlView>,
}

impl Link {
    /// The authenticated session that this link belongs to.
    pub fn session(&self) -> Session {
        self.session
    }

    /// The peer's process id.
    pub fn peer_process(&self) -> u32 {
        self.peer_process
    }

    /// True once the peer's end was noticed.
    pub fn is_gone(&self) -> bool {
        self.peer_gone.load(Ordering::Relaxed)
    }

    /// Hands a granted memory object over to the peer. The grant itself must have been verified; it ends when the answer is
    /// dropped.
    ///
    /// # Errors
    /// [`OfferError`]: the grant stays on QUIC.
    pub fn offer(
        self: &Arc<Self>,
        object: &SharedObject,
        terms: &OfferTerms,
    ) -> Result<OfferedGrant, OfferError> {
        let len = object.len();
        if terms.offset != 0 || terms.length != len as u64 {
            return Err(OfferError::Window { len });
        }
        let (rights, sharing) = (terms.rights, object.sharing());
        let enforced = match sharing {
            Sharing::Read => rights == Rights::READ,
            Sharing::ReadWrite => rights.contains(Rights::READ) && rights != Rights::READ,
        };
        if !enforced {
            return Err(OfferError::Rights { rights, sharing });
        }
        if self.is_gone() {
            return Err(OfferError::PeerGone);
        }
        let (slot, word) = self.own.open().ok_or(OfferError::TooManyGrants {
            limit: super::control::SLOTS,
        })?;
        // Ends the slot on every way out but the last.
        let offered = OfferedGrant {
            link: Arc::clone(self),
            slot,
            word,
        };
        let lifetime_ms = terms
            .lifetime
            .map(|lifetime| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX - 1));
        let message = Message::Offer(Offer {
            grant: terms.grant,
            rights,
            slot,
            word,
            len: len as u64,
            lifetime_ms,
        });
        self.socket
            .send(&message.to_bytes(), &[object.as_fd()])
            .map_err(OfferError::Io)?;
        Ok(offered)
    }

    /// Maps what the peer offers, and believes nothing of it.
    pub(super) fn accept(
        &self,
        offer: &Offer,
        descriptor: OwnedFd,
    ) -> Result<MappedRegion, io::Error> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let len = usize::try_from(offer.len)
            .ok()
            .filter(|len| (1..=SharedObject::MAX_BYTES).contains(len))
            .ok_or_else(|| invalid("the peer offers memory of an impossible length"))?;
        if !self.theirs.has(offer.slot) || !offer.rights.contains(Rights::READ) {
            return Err(invalid("the peer offers a grant that cannot be"));
        }
        let file = MemoryFile::received(descriptor, len)?;
        let writable = offer.rights != Rights::READ;
        Ok(MappedRegion::new(Parts {
            memory: file.map(writable)?,
            control: Arc::clone(&self.theirs),
            slot: offer.slot,
            word: offer.word,
            peer_gone: Arc::clone(&self.peer_gone),
            len: offer.len,
            rights: offer.rights,
            lifetime_ns: offer
                .lifetime_ms
                .map(|milliseconds| milliseconds.saturating_mul(1_000_000)),
            grant: offer.grant,
        }))
    }
}

/// A grant that a linked peer holds. Dropping it revokes it.
#[derive(Debug)]
#[must_use = "the grant ends when this is dropped"]
pub struct OfferedGrant {
    link: Arc<Link>,
    slot: u16,
    word: u64,
}

impl OfferedGrant {
    /// Ends the grant: one store. Later accesses of the peer fail; see [`host`](super) for what a dishonest one can do.
    pub fn revoke(&self) {
        self.link.own.close(self.slot, self.word);
    }
}

impl Drop for OfferedGrant {
    fn drop(&mut self) {
        self.revoke();
    }
}
