//! Our compact certificate: what a key may be, in which network, from when until when, signed by FALCON-1024.
//!
//! ```text
//! role        u8   1 root, 2 network, 3 node
//! network     32
//! serial      16   random
//! not_before  u64  Unix seconds
//! not_after   u64
//! name        u8 length, then 1–63 bytes
//! tls key     u32 length, then SPKI (DER)
//! falcon key  1793
//! ```
//! The signer of the envelope is the issuer; a root is its own. About 3.3 KB, so it stays out of the TLS handshake and
//! its amplification budget, and travels on the control stream. The TLS key inside ties it to the TLS certificate.

use super::codec::{Reader, put_block, put_text};
use super::error::IdentityError;
use super::falcon::{FALCON_PUBLIC_BYTES, FalconKey, FalconPublic};
use super::id::{KeyId, NetworkId, RootFingerprint};
use super::random;
use super::signed::{ENVELOPE_BYTES, Envelope, ObjectKind, seal};
use crate::core::NodeId;

/// Longest name, bytes.
pub const MAX_NAME_BYTES: usize = 63;
/// Longest TLS public key (SPKI), bytes: P-256 takes 91.
const MAX_SPKI_BYTES: usize = 256;
/// Largest encoded certificate, bytes.
pub const MAX_CERTIFICATE_BYTES: usize = ENVELOPE_BYTES
    + 1
    + 32
    + 16
    + 16
    + 1
    + MAX_NAME_BYTES
    + 4
    + MAX_SPKI_BYTES
    + FALCON_PUBLIC_BYTES;

/// What a certified key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Certify networks.
    Root = 1,
    /// Certify nodes.
    Network = 2,
    /// Connect.
    Node = 3,
}

impl Role {
    const fn object(self) -> &'static str {
        match self {
            Self::Root => "root certificate",
            Self::Network => "network certificate",
            Self::Node => "node certificate",
        }
    }
}

/// From when until when, both included. Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: u64,
    /// Last second.
    pub not_after: u64,
}

impl Validity {
    /// How far a new certificate reaches back, so that a peer whose clock is a little late accepts it.
    pub const BACKDATE_SECONDS: u64 = 300;

    /// From now (a little before it, for clocks that are late) for `seconds`.
    pub const fn starting(now: u64, seconds: u64) -> Self {
        Self {
            not_before: now.saturating_sub(Self::BACKDATE_SECONDS),
            not_after: now.saturating_add(seconds),
        }
    }

    /// Refuses a time outside.
    pub(super) const fn check(&self, object: &'static str, now: u64) -> Result<(), IdentityError> {
        if now < self.not_before {
            return Err(IdentityError::NotYetValid {
                object,
                not_before: self.not_before,
                now,
            });
        }
        if now > self.not_after {
            return Err(IdentityError::Expired {
                object,
                not_after: self.not_after,
                now,
            });
        }
        Ok(())
    }

    /// When half of it has passed, and a successor is due.
    pub const fn half_life(&self) -> u64 {
        let start = self.not_before.saturating_add(Self::BACKDATE_SECONDS);
        start + self.not_after.saturating_sub(start) / 2
    }
}

/// What the issuer decides about a certificate.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) role: Role,
    pub(super) network: NetworkId,
    pub(super) name: &'a str,
    pub(super) validity: Validity,
    pub(super) tls_spki: &'a [u8],
    pub(super) falcon: &'a FalconPublic,
}

/// A decoded certificate. Decoding checks its form; `chain` checks whether it is to be believed.
#[derive(Clone, Debug)]
pub struct Certificate {
    role: Role,
    network: NetworkId,
    serial: [u8; 16],
    validity: Validity,
    issuer: KeyId,
    name: Box<str>,
    tls_spki: Box<[u8]>,
    falcon: FalconPublic,
    encoded: Box<[u8]>,
}

impl Certificate {
    /// Certifies a subject. Cost: one signature.
    pub(super) fn issue(subject: &Subject<'_>, issuer: &FalconKey) -> Result<Self, IdentityError> {
        check_name("name", subject.name)?;
        let mut payload = Vec::with_capacity(MAX_CERTIFICATE_BYTES);
        payload.push(subject.role as u8);
        payload.extend_from_slice(&subject.network.0);
        payload.extend_from_slice(&random::bytes::<16>());
        payload.extend_from_slice(&subject.validity.not_before.to_le_bytes());
        payload.extend_from_slice(&subject.validity.not_after.to_le_bytes());
        put_text(&mut payload, subject.name);
        put_block(&mut payload, subject.tls_spki);
        payload.extend_from_slice(subject.falcon.as_bytes());
        Self::decode(&seal(ObjectKind::CERTIFICATE, issuer, &payload))
    }

    /// Reads a certificate. Allocates at most what it keeps, [`MAX_CERTIFICATE_BYTES`].
    ///
    /// # Errors
    /// The bytes are no certificate, too many, or of an unknown version or algorithm.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let envelope = Envelope::open(
            "certificate",
            ObjectKind::CERTIFICATE,
            bytes,
            MAX_CERTIFICATE_BYTES,
        )?;
        let mut reader = Reader::new("certificate", envelope.payload, MAX_CERTIFICATE_BYTES)?;
        let role = match reader.u8()? {
            1 => Role::Root,
            2 => Role::Network,
            3 => Role::Node,
            _ => return Err(reader.malformed("its role is unknown")),
        };
        let network = NetworkId(*reader.array()?);
        let serial = *reader.array()?;
        let validity = Validity {
            not_before: reader.u64()?,
            not_after: reader.u64()?,
        };
        let name = reader.text(MAX_NAME_BYTES)?;
        check_name("certificate", name)?;
        let tls_spki = reader.block(MAX_SPKI_BYTES)?;
        let falcon = reader.array::<FALCON_PUBLIC_BYTES>()?;
        reader.finish()?;
        Ok(Self {
            role,
            network,
            serial,
            validity,
            issuer: envelope.signer,
            name: name.into(),
            tls_spki: tls_spki.into(),
            falcon: FalconPublic::decode(falcon)?,
            encoded: bytes.into(),
        })
    }

    /// Refuses a certificate that `issuer` did not sign. Cost: about 50 µs.
    pub(super) fn check_signature(&self, issuer: &FalconPublic) -> Result<(), IdentityError> {
        Envelope::open(
            self.role.object(),
            ObjectKind::CERTIFICATE,
            &self.encoded,
            MAX_CERTIFICATE_BYTES,
        )?
        .verify(issuer)
    }

    /// Refuses another role, another network or a time outside the validity.
    pub(super) fn check_use(
        &self,
        role: Role,
        network: &NetworkId,
        now: u64,
    ) -> Result<(), IdentityError> {
        let object = role.object();
        if self.role != role {
            return Err(IdentityError::WrongRole { object });
        }
        if self.network != *network {
            return Err(IdentityError::WrongNetwork { object });
        }
        self.validity.check(object, now)
    }

    /// What the certified key may do.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The network it holds in.
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// Its own number, for revoking this one certificate.
    pub const fn serial(&self) -> &[u8; 16] {
        &self.serial
    }

    /// From when until when.
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Who signed it.
    pub const fn issuer(&self) -> KeyId {
        self.issuer
    }

    /// The name that the issuer gave: for people, never for decisions.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The certified TLS key, SPKI (DER).
    pub fn tls_spki(&self) -> &[u8] {
        &self.tls_spki
    }

    /// The certified FALCON key.
    pub const fn falcon(&self) -> &FalconPublic {
        &self.falcon
    }

    /// The id of the node that holds these keys.
    pub fn node_id(&self) -> NodeId {
        NodeId::derive(&self.network, self.falcon.as_bytes(), &self.tls_spki)
    }

    /// What a joiner pins, when this is a root.
    pub fn fingerprint(&self) -> RootFingerprint {
        RootFingerprint::derive(&self.falcon.id(), &self.tls_spki)
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }
}

/// Names are for people and for file names: 1–63 of `a–z A–Z 0–9 . _ -`, starting with a letter or digit.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), IdentityError> {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    if bytes.len() <= MAX_NAME_BYTES
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(plain)
    {
        return Ok(());
    }
    Err(IdentityError::InvalidField {
        field,
        reason: "is a letter or digit and then letters, digits, `.`, `_` or `-`",
        limit: Some(MAX_NAME_BYTES as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_reads_back_whole() {
        let key = FalconKey::generate();
        let subject = Subject {
            role: Role::Node,
            network: NetworkId([7; 32]),
            name: "node-1.eu",
            validity: Validity::starting(1_000_000, 3_600),
            tls_spki: &[9; 91],
            falcon: key.public(),
        };
        let certificate = Certificate::issue(&subject, &key).unwrap();
        let read = Certificate::decode(certificate.as_bytes()).unwrap();
        assert_eq!(read.name(), "node-1.eu");
        assert_eq!(read.node_id(), certificate.node_id());
        assert_eq!(read.validity().not_after, 1_003_600);
        assert_eq!(read.validity().half_life(), 1_001_800);
        read.check_signature(key.public()).unwrap();
        let wrong = Subject {
            name: "a/b",
            ..subject
        };
        assert_eq!(
            Certificate::issue(&wrong, &key).unwrap_err().code(),
            "invalid-field"
        );
    }

    #[test]
    fn names_are_plain() {
        for good in ["a", "A9", "node-1.eu_west", &"a".repeat(63)] {
            check_name("name", good).unwrap();
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "a b",
            "a/b",
            "é",
            "a\0",
            &"a".repeat(64),
        ] {
            assert!(check_name("name", bad).is_err(), "{bad:?}");
        }
    }
}
