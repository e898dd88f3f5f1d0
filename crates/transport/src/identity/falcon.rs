//! FALCON-1024 keys and signatures (FN-DSA, FIPS 206 as `fn-dsa` 0.4 anticipates it).
//!
//! The encoding may change when the standard is published: what is signed carries the algorithm and its version (see
//! `signed`), so that a later one can stand beside this.

use std::fmt;

use fn_dsa::{
    DomainContext, FN_DSA_LOGN_1024, HASH_ID_RAW, KeyPairGenerator, KeyPairGenerator1024,
    SigningKey, SigningKey1024, VerifyingKey, VerifyingKey1024, sign_key_size, signature_size,
    vrfy_key_size,
};
use zeroize::Zeroizing;

use super::error::IdentityError;
use super::id::KeyId;
use super::random::SystemRng;

/// Bytes of an encoded public key.
pub const FALCON_PUBLIC_BYTES: usize = vrfy_key_size(FN_DSA_LOGN_1024);
/// Bytes of an encoded secret key.
pub(super) const FALCON_SECRET_BYTES: usize = sign_key_size(FN_DSA_LOGN_1024);
/// Bytes of a signature.
pub const FALCON_SIGNATURE_BYTES: usize = signature_size(FN_DSA_LOGN_1024);

/// Separates these signatures from every other use of the same key.
const DOMAIN: DomainContext<'static> = DomainContext(b"linkmesh signed object v1");

/// A public key, known to decode.
#[derive(Clone, PartialEq, Eq)]
pub struct FalconPublic {
    encoded: Box<[u8; FALCON_PUBLIC_BYTES]>,
    id: KeyId,
}

impl FalconPublic {
    /// Reads an encoded key. Cost: one decoding, about 5 µs.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`]: no key has this encoding.
    pub fn decode(encoded: &[u8; FALCON_PUBLIC_BYTES]) -> Result<Self, IdentityError> {
        VerifyingKey1024::decode(encoded).ok_or(IdentityError::Malformed {
            object: "public key",
            reason: "it is no FALCON-1024 key",
        })?;
        Ok(Self {
            encoded: Box::new(*encoded),
            id: KeyId::of(encoded),
        })
    }

    /// The encoding.
    pub const fn as_bytes(&self) -> &[u8; FALCON_PUBLIC_BYTES] {
        &self.encoded
    }

    /// The hash that names it.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` is this key's over `message`. Cost: about 50 µs.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == FALCON_SIGNATURE_BYTES
            && VerifyingKey1024::decode(&self.encoded[..])
                .is_some_and(|key| key.verify(signature, &DOMAIN, &HASH_ID_RAW, message))
    }
}

impl fmt::Debug for FalconPublic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "FalconPublic({})", self.id)
    }
}

/// A key pair. The secret half is wiped when dropped and shown by nothing.
pub struct FalconKey {
    secret: Box<Zeroizing<[u8; FALCON_SECRET_BYTES]>>,
    public: FalconPublic,
}

impl FalconKey {
    /// Makes a key pair. Cost: about 15 ms, up to 50.
    pub fn generate() -> Self {
        let mut secret = Box::new(Zeroizing::new([0; FALCON_SECRET_BYTES]));
        let mut public = [0; FALCON_PUBLIC_BYTES];
        KeyPairGenerator1024::default().keygen(
            FN_DSA_LOGN_1024,
            &mut SystemRng,
            &mut secret[..],
            &mut public,
        );
        let id = KeyId::of(&public);
        Self {
            secret,
            public: FalconPublic {
                encoded: Box::new(public),
                id,
            },
        }
    }

    /// Reads a stored secret key; its public half follows from it.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`]: no key has this encoding.
    pub(super) fn from_secret(secret: &[u8]) -> Result<Self, IdentityError> {
        let malformed = IdentityError::Malformed {
            object: "secret key",
            reason: "it is no FALCON-1024 key",
        };
        let Ok(bytes) = <&[u8; FALCON_SECRET_BYTES]>::try_from(secret) else {
            return Err(malformed);
        };
        let key = SigningKey1024::decode(bytes).ok_or(malformed)?;
        let mut public = [0; FALCON_PUBLIC_BYTES];
        key.to_verifying_key(&mut public);
        Ok(Self {
            secret: Box::new(Zeroizing::new(*bytes)),
            public: FalconPublic::decode(&public)?,
        })
    }

    /// The encoding of the secret key.
    pub(super) fn secret(&self) -> &[u8; FALCON_SECRET_BYTES] {
        &self.secret
    }

    /// The public half.
    pub const fn public(&self) -> &FalconPublic {
        &self.public
    }

    /// Signs `message`. Cost: 0.8–1 ms, so never on an engine thread; about 130 KB of stack.
    ///
    /// The key is decoded for each signature. That costs a tenth of it, needs no lock between threads, and leaves no
    /// expanded secret in memory.
    ///
    /// # Panics
    /// Never for a key made here: one that cannot sign does not decode.
    pub fn sign(&self, message: &[u8]) -> [u8; FALCON_SIGNATURE_BYTES] {
        let mut signature = [0; FALCON_SIGNATURE_BYTES];
        SigningKey1024::decode(&self.secret[..])
            .and_then(|mut key| {
                key.sign(
                    &mut SystemRng,
                    &DOMAIN,
                    &HASH_ID_RAW,
                    message,
                    &mut signature,
                )
            })
            .expect("a key that decoded once decodes and signs again");
        signature
    }
}

impl fmt::Debug for FalconKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "FalconKey({})", self.public.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_belongs_to_its_message_and_key() {
        let key = FalconKey::generate();
        let again = FalconKey::from_secret(key.secret()).unwrap();
        assert_eq!(again.public(), key.public());
        let mut signature = again.sign(b"message");
        assert!(key.public().verify(b"message", &signature));
        assert!(!key.public().verify(b"massage", &signature));
        assert!(!key.public().verify(b"message", &signature[1..]));
        assert!(
            !FalconKey::generate()
                .public()
                .verify(b"message", &signature)
        );
        signature[700] ^= 1;
        assert!(!key.public().verify(b"message", &signature));
        assert!(!format!("{key:?}").contains(&format!("{:?}", &key.secret()[..4])));
    }
}
