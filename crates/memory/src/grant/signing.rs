//! What a grant needs of an identity: one side signs, the other checks.

use std::fmt;

use super::NodeId;

/// A node that can sign.
pub trait Signer {
    /// The node that signs.
    fn node_id(&self) -> NodeId;

    /// What a node of the same network that never met this one needs to check its signatures: its certificates. At most
    /// [`MAX_CREDENTIAL_BYTES`](super::MAX_CREDENTIAL_BYTES). Not asked for when the checker is the signer itself.
    fn credential(&self) -> Vec<u8>;

    /// Signs. The signature says its algorithm and version itself, and is at most
    /// [`MAX_SIGNATURE_BYTES`](super::MAX_SIGNATURE_BYTES). FALCON-1024 takes about 1 ms: not for the engine's thread.
    ///
    /// # Errors
    /// [`Refused`] with the reason, when there is no key to sign with.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused>;
}

/// Checks signatures of nodes.
pub trait Verifier {
    /// Whether `signature` over `message` is of the node `issuer`. `credential` is empty when the issuer is the verifying
    /// node itself; else it must prove that `issuer` is a member of the network, not revoked and not expired.
    ///
    /// # Errors
    /// [`Refused`] with the reason.
    fn verify(
        &self,
        issuer: &NodeId,
        credential: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refused>;
}

/// Why something was not signed or a signature not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In words, for a log; without key material.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refused {}
