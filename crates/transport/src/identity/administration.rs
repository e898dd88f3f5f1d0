//! What the holder of a network's keys does with them. Elsewhere every one of these is refused.

use super::authority::{Authority, IssuedNode};
use super::error::IdentityError;
use super::node_identity::{NodeIdentity, issue_own, lock};
use super::revocation::{RevocationList, Revoked};
use super::state;
use super::token::JoinToken;
use crate::core::NodeId;

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

impl NodeIdentity {
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
        let list = self.with_authority(|authority| authority.revoke(revoked, self.now()))?;
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
            let trust = state::load_trust(&self.folder)?;
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
        self.with_authority(|authority| authority.issued(&self.current.get().trust))
    }

    /// Forgets expired tokens and says how many are open; while there are none, joiners are refused in the handshake.
    pub(super) fn count_tokens(&self) -> Result<usize, IdentityError> {
        let authority = lock(&self.authority);
        let open = match authority.as_ref() {
            Some(authority) => authority.tokens.sweep(self.now())?,
            None => 0,
        };
        self.current.set_invitations(open);
        Ok(open)
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
