//! The holder of a network's keys: issues, invites, revokes and rotates. State is files, so that the command line and a
//! running process work on the same network.
//!
//! ```text
//! identity/trust.bundle  trust.revocations      what every node has
//! identity/ca/root.key                          may be moved elsewhere: only rotation needs it
//! identity/ca/next-root.key                     prepared, trusted, not in use yet
//! identity/ca/network.key  network.chain        what issuing needs
//! identity/ca/tokens/  issued/                  open tokens; the last certificate of each node
//! ```

use rustls_pki_types::CertificateDer;

use super::bundle::{Root, TrustBundle};
use super::certificate::{Certificate, MAX_CERTIFICATE_BYTES, Role, Subject, Validity};
use super::chain::{IssuedChain, NodeChain};
use super::codec::{Reader, put_block};
use super::error::IdentityError;
use super::falcon::FalconPublic;
use super::folder::{Folder, Stamp};
use super::id::NetworkId;
use super::keys::{Keys, Passphrase};
use super::revocation::{RevocationList, Revoked};
use super::state;
use super::tls_certificate::{self, MAX_TLS_CERTIFICATE_BYTES};
use super::token::{JoinToken, TokenShelf};
use super::trust::Trust;
use crate::core::NodeId;

/// How long a root holds, seconds: ten years.
pub const ROOT_SECONDS: u64 = 10 * 365 * 24 * 3_600;
/// How long a network key holds, seconds: ninety days.
pub const NETWORK_SECONDS: u64 = 90 * 24 * 3_600;
/// How long a node's certificate holds unless told otherwise, seconds: a day.
pub const NODE_SECONDS: u64 = 24 * 3_600;
/// Shortest and longest that a node's certificate may hold, seconds.
pub const NODE_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 3_600;
/// Most nodes that an authority keeps count of.
pub const MAX_ISSUED: usize = 65_536;

const CA: &str = "ca";
const ROOT_KEY: &str = "root.key";
const NEXT_ROOT_KEY: &str = "next-root.key";
const NETWORK_KEY: &str = "network.key";
const NETWORK_CHAIN: &str = "network.chain";

/// The keys of a network, open.
#[derive(Debug)]
pub(super) struct Authority {
    identity: Folder,
    ca: Folder,
    issued: Folder,
    pub(super) tokens: TokenShelf,
    network: Keys,
    certificate: Certificate,
    tls: CertificateDer<'static>,
    passphrase: Option<Passphrase>,
    stamp: Stamp,
}

/// One node that was issued a certificate.
#[derive(Clone, Debug)]
pub struct IssuedNode {
    /// Its latest certificate.
    pub certificate: Certificate,
    /// Whether it is on the revocation list.
    pub revoked: bool,
}

impl Authority {
    /// Makes a network: root, network key and the first bundle.
    pub(super) fn create(
        identity: &Folder,
        name: &str,
        passphrase: Option<&Passphrase>,
        now: u64,
    ) -> Result<Self, IdentityError> {
        super::certificate::check_name("network", name)?;
        let _lock = identity.lock()?;
        if identity.exists(state::BUNDLE) {
            return Err(IdentityError::Exists {
                path: identity.path(state::BUNDLE),
            });
        }
        let ca = identity.inner(CA)?;
        // Keys without a bundle are left from a start that was cut off: nobody trusts them. Keys are not thrown away all
        // the same.
        for file in [ROOT_KEY, NETWORK_KEY, NETWORK_CHAIN] {
            ca.set_aside(file)?;
        }
        identity.set_aside(state::REVOCATIONS)?;
        let keys = Keys::generate()?;
        let root = make_root(&keys, None, name, now)?;
        keys.store(&ca, ROOT_KEY, passphrase)?;
        let bundle = TrustBundle::issue(
            root.certificate.network(),
            1,
            std::slice::from_ref(&root),
            &keys.falcon,
        )?;
        make_network(&ca, &keys, &root, passphrase, now)?;
        // Last: what has a bundle is a network.
        identity.write(state::BUNDLE, bundle.as_bytes())?;
        Self::open(identity, passphrase)?.ok_or(IdentityError::NotAuthority)
    }

    /// Opens the keys, when they are in this folder.
    pub(super) fn open(
        identity: &Folder,
        passphrase: Option<&Passphrase>,
    ) -> Result<Option<Self>, IdentityError> {
        if !identity.exists(CA) {
            return Ok(None);
        }
        let ca = identity.inner(CA)?;
        let stamp = ca.stamp(NETWORK_CHAIN);
        if !ca.exists(NETWORK_KEY) || stamp.is_none() {
            return Ok(None);
        }
        let network = Keys::load(&ca, NETWORK_KEY, passphrase)?;
        let chain = ca.read(
            NETWORK_CHAIN,
            8 + MAX_CERTIFICATE_BYTES + MAX_TLS_CERTIFICATE_BYTES,
        )?;
        let mut reader = Reader::new("network certificate", &chain, chain.len())?;
        let certificate = Certificate::decode(reader.block(MAX_CERTIFICATE_BYTES)?)?;
        let tls = CertificateDer::from(reader.block(MAX_TLS_CERTIFICATE_BYTES)?.to_vec());
        reader.finish()?;
        if certificate.falcon() != network.falcon.public()
            || certificate.tls_spki() != network.tls.spki()
        {
            return Err(IdentityError::BindingMismatch {
                reason: "the network certificate is for another key than the one beside it",
            });
        }
        Ok(Some(Self {
            identity: identity.clone(),
            issued: ca.inner("issued")?,
            tokens: TokenShelf(ca.inner("tokens")?),
            network,
            certificate,
            tls,
            passphrase: passphrase.cloned(),
            stamp,
            ca,
        }))
    }

    /// Takes up what another process rotated.
    pub(super) fn refresh(&mut self) -> Result<bool, IdentityError> {
        if self.ca.stamp(NETWORK_CHAIN) == self.stamp {
            return Ok(false);
        }
        let Some(fresh) = Self::open(&self.identity, self.passphrase.as_ref())? else {
            return Ok(false);
        };
        *self = fresh;
        Ok(true)
    }

    /// The network's certificate.
    pub(super) const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether the root's keys are here, too.
    pub(super) fn holds_root(&self) -> bool {
        self.ca.exists(ROOT_KEY)
    }

    /// Certifies a node. It never outlives its issuer. Cost: two signatures of each kind.
    pub(super) fn issue(
        &self,
        trust: &Trust,
        name: &str,
        falcon: &FalconPublic,
        tls_spki: &[u8],
        seconds: u64,
        now: u64,
    ) -> Result<IssuedChain, IdentityError> {
        trust.check_network(&self.certificate, now)?;
        if !NODE_SECONDS_RANGE.contains(&seconds) {
            return Err(IdentityError::InvalidField {
                field: "nodeSeconds",
                reason: "is from 60 seconds to 30 days",
                limit: Some(*NODE_SECONDS_RANGE.end()),
            });
        }
        let mut validity = Validity::starting(now, seconds);
        validity.not_after = validity
            .not_after
            .min(self.certificate.validity().not_after);
        let network = self.certificate.network();
        let node = Certificate::issue(
            &Subject {
                role: Role::Node,
                network,
                name,
                validity,
                tls_spki,
                falcon,
            },
            &self.network.falcon,
        )?;
        let id = node.node_id();
        trust.revocations.check(&Revoked::Node(id))?;
        let issuer = (&self.tls, &self.network.tls);
        let tls_node = tls_certificate::node(tls_spki, &id, &network, validity, issuer)?;
        let record = id.to_string();
        if !self.issued.exists(&record) && self.issued.names(MAX_ISSUED)?.len() >= MAX_ISSUED {
            return Err(IdentityError::TooLarge {
                object: "list of issued nodes",
                limit: MAX_ISSUED,
            });
        }
        self.issued.write(&record, node.as_bytes())?;
        Ok(IssuedChain {
            chain: NodeChain {
                node,
                network: self.certificate.clone(),
            },
            tls_node,
            tls_network: self.tls.clone(),
        })
    }

    /// Opens a token that is good once, for `seconds`. `name` is the node's; empty leaves it to the joiner.
    pub(super) fn invite(
        &self,
        trust: &Trust,
        name: &str,
        seconds: u64,
        now: u64,
    ) -> Result<JoinToken, IdentityError> {
        trust.check_network(&self.certificate, now)?;
        let root =
            trust
                .bundle
                .root(&self.certificate.issuer())
                .ok_or(IdentityError::UnknownIssuer {
                    object: "network certificate",
                })?;
        let token = JoinToken::generate(root.certificate.fingerprint());
        self.tokens.open(&token, name, seconds, now)?;
        Ok(token)
    }

    /// Every node that has or had a certificate.
    pub(super) fn issued(&self, trust: &Trust) -> Result<Vec<IssuedNode>, IdentityError> {
        let mut nodes = Vec::new();
        for name in self.issued.names(MAX_ISSUED)? {
            let bytes = self.issued.read(&name, MAX_CERTIFICATE_BYTES)?;
            let certificate = Certificate::decode(&bytes)?;
            let revoked = trust
                .revocations
                .contains(&Revoked::Node(certificate.node_id()));
            nodes.push(IssuedNode {
                certificate,
                revoked,
            });
        }
        nodes.sort_by(|a, b| a.certificate.name().cmp(b.certificate.name()));
        Ok(nodes)
    }

    /// The nodes that a name or id means.
    pub(super) fn find(&self, trust: &Trust, who: &str) -> Result<Vec<NodeId>, IdentityError> {
        if let Ok(id) = who.parse() {
            return Ok(vec![id]);
        }
        let named = |node: &IssuedNode| node.certificate.name() == who;
        let nodes = self.issued(trust)?.into_iter().filter(named);
        Ok(nodes.map(|node| node.certificate.node_id()).collect())
    }

    /// Adds to the revocation list and stores it. Nodes on this folder follow within a second.
    pub(super) fn revoke(
        &self,
        revoked: Revoked,
        now: u64,
    ) -> Result<RevocationList, IdentityError> {
        let _lock = self.identity.lock()?;
        let trust = state::load_trust(&self.identity)?;
        // A network key cannot revoke itself for good: a root can, and must when it is that key.
        let list = match revoked {
            Revoked::Issuer(_) => {
                let root = Keys::load(&self.ca, ROOT_KEY, self.passphrase.as_ref())?;
                trust
                    .revocations
                    .with(Some(revoked), now, &root.falcon, None)?
            }
            _ => trust.revocations.with(
                Some(revoked),
                now,
                &self.network.falcon,
                Some(&self.certificate),
            )?,
        };
        let next = trust.with_revocations(list)?;
        self.identity
            .write(state::REVOCATIONS, next.revocations.as_bytes())?;
        Ok(next.revocations)
    }

    /// Signs the entries of `list` under any sequence, as a stolen network key could.
    #[cfg(test)]
    pub(super) fn sign_list(
        &self,
        list: &RevocationList,
        sequence: u64,
        now: u64,
    ) -> Result<RevocationList, IdentityError> {
        let list = list.at_sequence(sequence - 1);
        list.with(None, now, &self.network.falcon, Some(&self.certificate))
    }

    /// Makes a new network key. Certificates of the old one hold until they expire: their chain says so.
    pub(super) fn rotate_network(&mut self, now: u64) -> Result<(), IdentityError> {
        let lock = self.identity.lock()?;
        let trust = state::load_trust(&self.identity)?;
        let keys = Keys::load(&self.ca, ROOT_KEY, self.passphrase.as_ref())?;
        let root = root_of(&trust, &keys)?;
        make_network(&self.ca, &keys, &root, self.passphrase.as_ref(), now)?;
        drop(lock);
        self.refresh().map(drop)
    }

    /// Makes the next root, endorsed by the present one, and trusts both. Nothing is issued under it yet: nodes learn of
    /// it when they renew, so give them that long before [`activate_root`](Self::activate_root).
    pub(super) fn prepare_root(&self, now: u64) -> Result<(), IdentityError> {
        let _lock = self.identity.lock()?;
        let trust = state::load_trust(&self.identity)?;
        if self.ca.exists(NEXT_ROOT_KEY) {
            return Err(IdentityError::Exists {
                path: self.ca.path(NEXT_ROOT_KEY),
            });
        }
        let present = Keys::load(&self.ca, ROOT_KEY, self.passphrase.as_ref())?;
        let name = root_of(&trust, &present)?.certificate.name().to_owned();
        let keys = Keys::generate()?;
        let root = make_root(&keys, Some(trust.bundle.network()), &name, now)?;
        let mut roots = vec![root];
        roots.extend_from_slice(trust.bundle.roots());
        let next = issue_bundle(&trust, &roots, &present)?;
        // In this order a crash leaves a key that nobody trusts, never a trusted one that is lost.
        keys.store(&self.ca, NEXT_ROOT_KEY, self.passphrase.as_ref())?;
        let written = self.identity.write(state::BUNDLE, next.bundle.as_bytes());
        if written.is_err() {
            self.ca.set_aside(NEXT_ROOT_KEY)?;
        }
        written
    }

    /// Issues under the prepared root from now on. Certificates under the old one hold until
    /// [`retire_roots`](Self::retire_roots).
    pub(super) fn activate_root(&mut self, now: u64) -> Result<(), IdentityError> {
        let lock = self.identity.lock()?;
        let trust = state::load_trust(&self.identity)?;
        let keys = Keys::load(&self.ca, NEXT_ROOT_KEY, self.passphrase.as_ref())?;
        let root = root_of(&trust, &keys)?;
        make_network(&self.ca, &keys, &root, self.passphrase.as_ref(), now)?;
        self.ca.rename(NEXT_ROOT_KEY, ROOT_KEY)?;
        drop(lock);
        self.refresh().map(drop)
    }

    /// Trusts the present root alone. Certificates under older roots end here; a prepared one is given up.
    pub(super) fn retire_roots(&self, now: u64) -> Result<(), IdentityError> {
        let _lock = self.identity.lock()?;
        let trust = state::load_trust(&self.identity)?;
        let keys = Keys::load(&self.ca, ROOT_KEY, self.passphrase.as_ref())?;
        let root = root_of(&trust, &keys)?;
        let next = issue_bundle(&trust, &[root], &keys)?;
        next.check_network(&self.certificate, now)?;
        if trust.revocations.sequence() > 0 {
            // What the old root's network key signed is believed by nobody afterwards: the list goes out under the
            // present key first, which both bundles believe.
            let list =
                trust
                    .revocations
                    .with(None, now, &self.network.falcon, Some(&self.certificate))?;
            self.identity.write(state::REVOCATIONS, list.as_bytes())?;
        }
        self.identity.write(state::BUNDLE, next.bundle.as_bytes())?;
        self.ca.set_aside(NEXT_ROOT_KEY)
    }
}

/// The bundle that follows, and the trust with it.
fn issue_bundle(trust: &Trust, roots: &[Root], key: &Keys) -> Result<Trust, IdentityError> {
    let sequence = trust.bundle.sequence() + 1;
    trust.with_bundle(TrustBundle::issue(
        trust.bundle.network(),
        sequence,
        roots,
        &key.falcon,
    )?)
}

/// The entry of the bundle that these keys are.
fn root_of(trust: &Trust, keys: &Keys) -> Result<Root, IdentityError> {
    let root = trust.bundle.root(&keys.falcon.public().id());
    root.cloned()
        .ok_or(IdentityError::UnknownIssuer { object: "root key" })
}

/// Certifies a root by itself. Without a network it founds one, named by its fingerprint.
fn make_root(
    keys: &Keys,
    network: Option<NetworkId>,
    name: &str,
    now: u64,
) -> Result<Root, IdentityError> {
    let spki = keys.tls.spki();
    let falcon = keys.falcon.public();
    let validity = Validity::starting(now, ROOT_SECONDS);
    let founded = || NetworkId(super::id::RootFingerprint::derive(&falcon.id(), &spki).0);
    let certificate = Certificate::issue(
        &Subject {
            role: Role::Root,
            network: network.unwrap_or_else(founded),
            name,
            validity,
            tls_spki: &spki,
            falcon,
        },
        &keys.falcon,
    )?;
    let tls = tls_certificate::root(&keys.tls, &falcon.id(), validity)?;
    Ok(Root { certificate, tls })
}

/// Makes a network key under a root and stores it.
fn make_network(
    ca: &Folder,
    root_keys: &Keys,
    root: &Root,
    passphrase: Option<&Passphrase>,
    now: u64,
) -> Result<(), IdentityError> {
    let keys = Keys::generate()?;
    let mut validity = Validity::starting(now, NETWORK_SECONDS);
    validity.not_after = validity
        .not_after
        .min(root.certificate.validity().not_after);
    let spki = keys.tls.spki();
    let falcon = keys.falcon.public();
    let certificate = Certificate::issue(
        &Subject {
            role: Role::Network,
            network: root.certificate.network(),
            name: root.certificate.name(),
            validity,
            tls_spki: &spki,
            falcon,
        },
        &root_keys.falcon,
    )?;
    let issuer = (&root.tls, &root_keys.tls);
    let tls = tls_certificate::network(&spki, &falcon.id(), validity, issuer)?;
    let mut chain = Vec::new();
    put_block(&mut chain, certificate.as_bytes());
    put_block(&mut chain, &tls);
    // The key first: `open` refuses a chain beside another key, so a crash in between is noticed and rotation repeated.
    keys.store(ca, NETWORK_KEY, passphrase)?;
    ca.write(NETWORK_CHAIN, &chain)?;
    Ok(())
}
