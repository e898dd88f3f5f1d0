//! A member of the network that does one thing differently.

use std::sync::{Arc, Mutex};

use linkmesh_transport::core::{AuthError, Authenticator, Channel, NodeId, PeerIdentity};
use linkmesh_transport::identity::NodeIdentity;

type Prove = dyn Fn(&NodeIdentity, &Channel) -> Vec<u8> + Send + Sync;

pub struct Attacker {
    identity: Arc<NodeIdentity>,
    prove: Box<Prove>,
    client: Arc<rustls::ClientConfig>,
}

impl Attacker {
    /// As the member is, with other proofs.
    pub fn proving(
        identity: &Arc<NodeIdentity>,
        prove: impl Fn(&NodeIdentity, &Channel) -> Vec<u8> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            client: identity.tls_client(),
            identity: identity.clone(),
            prove: Box::new(prove),
        })
    }

    /// As the member is, dialling with another TLS configuration.
    pub fn dialling(identity: &Arc<NodeIdentity>, client: rustls::ClientConfig) -> Arc<Self> {
        Arc::new(Self {
            client: Arc::new(client),
            identity: identity.clone(),
            prove: Box::new(|identity, channel| identity.prove(channel).unwrap()),
        })
    }

    /// Sends the proof of its first connection on every later one.
    pub fn replaying(identity: &Arc<NodeIdentity>) -> Arc<Self> {
        let first = Mutex::new(None);
        Self::proving(identity, move |identity, channel| {
            let mut first = first.lock().unwrap();
            first
                .get_or_insert_with(|| identity.prove(channel).unwrap())
                .clone()
        })
    }
}

impl Authenticator for Attacker {
    fn tls_server(&self) -> Arc<rustls::ServerConfig> {
        self.identity.tls_server()
    }

    fn tls_client(&self) -> Arc<rustls::ClientConfig> {
        self.client.clone()
    }

    fn prove(&self, channel: &Channel) -> Result<Vec<u8>, AuthError> {
        Ok((self.prove)(&self.identity, channel))
    }

    fn verify(&self, channel: &Channel, proof: &[u8]) -> Result<PeerIdentity, AuthError> {
        Authenticator::verify(&*self.identity, channel, proof)
    }

    fn is_revoked(&self, _: &NodeId) -> bool {
        false
    }

    fn revocation_epoch(&self) -> u64 {
        0
    }
}
