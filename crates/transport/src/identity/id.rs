//! The names that are hashes: node, network, key, root.

use std::fmt;
use std::str::FromStr;

use fn_dsa::SHAKE256;

use super::error::IdentityError;
use crate::core::NodeId;

/// SHAKE256 of a domain and parts, 256 bits. Each part carries its length, so no two lists of parts hash alike.
pub(super) fn shake256(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut shake = SHAKE256::new();
    for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
        shake.inject(&(part.len() as u64).to_le_bytes());
        shake.inject(part);
    }
    shake.flip();
    let mut digest = [0; 32];
    shake.extract(&mut digest);
    digest
}

macro_rules! id {
    ($(#[$docs:meta])* $name:ident, $what:literal) => {
        $(#[$docs])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdentityError;

            /// Reads 64 hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                from_hex(text).map(Self).ok_or(IdentityError::InvalidField {
                    field: $what,
                    reason: "is 64 hexadecimal digits",
                    limit: None,
                })
            }
        }
    };
}

id!(
    /// Which network: the [`RootFingerprint`] of its first root. Later roots are endorsed by earlier ones and keep it.
    NetworkId,
    "network"
);
id!(
    /// SHAKE256 of a FALCON-1024 public key: how a signed object names its signer.
    KeyId,
    "key"
);
id!(
    /// What a joiner pins: SHAKE256 of a root's FALCON key id and its TLS public key. It can be computed from the root's
    /// TLS certificate alone, which carries the key id, so the pin holds from the first packet.
    RootFingerprint,
    "fingerprint"
);

impl NodeId {
    /// The id of the node that holds these two keys in this network: SHAKE256 of all three. Renewing the certificate
    /// keeps it; new keys are a new node.
    pub fn derive(network: &NetworkId, falcon_public: &[u8], tls_spki: &[u8]) -> Self {
        Self(shake256(
            "linkmesh node",
            &[&network.0, falcon_public, tls_spki],
        ))
    }
}

impl KeyId {
    /// The id of this FALCON-1024 public key.
    pub fn of(falcon_public: &[u8]) -> Self {
        Self(shake256("linkmesh key", &[falcon_public]))
    }
}

impl RootFingerprint {
    /// The fingerprint of the root that holds these two keys.
    pub fn derive(key: &KeyId, tls_spki: &[u8]) -> Self {
        Self(shake256("linkmesh root", &[&key.0, tls_spki]))
    }
}

impl FromStr for NodeId {
    type Err = IdentityError;

    /// Reads 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        from_hex(text).map(Self).ok_or(IdentityError::InvalidField {
            field: "node",
            reason: "is 64 hexadecimal digits",
            limit: None,
        })
    }
}

/// 64 hexadecimal digits, either case.
pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(shake256("d", &[b"ab", b"c"]), shake256("d", &[b"a", b"bc"]));
        assert_ne!(shake256("d", &[b"a"]), shake256("d", &[b"a", b""]));
        assert_ne!(shake256("da", &[b"b"]), shake256("d", &[b"ab"]));
    }

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let id = NodeId(shake256("d", &[b"x"]));
        assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
        assert_eq!(id.to_string().to_uppercase().parse::<NodeId>().unwrap(), id);
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<NodeId>().unwrap_err().field(), "node");
        }
    }
}
