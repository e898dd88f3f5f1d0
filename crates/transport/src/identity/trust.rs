//! Whom a node believes: the roots, less whoever is revoked. Immutable; a change makes a new one.

use super::bundle::TrustBundle;
use super::certificate::{Certificate, Role};
use super::error::IdentityError;
use super::falcon::FalconPublic;
use super::revocation::{RevocationList, Revoked};

/// Roots and revocations, as they are in force together.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) bundle: TrustBundle,
    pub(super) revocations: RevocationList,
}

impl Trust {
    /// Nobody revoked yet.
    pub(super) fn new(bundle: TrustBundle) -> Self {
        let revocations = RevocationList::empty(bundle.network());
        Self {
            bundle,
            revocations,
        }
    }

    /// Refuses a network certificate unless a root of the bundle, itself valid, signed it for this network and nobody
    /// revoked it. Cost: one signature verification.
    pub(super) fn check_network(
        &self,
        network: &Certificate,
        now: u64,
    ) -> Result<(), IdentityError> {
        let id = self.bundle.network();
        network.check_use(Role::Network, &id, now)?;
        let root = self
            .bundle
            .root(&network.issuer())
            .ok_or(IdentityError::UnknownIssuer {
                object: "network certificate",
            })?;
        root.certificate.check_use(Role::Root, &id, now)?;
        self.revocations
            .check(&Revoked::Issuer(network.falcon().id()))?;
        self.revocations
            .check(&Revoked::Certificate(*network.serial()))?;
        network.check_signature(root.certificate.falcon())
    }

    /// Refuses a node certificate unless the chain network → root holds and nobody revoked the node. Cost: two
    /// signature verifications, about 100 µs.
    pub(super) fn check_node(
        &self,
        node: &Certificate,
        network: &Certificate,
        now: u64,
    ) -> Result<(), IdentityError> {
        node.check_use(Role::Node, &self.bundle.network(), now)?;
        self.revocations.check(&Revoked::Node(node.node_id()))?;
        self.revocations
            .check(&Revoked::Certificate(*node.serial()))?;
        self.check_network(network, now)?;
        node.check_signature(network.falcon())
    }

    /// This trust with another revocation list.
    ///
    /// A list is believed when a root of the bundle signed it, or a network key that this trust believes. A network key
    /// can only add: a list that lacks an older entry is believed from a root alone, so that a stolen network key cannot
    /// un-revoke itself or anybody.
    pub(super) fn with_revocations(&self, list: RevocationList) -> Result<Self, IdentityError> {
        const OBJECT: &str = "revocation list";
        if list.network() != self.bundle.network() {
            return Err(IdentityError::WrongNetwork { object: OBJECT });
        }
        if list.sequence() <= self.revocations.sequence() {
            return Err(IdentityError::RollBack {
                object: OBJECT,
                have: self.revocations.sequence(),
                offered: list.sequence(),
            });
        }
        let Some(envelope) = list.envelope()? else {
            return Err(IdentityError::BadSignature { object: OBJECT });
        };
        let signer: &FalconPublic = match list.issuer() {
            None => {
                let root = self.bundle.root(&envelope.signer);
                root.ok_or(IdentityError::UnknownIssuer { object: OBJECT })?
                    .certificate
                    .falcon()
            }
            Some(network) => {
                // As of when it was signed: a list outlives the certificate of the key that signed it.
                self.check_network(network, list.issued())?;
                let kept = |(revoked, _): &(Revoked, u64)| list.contains(revoked);
                if !self.revocations.entries().iter().all(kept) {
                    return Err(IdentityError::RollBack {
                        object: OBJECT,
                        have: self.revocations.sequence(),
                        offered: list.sequence(),
                    });
                }
                network.falcon()
            }
        };
        envelope.verify(signer)?;
        Ok(Self {
            bundle: self.bundle.clone(),
            revocations: list,
        })
    }

    /// This trust with the bundle that follows.
    pub(super) fn with_bundle(&self, bundle: TrustBundle) -> Result<Self, IdentityError> {
        bundle.check_successor_of(&self.bundle)?;
        Ok(Self {
            bundle,
            revocations: self.revocations.clone(),
        })
    }
}
