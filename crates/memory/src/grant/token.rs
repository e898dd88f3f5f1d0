//! The grant itself: what it says and its compact form.
//!
//! ```text
//! "LMG" 1 · exporter 32 · region epoch u64 · issued ms u64 · name length u8 · name
//! per link:  1 u8 · holder 32 · offset u64 · length u64 · rights u8 · expires ms u64 · nonce 16
//!            credential length u16 · credential
//!            signature length u16 · signature         by the exporter, then by each holder before
//! 0 u8 · CRC32C u32 of all before it
//! ```
//! A signature covers [`DOMAIN`] and every byte of the grant before its own length, earlier links and their signatures
//! included. So a link belongs to one chain and to one place in it, without hashes of parents.

use std::{fmt, ops::Range};

use super::{
    GrantError, Signer,
    encoding::{Reader, push_block},
};
use crate::region::Rights;

/// A node's identity: 256 bits, as in its certificate.
pub type NodeId = [u8; 32];

/// Bytes of a whole grant: a chain of [`MAX_LINKS`] with the certificates of a FALCON identity in each.
pub const MAX_GRANT_BYTES: usize = 63 * 1024;
/// Links of a chain: the exporter's own and seven delegations.
pub const MAX_LINKS: usize = 8;
/// Bytes of a region's name in UTF-8; at least one.
pub const MAX_NAME_BYTES: usize = 255;
/// Bytes of what proves a delegating node's membership.
pub const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;
/// Bytes of one signature, its algorithm and version included.
pub const MAX_SIGNATURE_BYTES: usize = 2 * 1024;

const MAGIC: [u8; 4] = *b"LMG\x01";
const LINK: u8 = 1;
const END: u8 = 0;
const CHECKSUM_BYTES: usize = 4;
/// Stands before what is signed, so that the signature is none over anything else.
const DOMAIN: &[u8] = b"linkmesh grant v1\0";

/// Names one link of one grant: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId(pub [u8; 16]);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantId({self})")
    }
}

/// What one link gives to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The only node that may use or delegate it.
    pub holder: NodeId,
    /// First byte, counted from the start of the region in every link.
    pub offset: u64,
    /// Bytes; at least one.
    pub length: u64,
    /// What the holder may do.
    pub rights: Rights,
    /// When it ends, in milliseconds since 1970.
    pub expires_unix_ms: u64,
}

impl Slice {
    /// One past the last byte; `None` for an empty slice or one beyond 2⁶⁴.
    pub fn end(&self) -> Option<u64> {
        self.offset
            .checked_add(self.length)
            .filter(|end| *end > self.offset)
    }

    /// Whether this slice allows nothing that `parent` does not.
    ///
    /// # Errors
    /// [`GrantError::Wider`] with what is wider.
    pub fn check_within(&self, parent: &Self) -> Result<(), GrantError> {
        let field = match (self.end(), parent.end()) {
            (Some(end), Some(limit)) if self.offset >= parent.offset && end <= limit => {
                if !parent.rights.contains(self.rights) {
                    "rights"
                } else if self.expires_unix_ms > parent.expires_unix_ms {
                    "expiry"
                } else {
                    return Ok(());
                }
            }
            _ => "slice",
        };
        Err(GrantError::Wider { field })
    }
}

/// One signed link of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it gives.
    pub slice: Slice,
    /// Its name.
    pub id: GrantId,
    credential: Range<usize>,
    signature: Range<usize>,
}

/// A grant whose structure holds: bytes that decode, links that only narrow. Whether its signatures hold is another question.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    bytes: Box<[u8]>,
    exporter: NodeId,
    epoch: u64,
    issued_unix_ms: u64,
    name: Box<str>,
    links: Vec<Link>,
}

impl Grant {
    /// A grant for a region of the signing node. `nonce` is 128 bits of a cryptographic generator. Costs one signature.
    ///
    /// That the region allows it is for the caller to check first: [`Exports::issue`](super::Exports::issue) does.
    ///
    /// # Errors
    /// [`GrantError::TooLong`] (`name`), [`GrantError::Wider`] (an empty slice), [`GrantError::Signature`].
    pub fn issue(
        signer: &dyn Signer,
        name: &str,
        epoch: u64,
        issued_unix_ms: u64,
        slice: Slice,
        nonce: [u8; 16],
    ) -> Result<Self, GrantError> {
        if name.is_empty() {
            return Err(GrantError::Malformed {
                reason: "the name of the region is empty",
            });
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(GrantError::TooLong {
                field: "name",
                limit: MAX_NAME_BYTES,
            });
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&signer.node_id());
        bytes.extend_from_slice(&epoch.to_le_bytes());
        bytes.extend_from_slice(&issued_unix_ms.to_le_bytes());
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
        Self::extend(bytes, signer, &[], slice, nonce)
    }

    /// A narrower grant for another node, signed by the holder of this one. Costs one signature.
    ///
    /// # Errors
    /// [`GrantError::WrongNode`] unless `signer` is the holder, [`GrantError::Wider`], [`GrantError::TooLong`] (`links`,
    /// `credential` or `grant`), [`GrantError::Signature`].
    pub fn delegate(
        &self,
        signer: &dyn Signer,
        slice: Slice,
        nonce: [u8; 16],
    ) -> Result<Self, GrantError> {
        if signer.node_id() != self.holder() {
            return Err(GrantError::WrongNode);
        }
        if self.links.len() == MAX_LINKS {
            return Err(GrantError::TooLong {
                field: "links",
                limit: MAX_LINKS,
            });
        }
        slice.check_within(self.slice())?;
        let chain = &self.bytes[..self.bytes.len() - CHECKSUM_BYTES - 1];
        // The exporter knows itself; whoever else signs brings what proves him.
        let credential = if signer.node_id() == self.exporter {
            Vec::new()
        } else {
            signer.credential()
        };
        Self::extend(chain.to_vec(), signer, &credential, slice, nonce)
    }

    /// Appends a signed link to what `bytes` holds, and the end.
    fn extend(
        mut bytes: Vec<u8>,
        signer: &dyn Signer,
        credential: &[u8],
        slice: Slice,
        nonce: [u8; 16],
    ) -> Result<Self, GrantError> {
        bytes.push(LINK);
        bytes.extend_from_slice(&slice.holder);
        bytes.extend_from_slice(&slice.offset.to_le_bytes());
        bytes.extend_from_slice(&slice.length.to_le_bytes());
        bytes.push(slice.rights.bits());
        bytes.extend_from_slice(&slice.expires_unix_ms.to_le_bytes());
        bytes.extend_from_slice(&nonce);
        push_block(&mut bytes, "credential", MAX_CREDENTIAL_BYTES, credential)?;
        let signature = signer
            .sign(&signed(&bytes))
            .map_err(GrantError::Signature)?;
        push_block(&mut bytes, "signature", MAX_SIGNATURE_BYTES, &signature)?;
        bytes.push(END);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        // Decoding what was encoded keeps one definition of what a grant is, whoever made it.
        Self::decode(&bytes)
    }

    /// Reads the compact form. Allocates at most twice its length, after it was found short enough.
    ///
    /// # Errors
    /// [`GrantError::TooLong`], [`GrantError::Checksum`], [`GrantError::Malformed`], [`GrantError::Wider`].
    pub fn decode(bytes: &[u8]) -> Result<Self, GrantError> {
        if bytes.len() > MAX_GRANT_BYTES {
            return Err(GrantError::TooLong {
                field: "grant",
                limit: MAX_GRANT_BYTES,
            });
        }
        let malformed = |reason| GrantError::Malformed { reason };
        let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(malformed("it ends early"));
        };
        if !body.starts_with(&MAGIC) {
            return Err(malformed("it does not begin as a grant of a known version"));
        }
        if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return Err(GrantError::Checksum);
        }
        let mut reader = Reader::new(body);
        reader.bytes(MAGIC.len())?;
        let exporter = reader.array()?;
        let epoch = reader.u64()?;
        let issued_unix_ms = reader.u64()?;
        let name_length = usize::from(reader.u8()?);
        let name = std::str::from_utf8(reader.bytes(name_length)?)
            .map_err(|_| malformed("the name of the region is not UTF-8"))?;
        if name.is_empty() {
            return Err(malformed("the name of the region is empty"));
        }
        let mut links: Vec<Link> = Vec::new();
        loop {
            match reader.u8()? {
                LINK => links.push(Self::link(&mut reader, links.last())?),
                END => break,
                _ => return Err(malformed("a part of an unknown kind")),
            }
            if links.len() > MAX_LINKS {
                return Err(GrantError::TooLong {
                    field: "links",
                    limit: MAX_LINKS,
                });
            }
        }
        if !reader.is_at_end() {
            return Err(malformed("bytes after its end"));
        }
        if links.is_empty() {
            return Err(malformed("it gives nothing"));
        }
        Ok(Self {
            bytes: bytes.into(),
            exporter,
            epoch,
            issued_unix_ms,
            name: name.into(),
            links,
        })
    }

    fn link(reader: &mut Reader<'_>, parent: Option<&Link>) -> Result<Link, GrantError> {
        let slice = Slice {
            holder: reader.array()?,
            offset: reader.u64()?,
            length: reader.u64()?,
            rights: Rights::from_bits(reader.u8()?).ok_or(GrantError::Malformed {
                reason: "an unknown right",
            })?,
            expires_unix_ms: reader.u64()?,
        };
        // A slice lies within itself unless it is empty or beyond 2⁶⁴.
        slice.check_within(parent.map_or(&slice, |parent| &parent.slice))?;
        let id = GrantId(reader.array()?);
        let credential = reader.block("credential", MAX_CREDENTIAL_BYTES)?.len();
        let credential = reader.position() - credential..reader.position();
        let signature = reader.block("signature", MAX_SIGNATURE_BYTES)?.len();
        Ok(Link {
            slice,
            id,
            credential,
            signature: reader.position() - signature..reader.position(),
        })
    }

    /// The compact form.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The node whose region it is.
    pub fn exporter(&self) -> NodeId {
        self.exporter
    }

    /// The region's name at the exporter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// [`Region::epoch`](crate::region::Region::epoch) of the export it is for.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the exporter signed it, in milliseconds since 1970.
    pub fn issued_unix_ms(&self) -> u64 {
        self.issued_unix_ms
    }

    /// From the exporter's link to the last delegation; never empty.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// What the last link gives: what the grant is worth.
    pub fn slice(&self) -> &Slice {
        &self.last().slice
    }

    /// The only node that may present it.
    pub fn holder(&self) -> NodeId {
        self.last().slice.holder
    }

    /// Name of the last link.
    pub fn id(&self) -> GrantId {
        self.last().id
    }

    fn last(&self) -> &Link {
        &self.links[self.links.len() - 1]
    }

    /// For the link at `index`: who must have signed, the credential, the message and the signature.
    pub(super) fn signature(&self, index: usize) -> (NodeId, &[u8], Vec<u8>, &[u8]) {
        let link = &self.links[index];
        let issuer = match index {
            0 => self.exporter,
            later => self.links[later - 1].slice.holder,
        };
        (
            issuer,
            &self.bytes[link.credential.clone()],
            signed(&self.bytes[..link.credential.end]),
            &self.bytes[link.signature.clone()],
        )
    }
}

/// What is signed for a link whose fields end `prefix`.
fn signed(prefix: &[u8]) -> Vec<u8> {
    [DOMAIN, prefix].concat()
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("name", &self.name)
            .field("id", &self.id())
            .field("offset", &self.slice().offset)
            .field("length", &self.slice().length)
            .field("rights", &self.slice().rights)
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}
