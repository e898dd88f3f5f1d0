//! A network of test nodes: TLS as the product wants it (mutual, 1.3, X25519MLKEM768 alone), and a proof that is a MAC over
//! the channel under a key that only members have.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use linkmesh_transport::core::{
    ALPN, AuthError, Authenticator, Channel, NodeId, PeerIdentity, SERVER_NAME, Side,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ED25519};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs as provider;
use rustls::crypto::{CryptoProvider, aws_lc_rs::kx_group};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The id of a member: its name.
pub fn id(name: &str) -> NodeId {
    let mut id = [0; 32];
    id[..name.len()].copy_from_slice(name.as_bytes());
    NodeId(id)
}

/// A certificate authority and the key under which members prove themselves.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    key: [u8; 32],
    revoked: Arc<Mutex<HashSet<NodeId>>>,
    epoch: Arc<AtomicU64>,
}

/// One member.
pub struct TestIdentity {
    pub node_id: NodeId,
    name: String,
    key: hmac::Key,
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
    revoked: Arc<Mutex<HashSet<NodeId>>>,
    epoch: Arc<AtomicU64>,
}

fn refused(code: &'static str) -> AuthError {
    AuthError {
        code,
        message: "the proof does not hold".into(),
    }
}

impl Authority {
    pub fn new() -> Self {
        Self::from_key(KeyPair::generate_for(&PKCS_ED25519).unwrap())
    }

    /// The same authority in another process.
    pub fn from_pem(pem: &str) -> Self {
        Self::from_key(KeyPair::from_pem(pem).unwrap())
    }

    pub fn to_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    fn from_key(key: KeyPair) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            key: [7; 32],
            revoked: Arc::default(),
            epoch: Arc::default(),
        }
    }

    /// The same certificates, but members of another network as far as proofs go.
    pub fn with_proof_key(mut self, key: [u8; 32]) -> Self {
        self.key = key;
        self
    }

    pub fn revoke(&self, node: NodeId) {
        self.revoked.lock().unwrap().insert(node);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    pub fn member(&self, name: &str) -> Arc<TestIdentity> {
        self.member_with(name, self.key)
    }

    /// A member whose proofs are made with this key.
    pub fn member_with(&self, name: &str, key: [u8; 32]) -> Arc<TestIdentity> {
        let own = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let certificate = CertificateParams::new(vec![SERVER_NAME.into()])
            .unwrap()
            .signed_by(&own, &self.issuer)
            .unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.into()];
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let roots = Arc::new(roots);
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![kx_group::X25519MLKEM768],
            cipher_suites: vec![
                provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
                provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ],
            ..provider::default_provider()
        });
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .unwrap();
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .unwrap();
        let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), private.clone_key())
            .unwrap();
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = 0;
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_webpki_verifier(servers)
            .with_client_auth_cert(chain, private)
            .unwrap();
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = rustls::client::Resumption::disabled();
        Arc::new(TestIdentity {
            node_id: id(name),
            name: name.into(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            server: Arc::new(server),
            client: Arc::new(client),
            revoked: self.revoked.clone(),
            epoch: self.epoch.clone(),
        })
    }
}

impl TestIdentity {
    fn mac(&self, prover: Side, channel: &Channel, claim: &[u8]) -> hmac::Tag {
        let mut message = vec![u8::from(prover == Side::Client)];
        message.extend_from_slice(&channel.exporter);
        message.extend_from_slice(claim);
        hmac::sign(&self.key, &message)
    }
}

impl Authenticator for TestIdentity {
    fn tls_server(&self) -> Arc<rustls::ServerConfig> {
        self.server.clone()
    }

    fn tls_client(&self) -> Arc<rustls::ClientConfig> {
        self.client.clone()
    }

    fn prove(&self, channel: &Channel) -> Result<Vec<u8>, AuthError> {
        let mut proof = self.node_id.0.to_vec();
        proof.extend_from_slice(&channel.boot_epoch);
        proof.extend_from_slice(self.name.as_bytes());
        let mac = self.mac(channel.side, channel, &proof);
        proof.extend_from_slice(mac.as_ref());
        Ok(proof)
    }

    fn verify(&self, channel: &Channel, proof: &[u8]) -> Result<PeerIdentity, AuthError> {
        let split = proof
            .len()
            .checked_sub(32)
            .filter(|&split| split >= 48)
            .ok_or(refused("short"))?;
        let (claim, mac) = proof.split_at(split);
        let prover = if channel.side == Side::Client {
            Side::Server
        } else {
            Side::Client
        };
        if self.mac(prover, channel, claim).as_ref() != mac {
            return Err(refused("mac"));
        }
        Ok(PeerIdentity {
            node_id: NodeId(claim[..32].try_into().unwrap()),
            name: String::from_utf8_lossy(&claim[48..]).into_owned(),
            network: "test".into(),
            not_after: u64::MAX,
            boot_epoch: claim[32..48].try_into().unwrap(),
        })
    }

    fn is_revoked(&self, node_id: &NodeId) -> bool {
        self.revoked.lock().unwrap().contains(node_id)
    }

    fn revocation_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}
