//! TLS 1.3 as nodes speak it: mutual, post-quantum key exchange or none, nothing resumed, certificates swapped in place.
//!
//! A configuration is made once. The resolver and the verifiers inside read what is current at each handshake, so a
//! renewed certificate, a rotated root or a revocation holds from the next handshake on and no live connection notices.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group, sign};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::chain::IssuedChain;
use super::clock::Clock;
use super::error::IdentityError;
use super::id::RootFingerprint;
use super::keys::Keys;
use super::revocation::Revoked;
use super::tls_certificate::{TlsName, name_of, spki_of};
use super::trust::Trust;
use crate::core::{ALPN, JOIN_ALPN};

/// Most certificates behind the leaf that are looked at: network and root.
const MAX_INTERMEDIATES: usize = 2;

/// The cryptography of every connection: X25519MLKEM768 alone, so that a handshake that completes was post-quantum and
/// nothing can talk it down; AES-128-GCM first, as the fastest.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768],
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..default_provider()
    })
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    default_provider().signature_verification_algorithms
}

fn failed(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Tls {
        reason: error.to_string(),
    }
}

fn refused(error: IdentityError) -> Error {
    Error::InvalidCertificate(match error {
        IdentityError::Revoked { .. } => CertificateError::Revoked,
        error => CertificateError::Other(OtherError(Arc::new(error))),
    })
}

/// The certificates and the trust in force, and what TLS makes of them.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) chain: IssuedChain,
    pub(super) trust: Trust,
    /// Leaf and network certificate: what members are shown.
    certified: Arc<CertifiedKey>,
    /// The root's too: what joiners are shown, who know its fingerprint alone.
    certified_to_root: Arc<CertifiedKey>,
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Live {
    pub(super) fn new(
        keys: &Keys,
        chain: IssuedChain,
        trust: Trust,
    ) -> Result<Self, IdentityError> {
        let key = sign::any_ecdsa_type(&keys.tls.private_key()).map_err(failed)?;
        let shown = vec![chain.tls_node.clone(), chain.tls_network.clone()];
        let mut to_root = shown.clone();
        if let Some(root) = trust.bundle.root(&chain.chain.network.issuer()) {
            to_root.push(root.tls.clone());
        }
        let mut roots = RootCertStore::empty();
        for root in trust.bundle.roots() {
            roots.add(root.tls.clone()).map_err(failed)?;
        }
        let roots = Arc::new(roots);
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(shown, Arc::clone(&key))),
            certified_to_root: Arc::new(CertifiedKey::new(to_root, key)),
            servers: WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
                .build()
                .map_err(failed)?,
            clients: WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(failed)?,
            chain,
            trust,
        })
    }

    /// What our names say, before webpki looks at the signatures: a node of this network that nobody revoked.
    fn check_names(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let check = || {
            let TlsName::Node(network, node) = name_of(leaf)? else {
                return Err(IdentityError::WrongRole {
                    object: "TLS certificate",
                });
            };
            if network != self.trust.bundle.network() {
                return Err(IdentityError::WrongNetwork {
                    object: "TLS certificate",
                });
            }
            let revocations = &self.trust.revocations;
            revocations.check(&Revoked::Node(node))?;
            if intermediates.len() > MAX_INTERMEDIATES {
                return Err(IdentityError::TooLarge {
                    object: "TLS certificate chain",
                    limit: 1 + MAX_INTERMEDIATES,
                });
            }
            for certificate in intermediates {
                if let TlsName::Network(key) = name_of(certificate)? {
                    revocations.check(&Revoked::Issuer(key))?;
                }
            }
            Ok(())
        };
        check().map_err(refused)
    }
}

/// What is in force now. Read once per handshake, replaced as a whole.
#[derive(Debug)]
pub(super) struct Current {
    live: RwLock<Arc<Live>>,
    /// Tokens that are still good. While there are none, nobody without a certificate gets through a handshake.
    invitations: AtomicUsize,
}

impl Current {
    pub(super) fn new(live: Live) -> Arc<Self> {
        Arc::new(Self {
            live: RwLock::new(Arc::new(live)),
            invitations: AtomicUsize::new(0),
        })
    }

    pub(super) fn get(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    pub(super) fn set_invitations(&self, count: usize) {
        // Relaxed: a count that gates nothing but itself; the token is checked when it is redeemed.
        self.invitations.store(count, Ordering::Relaxed);
    }

    /// For accepting. Members and, while an invitation is open, joiners; a client certificate always.
    pub(super) fn server_config(
        self: &Arc<Self>,
        clock: &Clock,
    ) -> Result<Arc<ServerConfig>, IdentityError> {
        let mut config = ServerConfig::builder_with_details(provider(), Arc::new(clock.clone()))
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .with_client_cert_verifier(Arc::new(Verifier(Arc::clone(self))))
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(self))));
        config.alpn_protocols = vec![ALPN.to_vec(), JOIN_ALPN.to_vec()];
        // A resumed session would skip the certificates, and with them every check of them.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }

    /// For dialling a member, as a member. `protocol`: `ALPN`, or `JOIN_ALPN` to have the certificate renewed.
    pub(super) fn client_config(
        self: &Arc<Self>,
        clock: &Clock,
        protocol: &[u8],
    ) -> Result<Arc<ClientConfig>, IdentityError> {
        let mut config = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier(Arc::clone(self))))
            .with_client_cert_resolver(Arc::new(Resolver(Arc::clone(self))));
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(Arc::new(config))
    }
}

/// For dialling with a token: shows the joiner's own certificate and believes the root with this fingerprint alone.
pub(super) fn joiner_config(
    fingerprint: RootFingerprint,
    certificate: CertificateDer<'static>,
    keys: &Keys,
    clock: &Clock,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(fingerprint)))
        .with_client_auth_cert(vec![certificate], keys.tls.private_key())
        .map_err(failed)?;
    config.alpn_protocols = vec![JOIN_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            self.now(),
        )))
    }
}

#[derive(Debug)]
struct Resolver(Arc<Current>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let live = self.0.get();
        let joining = hello
            .alpn()
            .is_some_and(|mut protocols| protocols.any(|protocol| protocol == JOIN_ALPN));
        Some(Arc::clone(if joining {
            &live.certified_to_root
        } else {
            &live.certified
        }))
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.get().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Verifier(Arc<Current>);

/// The signature checks that are the same for every verifier here. TLS 1.2 is never negotiated.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(PeerIncompatible::Tls12NotOffered.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &algorithms())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    };
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let live = self.0.get();
        live.check_names(leaf, intermediates)?;
        live.servers
            .verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    signatures!();
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Whom this network trusts is nobody's business before they have shown a certificate.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.is_empty()
            && self.0.invitations.load(Ordering::Relaxed) > 0
            && name_of(leaf).map_err(refused)? == TlsName::Joiner
        {
            // It proves no more than that it holds the key inside, and gets no further than the join exchange.
            return Ok(ClientCertVerified::assertion());
        }
        let live = self.0.get();
        live.check_names(leaf, intermediates)?;
        live.clients.verify_client_cert(leaf, intermediates, now)
    }

    signatures!();
}

#[derive(Debug)]
struct Pinned(RootFingerprint);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let [network, root] = intermediates else {
            return Err(unknown);
        };
        let TlsName::Root(key) = name_of(root).map_err(refused)? else {
            return Err(unknown);
        };
        let spki = spki_of(root).map_err(refused)?;
        if RootFingerprint::derive(&key, &spki) != self.0 {
            return Err(unknown);
        }
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(leaf, std::slice::from_ref(network), name, ocsp, now)
    }

    signatures!();
}
