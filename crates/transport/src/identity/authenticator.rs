//! The identity as the engine asks for it.

use std::sync::Arc;

use super::error::IdentityError;
use super::node_identity::{NodeIdentity, lock};
use super::proof;
use crate::core::{AuthError, Authenticator, Channel, NodeId, PeerIdentity};

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

    fn join_reply(&self, channel: &Channel, request: &[u8]) -> Result<Vec<u8>, AuthError> {
        let answer = self.answer(channel, request)?;
        // The token that was spent may have been the last.
        self.upkeep()?;
        Ok(answer)
    }
}
