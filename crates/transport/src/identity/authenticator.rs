//! The identity as the engine asks for it.

use std::sync::Arc;

use super::error::IdentityError;
use super::node_identity::{NodeIdentity, lock};
use super::proof;
use crate::core::{AuthError, Authenticator, Channel, NodeId, PeerIdentity};

/// The first byte of a notice: what follows.
const BUNDLE: u8 = 1;
const REVOCATIONS: u8 = 2;
/// The sequence of the bundle that a network begins with.
const FIRST_BUNDLE: u64 = 1;

impl From<IdentityError> for AuthError {
    fn from(error: IdentityError) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl Authenticator for NodeIdentity {
    fn tls_server(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.server)
    }

    fn tls_client(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.client)
    }

    fn prove(&self, channel: &Channel) -> Result<Vec<u8>, AuthError> {
        let live = self.current.get();
        Ok(proof::prove(channel, &self.keys.falcon, &live.chain.chain)?)
    }

    fn verify(&self, channel: &Channel, proof: &[u8]) -> Result<PeerIdentity, AuthError> {
        let live = self.current.get();
        let peer = proof::verify(channel, proof, &self.node_id(), &live.trust, self.now())?;
        let certificate = &peer.chain.node;
        lock(&self.known).insert(&peer.chain);
        Ok(PeerIdentity {
            node_id: certificate.node_id(),
            name: certificate.name().to_owned(),
            network: certificate.network().to_string(),
            not_after: certificate.validity().not_after,
            boot_epoch: peer.boot_epoch,
        })
    }

    fn is_revoked(&self, node_id: &NodeId) -> bool {
        Self::is_revoked(self, node_id)
    }

    fn revocation_epoch(&self) -> u64 {
        Self::revocation_epoch(self)
    }

    fn notices(&self) -> Vec<Vec<u8>> {
        let live = self.current.get();
        let (bundle, list) = (&live.trust.bundle, &live.trust.revocations);
        let marked = |mark, bytes: &[u8]| [&[mark], bytes].concat();
        let mut notices = Vec::new();
        // Every member begins with the first bundle and an empty list.
        if bundle.sequence() > FIRST_BUNDLE {
            notices.push(marked(BUNDLE, bundle.as_bytes()));
        }
        if list.sequence() > 0 {
            notices.push(marked(REVOCATIONS, list.as_bytes()));
        }
        notices
    }

    fn notice_epoch(&self) -> u64 {
        let live = self.current.get();
        // Both only grow.
        live.trust.bundle.sequence() + live.trust.revocations.sequence()
    }

    fn notice(&self, bytes: &[u8]) -> Result<bool, AuthError> {
        match bytes.split_first() {
            Some((&BUNDLE, bytes)) => Ok(self.install_bundle(bytes)?),
            Some((&REVOCATIONS, bytes)) => Ok(self.install_revocations(bytes)?),
            // Of a later version, perhaps.
            _ => Ok(false),
        }
    }

    fn join_reply(&self, channel: &Channel, request: &[u8]) -> Result<Vec<u8>, AuthError> {
        let answer = self.answer(channel, request)?;
        // The token that was spent may have been the last.
        self.upkeep()?;
        Ok(answer)
    }
}
