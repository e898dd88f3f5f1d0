//! A question that other nodes were asked, and whom it is answered to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::global_address::NodeField;
use super::signed_locator::SignedLocator;
use crate::core::{NodeId, PeerSlot};

/// How an address was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is this node.
    Own,
    /// The node is connected.
    Connected(PeerSlot),
    /// Its record was known.
    Cache,
    /// This node knew it.
    Peer(NodeId),
}

/// What whoever resolves an address is told. Exactly one of the last kinds ends it: everything but a [`Candidate`](Self::Candidate).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A record that another node sent and nobody has verified: verify it (150 µs, not on the engine's threads), then give
    /// it to [`Locators::install`](super::Locators::install).
    Candidate {
        /// Who sent it.
        from: NodeId,
        /// What it sent.
        record: Arc<SignedLocator>,
    },
    /// It is this node. A node that only dials is known while it is connected, and has no record.
    Known {
        /// Which node.
        node: NodeId,
        /// Where it is.
        record: Option<Arc<SignedLocator>>,
        /// How that is known.
        source: Source,
    },
    /// Two nodes have this address: only their full ids tell them apart.
    Collision([NodeId; 2]),
    /// Everybody who was asked has answered: what was sent as candidates is all there is.
    End,
}

/// One question under way.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) field: NodeField,
    pub(super) waiting: Vec<Sender<Reply>>,
    /// Who has not said everything yet.
    pub(super) asked: BTreeSet<PeerSlot>,
    /// Somebody did not answer, or sent a record: that nobody knows is not sure.
    pub(super) doubtful: bool,
    pub(super) until: Instant,
}

impl Query {
    /// Tells everybody who waits; who does not wait any more is forgotten.
    pub(super) fn tell(&mut self, reply: &Reply) {
        self.waiting
            .retain(|waiting| waiting.send(reply.clone()).is_ok());
    }
}
