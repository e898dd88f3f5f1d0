//! What is checked of a grant that a peer presents, before anything of this node is looked at.

use subtle::ConstantTimeEq;

use super::{Grant, GrantError, NodeId, Verifier};

/// A grant in the hand of the peer that it was given to, not expired, for this node. Its signatures are not checked yet.
#[derive(Clone, Debug)]
pub struct Presented(Grant);

/// A grant that this node, and every node in its chain, did sign.
#[derive(Clone, Debug)]
pub struct Verified(Grant);

impl Presented {
    /// Reads `bytes` and checks, cheapest first: size, checksum, structure and narrowing; that `me` is the exporter; that
    /// `peer`, the authenticated identity of the connection, is the holder; expiry. None of the answers says
    /// anything about what this node exports.
    ///
    /// # Errors
    /// As [`Grant::decode`]; [`GrantError::WrongExporter`], [`GrantError::WrongNode`], [`GrantError::Expired`].
    pub fn check(
        bytes: &[u8],
        me: &NodeId,
        peer: &NodeId,
        now_unix_ms: u64,
    ) -> Result<Self, GrantError> {
        let grant = Grant::decode(bytes)?;
        if !bool::from(grant.exporter().ct_eq(me)) {
            return Err(GrantError::WrongExporter);
        }
        if !bool::from(grant.holder().ct_eq(peer)) {
            return Err(GrantError::WrongNode);
        }
        // The last link ends no later than those before it.
        if grant.slice().expires_unix_ms <= now_unix_ms {
            return Err(GrantError::Expired);
        }
        Ok(Self(grant))
    }

    /// Checks the signature of each link, the exporter's first. About 50 µs a link: may run on any thread.
    ///
    /// # Errors
    /// [`GrantError::Signature`].
    pub fn verify(self, verifier: &dyn Verifier) -> Result<Verified, GrantError> {
        for index in 0..self.0.links().len() {
            let (issuer, credential, message, signature) = self.0.signature(index);
            // The exporter is this node: it needs no credential, and one that a forger brings must not be believed.
            let credential = if issuer == self.0.exporter() {
                &[]
            } else {
                credential
            };
            verifier
                .verify(&issuer, credential, &message, signature)
                .map_err(GrantError::Signature)?;
        }
        Ok(Verified(self.0))
    }
}

impl Verified {
    /// The grant.
    pub fn grant(&self) -> &Grant {
        &self.0
    }
}
