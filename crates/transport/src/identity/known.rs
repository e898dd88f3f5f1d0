//! The keys of nodes whose certificates held, so that what they sign later is checked without the certificates.

use std::collections::HashMap;

use super::certificate::Validity;
use super::chain::NodeChain;
use super::falcon::FalconPublic;
use super::id::KeyId;
use super::revocation::Revoked;
use super::trust::Trust;
use crate::core::NodeId;

/// Most nodes that are remembered, about 2 KB each.
const MAX_KNOWN: usize = 16_384;

/// What is kept of a node.
#[derive(Clone, Debug)]
pub(super) struct KnownNode {
    pub(super) falcon: FalconPublic,
    pub(super) validity: Validity,
    serial: [u8; 16],
    issuer: KeyId,
}

impl KnownNode {
    pub(super) fn is_revoked(&self, node: &NodeId, trust: &Trust) -> bool {
        [
            Revoked::Node(*node),
            Revoked::Certificate(self.serial),
            Revoked::Issuer(self.issuer),
        ]
        .iter()
        .any(|entry| trust.revocations.contains(entry))
    }
}

/// The remembered nodes. When full, the one whose certificate ends first makes room.
#[derive(Debug, Default)]
pub(super) struct KnownNodes(HashMap<NodeId, KnownNode>);

impl KnownNodes {
    pub(super) fn insert(&mut self, chain: &NodeChain) {
        let id = chain.node.node_id();
        if self.0.len() >= MAX_KNOWN && !self.0.contains_key(&id) {
            let first = self
                .0
                .iter()
                .min_by_key(|(_, known)| known.validity.not_after);
            if let Some(first) = first.map(|(id, _)| *id) {
                self.0.remove(&first);
            }
        }
        self.0.insert(
            id,
            KnownNode {
                falcon: chain.node.falcon().clone(),
                validity: chain.node.validity(),
                serial: *chain.node.serial(),
                issuer: chain.network.falcon().id(),
            },
        );
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&KnownNode> {
        self.0.get(node)
    }
}
