//! Joining, renewing and answering both: what `join` says on the wire, done with this node's state. Still no I/O.

use std::path::Path;
use std::sync::Arc;

use super::certificate::{Validity, check_name};
use super::error::IdentityError;
use super::join::{Reply, Request, join_request, renew_request, reply};
use super::keys::Keys;
use super::node_identity::{IdentityOptions, NodeIdentity};
use super::proof;
use super::state;
use super::tls::joiner_config;
use super::tls_certificate;
use super::token::JoinToken;
use crate::core::Channel;

/// How long a joiner's own certificate holds, seconds: the exchange takes one round trip.
const JOINER_SECONDS: u64 = 600;
/// Longest address that is remembered, bytes.
const MAX_ADDRESS_BYTES: usize = 255;

/// A node on its way into a network.
///
/// Dial with [`tls_client`](Self::tls_client), send [`request`](Self::request), give the answer to
/// [`accept`](Self::accept). [`exchange`](super::exchange) does the middle part over UDP.
#[derive(Debug)]
pub struct Joining {
    token: JoinToken,
    keys: Keys,
    options: IdentityOptions,
    client: Arc<rustls::ClientConfig>,
}

impl Joining {
    /// Prepares to join with a token. Keys that are stored already are kept, so a node that joins again stays itself.
    /// Cost when they are made: about 20 ms.
    ///
    /// # Errors
    /// [`IdentityError::Exists`] when the data folder belongs to a network whose keys are here; else as
    /// [`NodeIdentity::open`].
    pub fn new(token: &str, options: IdentityOptions) -> Result<Self, IdentityError> {
        let token: JoinToken = token.parse()?;
        check_name("name", &options.name)?;
        let folder = state::folder(&options.data, true)?;
        if folder.exists("ca") {
            return Err(IdentityError::Exists {
                path: folder.path("ca"),
            });
        }
        let keys = if folder.exists(state::KEY) {
            Keys::load(&folder, state::KEY, options.passphrase.as_ref())?
        } else {
            let keys = Keys::generate()?;
            keys.store(&folder, state::KEY, options.passphrase.as_ref())?;
            keys
        };
        let validity = Validity::starting(options.clock.now(), JOINER_SECONDS);
        let certificate = tls_certificate::joiner(&keys.tls, validity)?;
        let client = joiner_config(token.fingerprint(), certificate, &keys, &options.clock)?;
        Ok(Self {
            token,
            keys,
            options,
            client,
        })
    }

    /// For dialling: it believes the token's root alone.
    pub fn tls_client(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.client)
    }

    /// What to send. Cost: one signature.
    pub fn request(&self, channel: &Channel) -> Vec<u8> {
        join_request(
            &self.token,
            &self.options.name,
            &self.keys,
            &channel.exporter,
        )
    }

    /// Checks the answer, stores it and opens the identity. `address` is where it came from and where the certificate
    /// will be renewed.
    ///
    /// # Errors
    /// The answer is not the issuer's, or not for these keys; or the file system refuses. Nothing is stored then.
    pub fn accept(
        self,
        channel: &Channel,
        answer: &[u8],
        address: &str,
    ) -> Result<Arc<NodeIdentity>, IdentityError> {
        if address.len() > MAX_ADDRESS_BYTES {
            return Err(IdentityError::InvalidField {
                field: "address",
                reason: "is too long",
                limit: Some(MAX_ADDRESS_BYTES as u64),
            });
        }
        let reply = Reply::decode(answer, Some((&self.token, &channel.exporter)))?;
        let now = self.options.clock.now();
        let trust = reply.first_trust(&self.token)?;
        reply.chain.check(&self.keys, &trust, now)?;
        NodeIdentity::establish(self.options, &reply.chain, &trust, address)
    }

    /// The data folder that will hold the identity.
    pub fn data(&self) -> &Path {
        &self.options.data
    }
}

impl NodeIdentity {
    /// For dialling the issuer to have the certificate renewed.
    pub fn tls_renewal(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.renewal_client)
    }

    /// What to send to the issuer for a new certificate. Cost: one signature.
    ///
    /// # Errors
    /// The issuer's TLS certificate is not a node's.
    pub fn renewal_request(&self, channel: &Channel) -> Result<Vec<u8>, IdentityError> {
        let live = self.current.get();
        let proof = proof::prove(channel, &self.keys.falcon, &live.chain.chain)?;
        Ok(renew_request(&proof))
    }

    /// Takes the issuer's answer: stored, and in force from the next handshake on. Live connections stay.
    ///
    /// # Errors
    /// The answer is not believed, or not for this node. What was in force stays.
    pub fn accept_renewal(&self, answer: &[u8]) -> Result<(), IdentityError> {
        self.renewed(Reply::decode(answer, None)?)
    }

    /// Answers a joiner or a member that wants a new certificate. Cost: two to four signatures, about 4 ms.
    ///
    /// # Errors
    /// [`IdentityError::NotAuthority`] where the network's keys are not; the token, MAC, proof or keys do not hold. A
    /// token is spent only by a request that holds.
    pub fn answer(&self, channel: &Channel, request: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let trust = &self.current.get().trust;
        let now = self.now();
        self.with_authority(|authority| match Request::decode(request)? {
            Request::Join(join) => {
                let open = authority.tokens.find(&join.token, now)?;
                join.check(&open.key, channel)?;
                let name = if open.name.is_empty() {
                    join.name
                } else {
                    &open.name
                };
                check_name("name", name)?;
                // Spent before the certificate exists: of two that come with one token, one gets a certificate.
                authority.tokens.spend(&join.token)?;
                let chain = authority.issue(
                    trust,
                    name,
                    &join.falcon,
                    join.tls_spki,
                    self.options.node_seconds,
                    now,
                )?;
                Ok(reply(&chain, trust, Some((&open.key, &channel.exporter))))
            }
            Request::Renew(proof) => {
                let peer = proof::verify(channel, proof, &self.node_id(), trust, now)?;
                let node = &peer.chain.node;
                let chain = authority.issue(
                    trust,
                    node.name(),
                    node.falcon(),
                    node.tls_spki(),
                    self.options.node_seconds,
                    now,
                )?;
                Ok(reply(&chain, trust, None))
            }
        })
    }
}
