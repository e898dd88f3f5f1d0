//! The roots that a network trusts: one, or the old and the new while they are being rotated.
//!
//! ```text
//! network  32
//! sequence u64
//! count    u8    1–4
//! roots    u32 length and root certificate, u32 length and TLS root certificate (DER), each
//! ```

use rustls_pki_types::CertificateDer;

use super::certificate::{Certificate, MAX_CERTIFICATE_BYTES, Role};
use super::codec::{Reader, put_block};
use super::error::IdentityError;
use super::falcon::FalconKey;
use super::id::{KeyId, NetworkId, RootFingerprint};
use super::signed::{ENVELOPE_BYTES, Envelope, ObjectKind, seal};
use super::tls_certificate::{MAX_TLS_CERTIFICATE_BYTES, spki_of};

/// Most roots at a time.
pub const MAX_ROOTS: usize = 4;
/// Largest encoded bundle, bytes.
pub const MAX_BUNDLE_BYTES: usize =
    ENVELOPE_BYTES + 41 + MAX_ROOTS * (8 + MAX_CERTIFICATE_BYTES + MAX_TLS_CERTIFICATE_BYTES);
const OBJECT: &str = "trust bundle";

/// A root: its own certificate and the TLS certificate of the same holder.
#[derive(Clone, Debug)]
pub struct Root {
    /// Signed by its own FALCON key.
    pub certificate: Certificate,
    /// Signed by its own TLS key.
    pub tls: CertificateDer<'static>,
}

/// The roots of a network, signed by one of them.
#[derive(Clone, Debug)]
pub struct TrustBundle {
    network: NetworkId,
    sequence: u64,
    roots: Vec<Root>,
    signer: KeyId,
    encoded: Box<[u8]>,
}

impl TrustBundle {
    /// Signs a bundle. `key` is one of the roots'.
    pub(super) fn issue(
        network: NetworkId,
        sequence: u64,
        roots: &[Root],
        key: &FalconKey,
    ) -> Result<Self, IdentityError> {
        if roots.len() > MAX_ROOTS {
            return Err(IdentityError::TooLarge {
                object: OBJECT,
                limit: MAX_ROOTS,
            });
        }
        let mut payload = Vec::new();
        payload.extend_from_slice(&network.0);
        payload.extend_from_slice(&sequence.to_le_bytes());
        payload.push(roots.len() as u8);
        for root in roots {
            put_block(&mut payload, root.certificate.as_bytes());
            put_block(&mut payload, &root.tls);
        }
        Self::decode(&seal(ObjectKind::TRUST_BUNDLE, key, &payload))
    }

    /// Reads a bundle and checks all that can be checked from within: each root signed itself, its TLS certificate has
    /// its TLS key, and one of the roots signed the whole. Whether it is the right network's is the caller's to know:
    /// by the pin of a token, or by the bundle that this one follows.
    ///
    /// # Errors
    /// Any of these does not hold, or the bytes are no bundle. Cost: a verification for each root and one more.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let envelope = Envelope::open(OBJECT, ObjectKind::TRUST_BUNDLE, bytes, MAX_BUNDLE_BYTES)?;
        let mut reader = Reader::new(OBJECT, envelope.payload, MAX_BUNDLE_BYTES)?;
        let network = NetworkId(*reader.array()?);
        let sequence = reader.u64()?;
        let count = usize::from(reader.u8()?);
        if count > MAX_ROOTS {
            return Err(IdentityError::TooLarge {
                object: OBJECT,
                limit: MAX_ROOTS,
            });
        }
        let mut roots = Vec::with_capacity(count);
        for _ in 0..count {
            let certificate = Certificate::decode(reader.block(MAX_CERTIFICATE_BYTES)?)?;
            let tls = reader.block(MAX_TLS_CERTIFICATE_BYTES)?;
            if certificate.role() != Role::Root || certificate.network() != network {
                return Err(reader.malformed("an entry is no root of this network"));
            }
            if spki_of(tls)? != certificate.tls_spki() {
                return Err(IdentityError::BindingMismatch {
                    reason: "a root's TLS certificate has another key",
                });
            }
            certificate.check_signature(certificate.falcon())?;
            roots.push(Root {
                certificate,
                tls: CertificateDer::from(tls.to_vec()),
            });
        }
        reader.finish()?;
        let bundle = Self {
            network,
            sequence,
            roots,
            signer: envelope.signer,
            encoded: bytes.into(),
        };
        let signer = bundle
            .root(&envelope.signer)
            .ok_or(IdentityError::UnknownIssuer { object: OBJECT })?;
        envelope.verify(signer.certificate.falcon())?;
        Ok(bundle)
    }

    /// Whether this bundle may take the place of `current`: the same network, a later sequence, signed by a root that
    /// `current` trusts.
    pub(super) fn check_successor_of(&self, current: &Self) -> Result<(), IdentityError> {
        if self.network != current.network {
            return Err(IdentityError::WrongNetwork { object: OBJECT });
        }
        if self.sequence <= current.sequence {
            return Err(IdentityError::RollBack {
                object: OBJECT,
                have: current.sequence,
                offered: self.sequence,
            });
        }
        // The key, not only its id: `decode` verified the signature against the root inside, which has this id.
        if current.root(&self.signer).is_none() {
            return Err(IdentityError::UnknownIssuer { object: OBJECT });
        }
        Ok(())
    }

    /// The root with this key.
    pub fn root(&self, key: &KeyId) -> Option<&Root> {
        self.roots
            .iter()
            .find(|root| root.certificate.falcon().id() == *key)
    }

    /// The root with this fingerprint.
    pub(super) fn pinned(&self, fingerprint: &RootFingerprint) -> Option<&Root> {
        self.roots
            .iter()
            .find(|root| root.certificate.fingerprint() == *fingerprint)
    }

    /// The network they root.
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// Grows with every bundle.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// All of them, newest first.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }
}
