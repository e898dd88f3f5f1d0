//! [`SignedLocator`]: a record with what lets any member of the network check it.
//!
//! ```text
//! record     u16 length, bytes     see Locator
//! signature  u16 length, bytes     detached, algorithm and version inside
//! credential the rest              the signer's certificate chain
//! ```

use std::fmt;

use super::locator::{Locator, LocatorError, MAX_LOCATOR_BYTES};
use crate::core::NodeId;
use crate::identity::{
    DETACHED_BYTES, IdentityError, MAX_CREDENTIAL_BYTES, NetworkId, NodeIdentity, ObjectKind,
};

/// What a locator is signed as.
pub const LOCATOR_KIND: ObjectKind = ObjectKind(65);
/// The longest encoding, bytes.
pub const MAX_SIGNED_LOCATOR_BYTES: usize =
    4 + MAX_LOCATOR_BYTES + DETACHED_BYTES + MAX_CREDENTIAL_BYTES;

/// Why a signed record is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocatorRefused {
    /// It is none.
    Locator(LocatorError),
    /// It is of another network.
    Network,
    /// It does not hold any more, or not yet.
    NotCurrent,
    /// It is about another node than the one that was asked for, or that sent it.
    WrongNode,
    /// The signature or the chain behind it does not hold.
    Signature(IdentityError),
}

impl fmt::Display for LocatorRefused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locator(error) => error.fmt(out),
            Self::Network => out.write_str("the locator is of another network"),
            Self::NotCurrent => out.write_str("the locator does not hold at this time"),
            Self::WrongNode => out.write_str("the locator is of another node"),
            Self::Signature(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for LocatorRefused {}

impl From<LocatorError> for LocatorRefused {
    fn from(error: LocatorError) -> Self {
        Self::Locator(error)
    }
}

/// Signs this node's own records. Called off the engine's threads: about 1 ms.
pub trait LocatorSigner: Send + Sync {
    /// What lets a stranger of the network check the signature, and the signature over `record`.
    ///
    /// # Errors
    /// When there is no usable key or certificate.
    fn sign_locator(&self, record: &[u8]) -> Result<(Vec<u8>, Vec<u8>), IdentityError>;
}

/// Checks the records of others. Called off the engine's threads: about 150 µs.
pub trait LocatorVerifier: Send + Sync {
    /// Whether `signature` is `node`'s over `record`, by the chain in `credential`, as of now.
    ///
    /// # Errors
    /// What does not hold: signature, chain, validity, network, revocation, or that it is another node's.
    fn verify_locator(
        &self,
        node: &NodeId,
        credential: &[u8],
        record: &[u8],
        signature: &[u8],
    ) -> Result<(), IdentityError>;
}

impl LocatorSigner for NodeIdentity {
    fn sign_locator(&self, record: &[u8]) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
        Ok((self.credential(), self.sign(LOCATOR_KIND, record)?))
    }
}

impl LocatorVerifier for NodeIdentity {
    fn verify_locator(
        &self,
        node: &NodeId,
        credential: &[u8],
        record: &[u8],
        signature: &[u8],
    ) -> Result<(), IdentityError> {
        // A record of another node without a chain would be checked against whoever was connected last: no stranger could.
        if credential.is_empty() {
            return Err(IdentityError::UnknownIssuer { object: "locator" });
        }
        self.verify(LOCATOR_KIND, node, credential, record, signature)
    }
}

/// A record, its signature and its signer's chain: about 8 KB. Decoded is not checked: see [`verify`](Self::verify).
#[derive(Clone, PartialEq, Eq)]
pub struct SignedLocator {
    locator: Locator,
    /// The encoding of all of it.
    bytes: Box<[u8]>,
    /// Where the record and the signature end.
    record_end: usize,
    signature_end: usize,
}

impl fmt::Debug for SignedLocator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("SignedLocator")
            .field(&self.locator)
            .finish()
    }
}

fn part(bytes: &[u8], from: usize, limit: usize) -> Result<(usize, usize), LocatorError> {
    let length = bytes.get(from..from + 2).ok_or(LocatorError::Malformed)?;
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let end = from + 2 + length;
    if length > limit || end > bytes.len() {
        return Err(LocatorError::Malformed);
    }
    Ok((from + 2, end))
}

impl SignedLocator {
    /// Signs a record of this node. Cost: about 1 ms.
    ///
    /// # Errors
    /// When a field is out of its range, or the signer has no usable key.
    pub fn sign(locator: &Locator, signer: &dyn LocatorSigner) -> Result<Self, LocatorRefused> {
        let record = locator.encode()?;
        let (credential, signature) = signer
            .sign_locator(&record)
            .map_err(LocatorRefused::Signature)?;
        let mut bytes = Vec::with_capacity(4 + record.len() + signature.len() + credential.len());
        for part in [&record, &signature] {
            bytes.extend_from_slice(&(part.len() as u16).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&credential);
        Ok(Self::decode(&bytes)?)
    }

    /// Takes the encoding apart.
    ///
    /// # Errors
    /// See [`LocatorError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LocatorError> {
        if bytes.len() > MAX_SIGNED_LOCATOR_BYTES {
            return Err(LocatorError::Field {
                field: "bytes",
                limit: MAX_SIGNED_LOCATOR_BYTES as u64,
            });
        }
        let (record, record_end) = part(bytes, 0, MAX_LOCATOR_BYTES)?;
        let (_, signature_end) = part(bytes, record_end, DETACHED_BYTES)?;
        Ok(Self {
            locator: Locator::decode(&bytes[record..record_end])?,
            bytes: bytes.into(),
            record_end,
            signature_end,
        })
    }

    /// What it says. Believe it after [`verify`](Self::verify) alone, or when the node itself sent it.
    pub fn locator(&self) -> &Locator {
        &self.locator
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is a current record of this network, signed by the node it is about. Cost: about 150 µs.
    ///
    /// # Errors
    /// See [`LocatorRefused`].
    pub fn verify(
        &self,
        network: &NetworkId,
        now: u64,
        verifier: &dyn LocatorVerifier,
    ) -> Result<(), LocatorRefused> {
        if self.locator.network != *network {
            return Err(LocatorRefused::Network);
        }
        if !self.locator.is_current(now) {
            return Err(LocatorRefused::NotCurrent);
        }
        verifier
            .verify_locator(
                &self.locator.node,
                &self.bytes[self.signature_end..],
                &self.bytes[2..self.record_end],
                &self.bytes[self.record_end + 2..self.signature_end],
            )
            .map_err(LocatorRefused::Signature)
    }
}
