//! Everything that changes while a node runs: by time, by other processes on its folder, by what peers send.

use std::sync::atomic::Ordering;

use super::bundle::TrustBundle;
use super::chain::IssuedChain;
use super::error::IdentityError;
use super::join::Reply;
use super::node_identity::{NodeIdentity, issue_own, lock, stamps};
use super::revocation::RevocationList;
use super::state;
use super::tls::Live;
use super::trust::Trust;

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

impl NodeIdentity {
    /// Takes a list that a peer sent, stores it and puts it in force. A list that is not newer changes nothing.
    ///
    /// # Errors
    /// The list is not believed, belongs to another network, or lacks what an older one had.
    pub fn install_revocations(&self, bytes: &[u8]) -> Result<bool, IdentityError> {
        let list = RevocationList::decode(bytes)?;
        if list.network() != self.network() {
            return Err(IdentityError::WrongNetwork {
                object: "revocation list",
            });
        }
        if list.sequence() <= self.revocation_epoch() {
            return Ok(false);
        }
        let _lock = self.folder.lock()?;
        newer(self.change(|live| {
            let trust = live.trust.with_revocations(list)?;
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
        if bundle.network() != self.network() {
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
        let stored = state::load_trust(&self.folder)?;
        let chain = state::load_chain(&self.folder);
        let mut refused = Ok(());
        self.change(|live| {
            let mut trust = live.trust.clone();
            // The files may be put back by hand; what is in force does not go back with them. The list before the bundle:
            // it is written first, and both bundles believe it.
            if stored.revocations.sequence() > trust.revocations.sequence() {
                trust = trust.with_revocations(stored.revocations)?;
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
                trust = trust.with_revocations(list)?;
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
}

/// Whether something newer was put in force: another thread may have been first with it, or with its successor.
fn newer(changed: Result<(), IdentityError>) -> Result<bool, IdentityError> {
    match changed {
        Ok(()) => Ok(true),
        Err(IdentityError::RollBack { have, offered, .. }) if offered <= have => Ok(false),
        Err(error) => Err(error),
    }
}
