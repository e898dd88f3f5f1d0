//! This node's identity: its keys, its certificates, whom it trusts, and the network's keys when they are here.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::authority::{Authority, NODE_SECONDS};
use super::bundle::TrustBundle;
use super::certificate::{Certificate, check_name};
use super::chain::IssuedChain;
use super::clock::Clock;
use super::error::IdentityError;
use super::folder::{Folder, Stamp};
use super::id::NetworkId;
use super::keys::{Keys, Passphrase};
use super::known::KnownNodes;
use super::revocation::{RevocationList, Revoked};
use super::state;
use super::tls::{Current, Live};
use super::trust::Trust;
use crate::core::{ALPN, JOIN_ALPN, NodeId};

/// Where an identity lives and what it is called.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// The data folder; the identity is in `identity/` inside.
    pub data: PathBuf,
    /// Name of this node, for people.
    pub name: String,
    /// Encrypts and opens the key files.
    pub passphrase: Option<Passphrase>,
    /// How long a certificate that this node issues holds, seconds.
    pub node_seconds: u64,
    /// The time of day.
    pub clock: Clock,
}

impl IdentityOptions {
    /// A node called `node`, without a passphrase, with certificates of a day, by the system's clock.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            name: "node".to_owned(),
            passphrase: None,
            node_seconds: NODE_SECONDS,
            clock: Clock::system(),
        }
    }
}

/// The identity of this process's node. Shared by every thread; all methods take `&self`.
///
/// Signing and checking cost FALCON's time (0.8–1 ms and 50 µs a signature): call them off the engine thread.
#[derive(Debug)]
pub struct NodeIdentity {
    pub(super) folder: Folder,
    pub(super) keys: Keys,
    id: NodeId,
    network: NetworkId,
    pub(super) current: Arc<Current>,
    pub(super) server: Arc<rustls::ServerConfig>,
    pub(super) client: Arc<rustls::ClientConfig>,
    pub(super) renewal_client: Arc<rustls::ClientConfig>,
    pub(super) authority: Mutex<Option<Authority>>,
    pub(super) known: Mutex<KnownNodes>,
    pub(super) revocation_epoch: AtomicU64,
    pub(super) stamps: Mutex<[Stamp; 3]>,
    /// Held from reading what is in force to replacing it, so that no change undoes another.
    pub(super) changing: Mutex<()>,
    pub(super) options: IdentityOptions,
}

/// Nothing here is left half changed by a panic: what a lock guards is replaced as a whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodeIdentity {
    /// Opens what is stored, or makes it: a network called `network` with this node in it when nothing is there, a node
    /// when only the network is. So the first start on a machine needs no ceremony. Cost when made: about 100 ms.
    ///
    /// # Errors
    /// The folder is open to others, the keys do not open, the certificate expired and its issuer is elsewhere, or the
    /// file system refuses.
    pub fn open_or_create(
        options: IdentityOptions,
        network: &str,
    ) -> Result<Arc<Self>, IdentityError> {
        let folder = state::folder(&options.data, true)?;
        if !folder.exists(state::BUNDLE) {
            match Authority::create(
                &folder,
                network,
                options.passphrase.as_ref(),
                options.clock.now(),
            ) {
                // Another process was first: then it is there now.
                Ok(_) | Err(IdentityError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Self::open(options)
    }

    /// Opens what is stored. Where the network's keys are, a missing or expired node certificate is issued.
    ///
    /// # Errors
    /// As [`open_or_create`](Self::open_or_create); [`IdentityError::NotFound`] when nothing is stored.
    pub fn open(options: IdentityOptions) -> Result<Arc<Self>, IdentityError> {
        check_name("name", &options.name)?;
        let folder = state::folder(&options.data, false)?;
        let now = options.clock.now();
        let trust = state::load_trust(&folder)?;
        let authority = Authority::open(&folder, options.passphrase.as_ref())?;
        let keys = load_or_make_keys(&folder, &options, authority.is_some())?;
        let chain = match (state::load_chain(&folder), &authority) {
            (Ok(chain), Some(authority)) if chain.check(&keys, &trust, now).is_err() => issue_own(
                &folder,
                authority,
                &trust,
                &keys,
                chain.chain.node.name(),
                &options,
            )?,
            (Err(IdentityError::NotFound { .. }), Some(authority)) => {
                issue_own(&folder, authority, &trust, &keys, &options.name, &options)?
            }
            (chain, _) => chain?,
        };
        chain.check(&keys, &trust, now)?;
        let id = chain.chain.node.node_id();
        let network = trust.bundle.network();
        let current = Current::new(Live::new(&keys, chain, trust)?);
        let identity = Self {
            server: current.server_config(&options.clock)?,
            client: current.client_config(&options.clock, ALPN)?,
            renewal_client: current.client_config(&options.clock, JOIN_ALPN)?,
            revocation_epoch: AtomicU64::new(current.get().trust.revocations.sequence()),
            stamps: Mutex::new(stamps(&folder)),
            authority: Mutex::new(authority),
            known: Mutex::default(),
            changing: Mutex::default(),
            folder,
            keys,
            id,
            network,
            current,
            options,
        };
        identity.count_tokens()?;
        Ok(Arc::new(identity))
    }

    /// Stores what an issuer answered and opens it.
    pub(super) fn establish(
        options: IdentityOptions,
        chain: &IssuedChain,
        trust: &Trust,
        issuer_address: &str,
    ) -> Result<Arc<Self>, IdentityError> {
        let folder = state::folder(&options.data, true)?;
        let lock = folder.lock()?;
        if !trust.revocations.as_bytes().is_empty() {
            folder.write(state::REVOCATIONS, trust.revocations.as_bytes())?;
        }
        folder.write(state::ISSUER_ADDRESS, issuer_address.as_bytes())?;
        folder.write(state::CHAIN, &chain.encode())?;
        // Last: what has a bundle is a member.
        folder.write(state::BUNDLE, trust.bundle.as_bytes())?;
        drop(lock);
        Self::open(options)
    }

    /// Who this node is.
    pub const fn node_id(&self) -> NodeId {
        self.id
    }

    /// Which network it belongs to.
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// What the network is called, for people.
    pub fn network_name(&self) -> String {
        self.network_certificate().name().to_owned()
    }

    /// Whether the data folder has an identity.
    pub fn is_stored(data: &Path) -> bool {
        state::folder(data, false).is_ok_and(|folder| folder.exists(state::BUNDLE))
    }

    /// Its present certificate.
    pub fn certificate(&self) -> Certificate {
        self.current.get().chain.chain.node.clone()
    }

    /// The certificate of the network key that issued it.
    pub fn network_certificate(&self) -> Certificate {
        self.current.get().chain.chain.network.clone()
    }

    /// The roots in force.
    pub fn trust_bundle(&self) -> TrustBundle {
        self.current.get().trust.bundle.clone()
    }

    /// The revocation list in force: hand its bytes to peers whose sequence is lower.
    pub fn revocation_list(&self) -> RevocationList {
        self.current.get().trust.revocations.clone()
    }

    /// Grows with every revocation list.
    pub fn revocation_epoch(&self) -> u64 {
        // Acquire: whoever sees the new number sees the list that was put in force before it.
        self.revocation_epoch.load(Ordering::Acquire)
    }

    /// Whether this node, or the key that certified it, is revoked.
    pub fn is_revoked(&self, node: &NodeId) -> bool {
        let live = self.current.get();
        live.trust.revocations.contains(&Revoked::Node(*node))
            || lock(&self.known)
                .get(node)
                .is_some_and(|known| known.is_revoked(node, &live.trust))
    }

    /// Whether the network's keys are here: this node issues, invites and revokes.
    pub fn issues_certificates(&self) -> bool {
        lock(&self.authority).is_some()
    }

    /// Where the certificate is renewed, `host:port`; `None` when the network's keys are here.
    pub fn issuer_address(&self) -> Option<String> {
        let bytes = self.folder.read(state::ISSUER_ADDRESS, 512).ok()?;
        String::from_utf8(bytes).ok()
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.options.data
    }

    pub(super) fn now(&self) -> u64 {
        self.options.clock.now()
    }
}

pub(super) fn stamps(folder: &Folder) -> [Stamp; 3] {
    [state::CHAIN, state::BUNDLE, state::REVOCATIONS].map(|name| folder.stamp(name))
}

/// The keys of this node. They are made where the network's keys are; elsewhere joining makes them.
fn load_or_make_keys(
    folder: &Folder,
    options: &IdentityOptions,
    make: bool,
) -> Result<Keys, IdentityError> {
    if make && !folder.exists(state::KEY) {
        let _lock = folder.lock()?;
        if !folder.exists(state::KEY) {
            let keys = Keys::generate()?;
            keys.store(folder, state::KEY, options.passphrase.as_ref())?;
            return Ok(keys);
        }
    }
    Keys::load(folder, state::KEY, options.passphrase.as_ref())
}

/// Issues this node's own certificate and stores it.
pub(super) fn issue_own(
    folder: &Folder,
    authority: &Authority,
    trust: &Trust,
    keys: &Keys,
    name: &str,
    options: &IdentityOptions,
) -> Result<IssuedChain, IdentityError> {
    let chain = authority.issue(
        trust,
        name,
        keys.falcon.public(),
        &keys.tls.spki(),
        options.node_seconds,
        options.clock.now(),
    )?;
    folder.write(state::CHAIN, &chain.encode())?;
    Ok(chain)
}
