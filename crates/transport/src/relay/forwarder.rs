//! The relay's side: which packets go where.

use std::collections::HashMap;
use std::time::Instant;

use super::packet::RelayId;
use super::quota::{Allowance, Quota};
use crate::core::{NodeId, PeerSlot};

/// Sessions of all members together.
const MAX_SESSIONS: usize = 16_384;

/// One end of a session.
#[derive(Debug, Clone, Copy)]
struct Leg {
    /// The connection that this end is.
    peer: PeerSlot,
    node: NodeId,
    /// The other end.
    other: RelayId,
    /// It asked for the session, which counts among its own. Nobody uses up what another may open.
    asked: bool,
}

/// What it has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwarderStats {
    /// Sessions open now.
    pub sessions: u64,
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded, headers and all.
    pub bytes: u64,
    /// Packets dropped because a member had used up its quota.
    pub over_quota: u64,
    /// Packets dropped because they came from elsewhere than the member's connection.
    pub strays: u64,
    /// Packets dropped because too many waited.
    pub overflow: u64,
}

/// There is no session: the asker's quota is used up, or all members together have as many as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSession;

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forward {
    /// To this connection.
    pub(super) to: PeerSlot,
    /// With this id.
    pub(super) id: RelayId,
}

#[derive(Debug, Default)]
pub(super) struct Forwarder {
    quota: Quota,
    legs: HashMap<RelayId, Leg>,
    allowances: HashMap<NodeId, Allowance>,
    pub(super) stats: ForwarderStats,
}

impl Forwarder {
    pub(super) fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
    }

    pub(super) fn stats(&self) -> ForwarderStats {
        ForwarderStats {
            sessions: self.legs.len() as u64 / 2,
            ..self.stats
        }
    }

    /// Opens a session between two connected members. The asker's quota pays for it.
    pub(super) fn open(
        &mut self,
        from: (PeerSlot, NodeId),
        to: (PeerSlot, NodeId),
        ids: [RelayId; 2],
        now: Instant,
    ) -> Result<(), NoSession> {
        if self.legs.len() / 2 >= MAX_SESSIONS {
            return Err(NoSession);
        }
        for node in [from.1, to.1] {
            self.allowances
                .entry(node)
                .or_insert_with(|| Allowance::new(&self.quota, now));
        }
        let asker = self.allowances.get_mut(&from.1).ok_or(NoSession)?;
        if asker.sessions >= self.quota.sessions {
            return Err(NoSession);
        }
        asker.sessions += 1;
        let leg = |(peer, node), other, asked| Leg {
            peer,
            node,
            other,
            asked,
        };
        self.legs.insert(ids[0], leg(from, ids[1], true));
        self.legs.insert(ids[1], leg(to, ids[0], false));
        Ok(())
    }

    /// Ends a session; the other end's connection and id, to be told.
    pub(super) fn close(&mut self, id: RelayId, by: PeerSlot) -> Option<(PeerSlot, RelayId)> {
        if self.legs.get(&id)?.peer != by {
            return None;
        }
        let leg = self.legs.remove(&id)?;
        let other = self.legs.remove(&leg.other)?;
        let asker = if leg.asked { leg.node } else { other.node };
        if let Some(allowance) = self.allowances.get_mut(&asker) {
            allowance.sessions = allowance.sessions.saturating_sub(1);
        }
        Some((other.peer, leg.other))
    }

    /// Ends all sessions of a connection; the other ends.
    pub(super) fn disconnected(
        &mut self,
        peer: PeerSlot,
        last: Option<NodeId>,
    ) -> Vec<(PeerSlot, RelayId)> {
        let mine = |(id, leg): (&RelayId, &Leg)| (leg.peer == peer).then_some(*id);
        let ids: Vec<RelayId> = self.legs.iter().filter_map(mine).collect();
        let others = ids.into_iter().filter_map(|id| self.close(id, peer));
        let others = others.collect();
        if let Some(node) = last
            && self
                .allowances
                .get(&node)
                .is_some_and(|allowance| allowance.sessions == 0)
        {
            self.allowances.remove(&node);
        }
        others
    }

    /// Whose packet this is, if it is one of a session here.
    pub(super) fn sender(&self, id: RelayId) -> Option<PeerSlot> {
        Some(self.legs.get(&id)?.peer)
    }

    /// Where a packet goes, taken from its sender's quota.
    pub(super) fn forward(&mut self, id: RelayId, bytes: usize, now: Instant) -> Option<Forward> {
        let leg = self.legs.get(&id)?;
        let other = self.legs.get(&leg.other)?;
        if !self.allowances.get_mut(&leg.node)?.take(bytes, now) {
            self.stats.over_quota += 1;
            return None;
        }
        self.stats.packets += 1;
        self.stats.bytes += bytes as u64;
        Some(Forward {
            to: other.peer,
            id: leg.other,
        })
    }
}
