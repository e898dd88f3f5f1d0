//! What a node signs for the layers above, and how others check it.

use super::chain::NodeChain;
use super::error::IdentityError;
use super::node_identity::{NodeIdentity, lock};
use super::signed::{ObjectKind, sign_detached, verify_detached};
use crate::core::NodeId;

impl NodeIdentity {
    /// What lets a stranger of the same network check this node's signatures: at most
    /// [`MAX_CREDENTIAL_BYTES`](super::MAX_CREDENTIAL_BYTES), about 6.5 KB.
    pub fn credential(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.current.get().chain.chain.put(&mut bytes);
        bytes
    }

    /// Signs what a layer above made. The signature carries algorithm and version; it holds for this kind alone.
    /// Cost: 0.8–1 ms.
    ///
    /// # Errors
    /// A kind below [`ObjectKind::FIRST_APPLICATION`]: those are the identity's own.
    pub fn sign(&self, kind: ObjectKind, bytes: &[u8]) -> Result<Vec<u8>, IdentityError> {
        check_kind(kind)?;
        Ok(sign_detached(kind, &self.keys.falcon, bytes))
    }

    /// Checks what `node` signed. `credential` is the signer's, or empty for this node itself and for peers that have
    /// been connected. Cost: 50 µs, with a credential 150 µs.
    ///
    /// # Errors
    /// The signature, the chain behind it, its validity, network or revocation; [`IdentityError::UnknownIssuer`] when
    /// there is no credential and the node was never seen.
    pub fn verify(
        &self,
        kind: ObjectKind,
        node: &NodeId,
        credential: &[u8],
        bytes: &[u8],
        signature: &[u8],
    ) -> Result<(), IdentityError> {
        const OBJECT: &str = "signed object";
        check_kind(kind)?;
        if *node == self.node_id() {
            return verify_detached(OBJECT, kind, self.keys.falcon.public(), bytes, signature);
        }
        let live = self.current.get();
        let now = self.now();
        if credential.is_empty() {
            let known = lock(&self.known).get(node).cloned();
            let known = known.ok_or(IdentityError::UnknownIssuer { object: OBJECT })?;
            if known.is_revoked(node, &live.trust) {
                return Err(IdentityError::Revoked {
                    id: node.to_string(),
                });
            }
            known.validity.check("node certificate", now)?;
            return verify_detached(OBJECT, kind, &known.falcon, bytes, signature);
        }
        let chain = NodeChain::decode(credential)?;
        let found = chain.node.node_id();
        if found != *node {
            return Err(IdentityError::UnexpectedNode {
                expected: node.to_string(),
                found: found.to_string(),
            });
        }
        live.trust.check_node(&chain.node, &chain.network, now)?;
        verify_detached(OBJECT, kind, chain.node.falcon(), bytes, signature)
    }
}

fn check_kind(kind: ObjectKind) -> Result<(), IdentityError> {
    if kind.0 >= ObjectKind::FIRST_APPLICATION.0 {
        return Ok(());
    }
    Err(IdentityError::InvalidField {
        field: "kind",
        reason: "is 64 or more: the lower ones are the identity's own",
        limit: Some(u64::from(ObjectKind::FIRST_APPLICATION.0)),
    })
}
