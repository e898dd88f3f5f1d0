//! The envelope of everything that is signed: version and algorithm first, so that a successor can stand beside it.
//!
//! ```text
//! 0   version     u8   1
//! 1   algorithm   u8   1 = FALCON-1024 (fn-dsa 0.4)
//! 2   kind        u8   what the payload is, see ObjectKind
//! 3   signer      32   KeyId of the signing key
//! 35  length      u32  of the payload
//! 39  payload
//!     signature   1280 over all that precedes it
//! ```
//! A detached signature is `version, algorithm, signature` over the same bytes, payload included.

use super::codec::Reader;
use super::error::IdentityError;
use super::falcon::{FALCON_SIGNATURE_BYTES, FalconKey, FalconPublic};
use super::id::KeyId;

const VERSION: u8 = 1;
const FALCON_1024: u8 = 1;
const HEADER_BYTES: usize = 39;
/// What the envelope adds to a payload.
pub const ENVELOPE_BYTES: usize = HEADER_BYTES + FALCON_SIGNATURE_BYTES;
/// Bytes of a detached signature.
pub const DETACHED_BYTES: usize = 2 + FALCON_SIGNATURE_BYTES;

/// What a signed payload is. Part of what is signed, so a signature over one kind is none over another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKind(pub u8);

impl ObjectKind {
    /// A certificate: root, network or node.
    pub const CERTIFICATE: Self = Self(1);
    /// The roots that a network trusts.
    pub const TRUST_BUNDLE: Self = Self(2);
    /// Who may not connect any more.
    pub const REVOCATION_LIST: Self = Self(3);
    /// A node's proof on a connection.
    pub const NODE_PROOF: Self = Self(4);
    /// A joiner's proof that it holds the key it wants certified.
    pub const JOIN_REQUEST: Self = Self(5);
    /// First kind that the layers above may use: grants, locators, membership. Lower ones are refused by
    /// [`NodeIdentity::sign`](super::NodeIdentity::sign).
    pub const FIRST_APPLICATION: Self = Self(64);
}

fn header(kind: ObjectKind, signer: &KeyId, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0] = VERSION;
    header[1] = FALCON_1024;
    header[2] = kind.0;
    header[3..35].copy_from_slice(&signer.0);
    header[35..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header
}

/// Signs `payload` and puts both into an envelope. Cost: one FALCON signature, 0.8–1 ms.
pub(super) fn seal(kind: ObjectKind, key: &FalconKey, payload: &[u8]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + payload.len());
    bytes.extend_from_slice(&header(kind, &key.public().id(), payload));
    bytes.extend_from_slice(payload);
    let signature = key.sign(&bytes);
    bytes.extend_from_slice(&signature);
    bytes.into()
}

/// An envelope taken apart, not verified yet. Borrows from the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) signer: KeyId,
    pub(super) payload: &'a [u8],
    signed: &'a [u8],
    signature: &'a [u8],
    object: &'static str,
}

impl<'a> Envelope<'a> {
    /// Takes an envelope of `kind` apart. `limit` bounds the whole of it.
    pub(super) fn open(
        object: &'static str,
        kind: ObjectKind,
        bytes: &'a [u8],
        limit: usize,
    ) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(object, bytes, limit)?;
        let (version, algorithm) = (reader.u8()?, reader.u8()?);
        supported(object, version, algorithm)?;
        if reader.u8()? != kind.0 {
            return Err(reader.malformed("it is signed as something else"));
        }
        let signer = KeyId(*reader.array()?);
        let payload = reader.block(limit)?;
        let signature = reader.bytes(FALCON_SIGNATURE_BYTES)?;
        reader.finish()?;
        Ok(Self {
            signer,
            payload,
            signed: &bytes[..bytes.len() - FALCON_SIGNATURE_BYTES],
            signature,
            object,
        })
    }

    /// Whether `key` is the signer and the signature holds. Cost: about 50 µs.
    pub(super) fn verify(&self, key: &FalconPublic) -> Result<(), IdentityError> {
        if self.signer != key.id() {
            return Err(IdentityError::UnknownIssuer {
                object: self.object,
            });
        }
        if key.verify(self.signed, self.signature) {
            Ok(())
        } else {
            Err(IdentityError::BadSignature {
                object: self.object,
            })
        }
    }
}

/// A signature without what it signs: [`DETACHED_BYTES`] long.
pub(super) fn sign_detached(kind: ObjectKind, key: &FalconKey, payload: &[u8]) -> Vec<u8> {
    let mut signed = Vec::with_capacity(HEADER_BYTES + payload.len());
    signed.extend_from_slice(&header(kind, &key.public().id(), payload));
    signed.extend_from_slice(payload);
    let mut detached = vec![VERSION, FALCON_1024];
    detached.extend_from_slice(&key.sign(&signed));
    detached
}

/// Whether `detached` is a signature by `key` over `payload` as `kind`. Cost: about 50 µs and one copy of the payload.
pub(super) fn verify_detached(
    object: &'static str,
    kind: ObjectKind,
    key: &FalconPublic,
    payload: &[u8],
    detached: &[u8],
) -> Result<(), IdentityError> {
    let mut reader = Reader::new(object, detached, DETACHED_BYTES)?;
    let (version, algorithm) = (reader.u8()?, reader.u8()?);
    supported(object, version, algorithm)?;
    let signature = reader.bytes(FALCON_SIGNATURE_BYTES)?;
    let mut signed = Vec::with_capacity(HEADER_BYTES + payload.len());
    signed.extend_from_slice(&header(kind, &key.id(), payload));
    signed.extend_from_slice(payload);
    if key.verify(&signed, signature) {
        Ok(())
    } else {
        Err(IdentityError::BadSignature { object })
    }
}

fn supported(object: &'static str, version: u8, algorithm: u8) -> Result<(), IdentityError> {
    if (version, algorithm) == (VERSION, FALCON_1024) {
        Ok(())
    } else {
        Err(IdentityError::Unsupported {
            object,
            version,
            algorithm,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_kind_alone() {
        let key = FalconKey::generate();
        let bytes = seal(ObjectKind(64), &key, b"payload");
        let envelope = Envelope::open("object", ObjectKind(64), &bytes, 4_096).unwrap();
        assert_eq!(envelope.payload, b"payload");
        envelope.verify(key.public()).unwrap();
        assert_eq!(
            envelope
                .verify(FalconKey::generate().public())
                .unwrap_err()
                .code(),
            "unknown-issuer"
        );
        let other = Envelope::open("object", ObjectKind(65), &bytes, 4_096);
        assert_eq!(other.unwrap_err().code(), "malformed");
        let mut relabelled = bytes.clone();
        relabelled[2] = 65;
        let other = Envelope::open("object", ObjectKind(65), &relabelled, 4_096).unwrap();
        assert_eq!(
            other.verify(key.public()).unwrap_err().code(),
            "bad-signature"
        );
    }

    #[test]
    fn a_detached_signature_is_none_of_another_kind_or_payload() {
        let key = FalconKey::generate();
        let detached = sign_detached(ObjectKind(70), &key, b"grant");
        assert_eq!(detached.len(), DETACHED_BYTES);
        let check = |kind, payload, detached: &[u8]| {
            verify_detached("grant", ObjectKind(kind), key.public(), payload, detached)
        };
        check(70, b"grant", &detached).unwrap();
        assert_eq!(
            check(71, b"grant", &detached).unwrap_err().code(),
            "bad-signature"
        );
        assert_eq!(
            check(70, b"grand", &detached).unwrap_err().code(),
            "bad-signature"
        );
        assert_eq!(
            check(70, b"grant", &detached[..9]).unwrap_err().code(),
            "malformed"
        );
        let mut later = detached.clone();
        later[0] = 2;
        assert_eq!(
            check(70, b"grant", &later).unwrap_err().code(),
            "unsupported"
        );
    }
}
