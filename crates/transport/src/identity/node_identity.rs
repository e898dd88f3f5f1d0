//! This node's identity: its keys, its certificates, whom it trusts, and the network's keys when they are here.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::authority::{Authority, IssuedNode, NODE_SECONDS};
use super::bundle::TrustBundle;
use super::certificate::{Certificate, check_name};
use super::chain::{IssuedChain, NodeChain};
use super::clock::Clock;
use super::error::IdentityError;
use super::folder::{Folder, Stamp};
use super::id::NetworkId;
use super::join::Reply;
use super::keys::{Keys, Passphrase};
use super::known::KnownNodes;
use super::revocation::{RevocationList, Revoked};
use super::signed::{ObjectKind, sign_detached, verify_detached};
use super::state;
use super::tls::{Current, Live};
use super::token::JoinToken;
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

/// Which key of a network is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The network key. Certificates under the old one hold until they expire.
    Network,
    /// A next root is made and trusted beside the present one. Nodes learn of it when they renew.
    PrepareRoot,
    /// The prepared root takes over, with a network key under it. Both roots are trusted.
    ActivateRoot,
    /// The present root alone is trusted from now on, and certificates under older ones end.
    RetireRoots,
}

/// What a round of upkeep found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Certificates or trust changed: the next handshake uses the new ones.
    pub reloaded: bool,
    /// The certificate is past half its life and its issuer is elsewhere: renew it.
    pub renewal_due: bool,
    /// Tokens that are still good.
    pub open_tokens: usize,
}

/// The identity of this process's node. Shared by every thread; all methods take `&self`.
///
/// Signing and checking cost FALCON's time (0.8–1 ms and 50 µs a signature): call them off the engine thread.
#[derive(Debug)]
pub struct NodeIdentity {
    folder: Folder,
    keys: Keys,
    id: NodeId,
    network: NetworkId,
    pub(super) current: Arc<Current>,
    pub(super) server: Arc<rustls::ServerConfig>,
    pub(super) client: Arc<rustls::ClientConfig>,
    pub(super) renewal_client: Arc<rustls::ClientConfig>,
    authority: Mutex<Option<Authority>>,
    pub(super) known: Mutex<KnownNodes>,
    revocation_epoch: AtomicU64,
    stamps: Mutex<[Stamp; 3]>,
    /// Held from reading what is in force to replacing it, so that no change undoes another.
    changing: Mutex<()>,
    options: IdentityOptions,
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
        let trust = state::load_trust(&folder, now)?;
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
        if *node == self.id {
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

    /// Opens a token with which one node may join, within `seconds`. `name` is that node's; empty leaves it to the node.
    ///
    /// # Errors
    /// [`IdentityError::NotAuthority`] where the network's keys are not; a time or name out of bounds; too many tokens.
    pub fn invite(&self, name: &str, seconds: u64) -> Result<JoinToken, IdentityError> {
        let authority = lock(&self.authority);
        let authority = authority.as_ref().ok_or(IdentityError::NotAuthority)?;
        let now = self.now();
        let token = authority.invite(&self.current.get().trust, name, seconds, now)?;
        self.current.set_invitations(authority.tokens.sweep(now)?);
        Ok(token)
    }

    /// Revokes: no new connection from now on, and [`revocation_epoch`](Self::revocation_epoch) moves, by which the
    /// engine ends the live ones.
    ///
    /// # Errors
    /// [`IdentityError::NotAuthority`] where the network's keys are not.
    pub fn revoke(&self, revoked: Revoked) -> Result<RevocationList, IdentityError> {
        let list = {
            let authority = lock(&self.authority);
            let authority = authority.as_ref().ok_or(IdentityError::NotAuthority)?;
            authority.revoke(revoked, self.now())?
        };
        self.upkeep()?;
        Ok(list)
    }

    /// The nodes that an id or a name means, among those that were issued a certificate here. An id means itself.
    ///
    /// # Errors
    /// [`IdentityError::NotAuthority`] where the network's keys are not.
    pub fn find(&self, who: &str) -> Result<Vec<NodeId>, IdentityError> {
        let trust = &self.current.get().trust;
        self.with_authority(|authority| authority.find(trust, who))
    }

    /// Replaces a key of the network, and this node's certificate with one under the new key.
    ///
    /// # Errors
    /// [`IdentityError::NotAuthority`] where the network's keys are not; [`IdentityError::NotFound`] where the root's are
    /// not.
    pub fn rotate(&self, rotation: Rotation) -> Result<(), IdentityError> {
        let now = self.now();
        {
            let mut authority = lock(&self.authority);
            let authority = authority.as_mut().ok_or(IdentityError::NotAuthority)?;
            match rotation {
                Rotation::Network => authority.rotate_network(now)?,
                Rotation::PrepareRoot => authority.prepare_root(now)?,
                Rotation::ActivateRoot => authority.activate_root(now)?,
                Rotation::RetireRoots => authority.retire_roots(now)?,
            }
            let trust = state::load_trust(&self.folder, now)?;
            let name = self.current.get().chain.chain.node.name().to_owned();
            issue_own(
                &self.folder,
                authority,
                &trust,
                &self.keys,
                &name,
                &self.options,
            )?;
        }
        self.upkeep().map(drop)
    }

    /// Every node that was issued a certificate here.
    ///
    /// # Errors
    /// [`IdentityError::NotAuthority`] where the network's keys are not.
    pub fn issued(&self) -> Result<Vec<IssuedNode>, IdentityError> {
        let authority = lock(&self.authority);
        let authority = authority.as_ref().ok_or(IdentityError::NotAuthority)?;
        authority.issued(&self.current.get().trust)
    }

    /// Takes a list that a peer sent, stores it and puts it in force. A list that is not newer changes nothing.
    ///
    /// # Errors
    /// The list is not believed, belongs to another network, or lacks what an older one had.
    pub fn install_revocations(&self, bytes: &[u8]) -> Result<bool, IdentityError> {
        let list = RevocationList::decode(bytes)?;
        if list.network() != self.network {
            return Err(IdentityError::WrongNetwork {
                object: "revocation list",
            });
        }
        if list.sequence() <= self.revocation_epoch() {
            return Ok(false);
        }
        let _lock = self.folder.lock()?;
        newer(self.change(|live| {
            let trust = live.trust.with_revocations(list, self.now())?;
            self.folder
                .write(state::REVOCATIONS, trust.revocations.as_bytes())?;
            Ok((live.chain.clone(), trust))
        }))
    }

    /// Takes a bundle that a peer sent, stores it and puts it in force. A bundle that is not newer changes nothing.
    ///
    /// # Errors
    /// The bundle is not signed by a root that is trusted now, or belongs to another network.
    pub fn install_bundle(&self, bytes: &[u8]) -> Result<bool, IdentityError> {
        let bundle = TrustBundle::decode(bytes)?;
        if bundle.network() != self.network {
            return Err(IdentityError::WrongNetwork {
                object: "trust bundle",
            });
        }
        if bundle.sequence() <= self.current.get().trust.bundle.sequence() {
            return Ok(false);
        }
        let _lock = self.folder.lock()?;
        newer(self.change(|live| {
            let trust = live.trust.with_bundle(bundle)?;
            self.folder.write(state::BUNDLE, trust.bundle.as_bytes())?;
            Ok((live.chain.clone(), trust))
        }))
    }

    /// Looks after everything that changes with time or by other hands: reads files that the command line or another
    /// process changed, renews the certificate at half life where the network's keys are here, forgets expired tokens.
    /// Call it several times a second, off the engine thread: four `stat` and one folder when nothing changed.
    ///
    /// # Errors
    /// What was read is not believed; what was in force stays so.
    pub fn upkeep(&self) -> Result<Upkeep, IdentityError> {
        let now = self.now();
        let mut reloaded = false;
        {
            let mut seen = lock(&self.stamps);
            let found = stamps(&self.folder);
            if *seen != found {
                self.reload(now)?;
                *seen = found;
                reloaded = true;
            }
        }
        let mut authority = lock(&self.authority);
        if let Some(authority) = authority.as_mut() {
            reloaded |= authority.refresh()?;
        }
        let live = self.current.get();
        let due = now >= live.chain.chain.node.validity().half_life();
        let mut renewal_due = due;
        if let (true, Some(holder)) = (due, authority.as_mut()) {
            if now >= holder.certificate().validity().half_life() && holder.holds_root() {
                holder.rotate_network(now)?;
            }
            let name = live.chain.chain.node.name();
            let chain = issue_own(
                &self.folder,
                holder,
                &live.trust,
                &self.keys,
                name,
                &self.options,
            )?;
            self.change(|live| Ok((chain, live.trust.clone())))?;
            (reloaded, renewal_due) = (true, false);
        }
        drop(authority);
        Ok(Upkeep {
            reloaded,
            renewal_due,
            open_tokens: self.count_tokens()?,
        })
    }

    /// Reads bundle, list and chain again and puts them in force. Trust does not wait for a chain: whoever was revoked is
    /// out even when this node's own certificate has expired.
    fn reload(&self, now: u64) -> Result<(), IdentityError> {
        let stored = state::load_trust(&self.folder, now)?;
        let chain = state::load_chain(&self.folder);
        let mut refused = Ok(());
        self.change(|live| {
            let mut trust = live.trust.clone();
            // The files may be put back by hand; what is in force does not go back with them. The list before the bundle:
            // it is written first, and both bundles believe it.
            if stored.revocations.sequence() > trust.revocations.sequence() {
                trust = trust.with_revocations(stored.revocations, now)?;
            }
            if stored.bundle.sequence() > trust.bundle.sequence() {
                trust = trust.with_bundle(stored.bundle)?;
            }
            let checked = chain.and_then(|chain| {
                chain.check(&self.keys, &trust, now)?;
                Ok(chain)
            });
            let chain = checked.unwrap_or_else(|error| {
                refused = Err(error);
                live.chain.clone()
            });
            Ok((chain, trust))
        })?;
        refused
    }

    /// Replaces what is in force by what `next` makes of it.
    fn change(
        &self,
        next: impl FnOnce(&Live) -> Result<(IssuedChain, Trust), IdentityError>,
    ) -> Result<(), IdentityError> {
        let _changing = lock(&self.changing);
        let (chain, trust) = next(&self.current.get())?;
        let sequence = trust.revocations.sequence();
        self.current.set(Live::new(&self.keys, chain, trust)?);
        // Release: see `revocation_epoch`. The list is in force before the number says so.
        self.revocation_epoch.store(sequence, Ordering::Release);
        Ok(())
    }

    /// Stores and puts in force what the issuer answered to a renewal.
    pub(super) fn renewed(&self, reply: Reply) -> Result<(), IdentityError> {
        let now = self.now();
        let _lock = self.folder.lock()?;
        self.change(|live| {
            let mut trust = live.trust.clone();
            if let Some(list) = reply.revocations
                && list.sequence() > trust.revocations.sequence()
            {
                trust = trust.with_revocations(list, now)?;
                self.folder
                    .write(state::REVOCATIONS, trust.revocations.as_bytes())?;
            }
            if reply.bundle.sequence() > trust.bundle.sequence() {
                trust = trust.with_bundle(reply.bundle)?;
                self.folder.write(state::BUNDLE, trust.bundle.as_bytes())?;
            }
            reply.chain.check(&self.keys, &trust, now)?;
            self.folder.write(state::CHAIN, &reply.chain.encode())?;
            Ok((reply.chain, trust))
        })
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

    fn count_tokens(&self) -> Result<usize, IdentityError> {
        let authority = lock(&self.authority);
        let open = match authority.as_ref() {
            Some(authority) => authority.tokens.sweep(self.now())?,
            None => 0,
        };
        self.current.set_invitations(open);
        Ok(open)
    }

    pub(super) fn now(&self) -> u64 {
        self.options.clock.now()
    }

    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) const fn node_seconds(&self) -> u64 {
        self.options.node_seconds
    }

    /// Runs `work` with the network's keys.
    pub(super) fn with_authority<R>(
        &self,
        work: impl FnOnce(&Authority) -> Result<R, IdentityError>,
    ) -> Result<R, IdentityError> {
        work(
            lock(&self.authority)
                .as_ref()
                .ok_or(IdentityError::NotAuthority)?,
        )
    }
}

/// Whether something newer was put in force: another thread may have been first with it, or with its successor.
fn newer(changed: Result<(), IdentityError>) -> Result<bool, IdentityError> {
    match changed {
        Ok(()) => Ok(true),
        Err(IdentityError::RollBack { have, offered, .. }) if offered <= have => Ok(false),
        Err(error) => Err(error),
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

fn stamps(folder: &Folder) -> [Stamp; 3] {
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
fn issue_own(
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
