//! The list of who may not connect any more: signed, numbered, never shorter behind a root's back.
//!
//! ```text
//! network  32
//! sequence u64   grows with every list
//! issued   u64   Unix seconds
//! count    u32   at most 16,384
//! entries  41 each: kind u8 (1 node, 2 certificate, 3 issuer), id 32, revoked u64
//! issuer   u32 length, then the network certificate when a network key signed, nothing when a root did
//! ```

use std::collections::HashSet;

use super::certificate::{Certificate, MAX_CERTIFICATE_BYTES};
use super::codec::{Reader, put_block};
use super::error::IdentityError;
use super::falcon::FalconKey;
use super::id::{KeyId, NetworkId};
use super::signed::{ENVELOPE_BYTES, Envelope, ObjectKind, seal};
use crate::core::NodeId;

/// Most entries of a list.
pub const MAX_REVOCATIONS: usize = 16_384;
const ENTRY_BYTES: usize = 41;
/// Largest encoded list, bytes.
pub const MAX_REVOCATION_LIST_BYTES: usize =
    ENVELOPE_BYTES + 56 + MAX_REVOCATIONS * ENTRY_BYTES + MAX_CERTIFICATE_BYTES;
const OBJECT: &str = "revocation list";

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revoked {
    /// A node, with every certificate it has or will get.
    Node(NodeId),
    /// One certificate, by serial.
    Certificate([u8; 16]),
    /// A network key, with everything it signed.
    Issuer(KeyId),
}

impl Revoked {
    fn encode(self) -> (u8, [u8; 32]) {
        match self {
            Self::Node(id) => (1, id.0),
            Self::Certificate(serial) => {
                let mut id = [0; 32];
                id[..16].copy_from_slice(&serial);
                (2, id)
            }
            Self::Issuer(id) => (3, id.0),
        }
    }

    /// The id in hexadecimal.
    pub fn id(&self) -> String {
        match self {
            Self::Node(id) => id.to_string(),
            Self::Certificate(serial) => hex(serial),
            Self::Issuer(id) => id.to_string(),
        }
    }

    /// The word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Certificate(_) => "certificate",
            Self::Issuer(_) => "issuer",
        }
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A decoded list. `check_signer` says whether it is to be believed.
#[derive(Clone, Debug)]
pub struct RevocationList {
    network: NetworkId,
    sequence: u64,
    issued: u64,
    entries: Vec<(Revoked, u64)>,
    index: HashSet<Revoked>,
    issuer: Option<Certificate>,
    encoded: Box<[u8]>,
}

impl RevocationList {
    /// The list of a network in which nobody was revoked yet: sequence 0, nothing signed.
    pub(super) fn empty(network: NetworkId) -> Self {
        Self {
            network,
            sequence: 0,
            issued: 0,
            entries: Vec::new(),
            index: HashSet::new(),
            issuer: None,
            encoded: Box::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn at_sequence(&self, sequence: u64) -> Self {
        Self {
            sequence,
            ..self.clone()
        }
    }

    /// The next list: this one and `revoked`, or the same entries signed anew. Signed by a network key (then with its
    /// certificate) or by a root.
    pub(super) fn with(
        &self,
        revoked: Option<Revoked>,
        now: u64,
        key: &FalconKey,
        issuer: Option<&Certificate>,
    ) -> Result<Self, IdentityError> {
        if self.entries.len() >= MAX_REVOCATIONS {
            return Err(IdentityError::TooLarge {
                object: OBJECT,
                limit: MAX_REVOCATIONS,
            });
        }
        let mut entries = self.entries.clone();
        entries.extend(
            revoked
                .filter(|revoked| !self.index.contains(revoked))
                .map(|revoked| (revoked, now)),
        );
        let mut payload = Vec::with_capacity(64 + entries.len() * ENTRY_BYTES);
        payload.extend_from_slice(&self.network.0);
        payload.extend_from_slice(&(self.sequence + 1).to_le_bytes());
        payload.extend_from_slice(&now.to_le_bytes());
        payload.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        for (revoked, at) in &entries {
            let (kind, id) = revoked.encode();
            payload.push(kind);
            payload.extend_from_slice(&id);
            payload.extend_from_slice(&at.to_le_bytes());
        }
        put_block(&mut payload, issuer.map_or(&[], Certificate::as_bytes));
        Self::decode(&seal(ObjectKind::REVOCATION_LIST, key, &payload))
    }

    /// Reads a list. Allocates for the entries only after their number was checked against the bytes that are there.
    ///
    /// # Errors
    /// The bytes are no list, too many, or of an unknown version or algorithm.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let envelope = Envelope::open(
            OBJECT,
            ObjectKind::REVOCATION_LIST,
            bytes,
            MAX_REVOCATION_LIST_BYTES,
        )?;
        let mut reader = Reader::new(OBJECT, envelope.payload, MAX_REVOCATION_LIST_BYTES)?;
        let network = NetworkId(*reader.array()?);
        let sequence = reader.u64()?;
        let issued = reader.u64()?;
        let count = reader.u32()? as usize;
        if count > MAX_REVOCATIONS {
            return Err(IdentityError::TooLarge {
                object: OBJECT,
                limit: MAX_REVOCATIONS,
            });
        }
        if reader.remaining() < count * ENTRY_BYTES {
            return Err(reader.malformed("it ends early"));
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = reader.u8()?;
            let revoked = match kind {
                1 => Revoked::Node(NodeId(*reader.array()?)),
                2 => {
                    let serial = *reader.array()?;
                    if *reader.array()? != [0; 16] {
                        return Err(reader.malformed("a serial is longer than 16 bytes"));
                    }
                    Revoked::Certificate(serial)
                }
                3 => Revoked::Issuer(KeyId(*reader.array()?)),
                _ => return Err(reader.malformed("an entry is of an unknown kind")),
            };
            entries.push((revoked, reader.u64()?));
        }
        let issuer = match reader.block(MAX_CERTIFICATE_BYTES)? {
            [] => None,
            bytes => Some(Certificate::decode(bytes)?),
        };
        reader.finish()?;
        Ok(Self {
            network,
            sequence,
            issued,
            index: entries.iter().map(|(revoked, _)| *revoked).collect(),
            entries,
            issuer,
            encoded: bytes.into(),
        })
    }

    /// The envelope again, to verify its signature. `None` for the empty list, which nobody signed.
    pub(super) fn envelope(&self) -> Result<Option<Envelope<'_>>, IdentityError> {
        if self.encoded.is_empty() {
            return Ok(None);
        }
        Envelope::open(
            OBJECT,
            ObjectKind::REVOCATION_LIST,
            &self.encoded,
            MAX_REVOCATION_LIST_BYTES,
        )
        .map(Some)
    }

    /// Whether an entry names it.
    pub fn contains(&self, revoked: &Revoked) -> bool {
        self.index.contains(revoked)
    }

    /// Refuses what an entry names.
    pub(super) fn check(&self, revoked: &Revoked) -> Result<(), IdentityError> {
        if self.contains(revoked) {
            return Err(IdentityError::Revoked { id: revoked.id() });
        }
        Ok(())
    }

    /// The network it holds in.
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// Grows with every list; 0 before the first.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When it was signed. Unix seconds.
    pub const fn issued(&self) -> u64 {
        self.issued
    }

    /// What is revoked and since when, oldest first.
    pub fn entries(&self) -> &[(Revoked, u64)] {
        &self.entries
    }

    /// The network certificate of the signer; `None` when a root signed.
    pub(super) const fn issuer(&self) -> Option<&Certificate> {
        self.issuer.as_ref()
    }

    /// The encoding; empty for the list with sequence 0.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }
}
