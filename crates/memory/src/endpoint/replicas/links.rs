//! The streams to and from each peer, and what its sessions were granted.

use std::{collections::HashMap, time::Instant};

use linkmesh_transport::core::{NodeId, PeerSlot, StreamId};

use crate::{
    frame::FrameBuffer, grant::Refusals, outgoing::Outgoing, region::Rights, replica::Refusal,
};

/// Bytes that may wait for a peer's stream. What comes beyond is dropped, as a connection may drop anything: it is sent again.
pub(super) const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// Grants that the sessions of one peer may hold.
pub(super) const MAX_GRANTED: usize = 1024;

/// What a session was granted in a group.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    pub(super) base: u64,
    pub(super) length: u64,
    pub(super) rights: Rights,
    pub(super) expires: Option<Instant>,
}

impl Granted {
    /// The place in the region of `length` bytes at `offset` of the slice.
    pub(super) fn check(
        &self,
        needed: Rights,
        offset: u64,
        length: u64,
        now: Instant,
    ) -> Result<u64, Refusal> {
        if self.expires.is_some_and(|at| now >= at) {
            return Err(Refusal::Expired);
        }
        if !self.rights.contains(needed) {
            return Err(Refusal::Rights);
        }
        let end = offset.checked_add(length).ok_or(Refusal::OutOfRange)?;
        if end > self.length {
            return Err(Refusal::OutOfRange);
        }
        self.base.checked_add(offset).ok_or(Refusal::OutOfRange)
    }
}

/// One peer's connection, or this node's own end for what it says to itself.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) node: NodeId,
    /// `None`: this node itself.
    pub(super) slot: Option<PeerSlot>,
    pub(super) to: Option<StreamId>,
    pub(super) from: Option<StreamId>,
    pub(super) input: FrameBuffer,
    pub(super) output: Outgoing,
    /// By group and session.
    pub(super) granted: HashMap<(u128, u128), Granted>,
    pub(super) refusals: Refusals,
}

impl Link {
    pub(super) fn new(node: NodeId, slot: Option<PeerSlot>) -> Self {
        Self {
            node,
            slot,
            to: None,
            from: None,
            input: FrameBuffer::default(),
            output: Outgoing::default(),
            granted: HashMap::new(),
            refusals: Refusals::default(),
        }
    }
}

/// A connection as a number.
pub(super) fn key_of(slot: PeerSlot) -> u64 {
    u64::from(slot.generation) << 32 | u64::from(slot.index)
}

/// What this node says to itself.
pub(super) const OWN: u64 = u64::MAX;
