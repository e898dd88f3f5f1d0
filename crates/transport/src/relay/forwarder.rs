//! The relay's side: which packets go where.

use std::collections::HashMap;
use std::time::Instant;

use super::packet::RelayId;
use super::quota::{Allowance, Quota};
use crate::core::{NodeId, PeerSlot};

/// Sessions of all members together.
const MAX_SESSIONS: usize = 16_384;

/// Members whose allowance is remembered: twice what may have sessions at once.
const MAX_ALLOWANCES: usize = 4 * MAX_SESSIONS;
/// So few are not worth a look.
const FEW: usize = 64;

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
    /// By identity, not by connection: who reconnects goes on with what it had left.
    allowances: HashMap<NodeId, Allowance>,
    /// So many allowances are looked through for those that need not be kept.
    tidy_at: usize,
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
        self.tidy(now);
        if self.legs.len() / 2 >= MAX_SESSIONS || self.allowances.len() + 2 > MAX_ALLOWANCES {
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
        for node in [from.1, to.1] {
            if let Some(allowance) = self.allowances.get_mut(&node) {
                allowance.legs += 1;
            }
        }
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
        for node in [leg.node, other.node] {
            if let Some(allowance) = self.allowances.get_mut(&node) {
                allowance.legs = allowance.legs.saturating_sub(1);
            }
        }
        Some((other.peer, leg.other))
    }

    /// Forgets the allowances that are as good as new ones: a second after a member's last packet, at the next look. A look at all of
    /// them comes when they are twice as many as the last one left, so it costs each session a constant.
    fn tidy(&mut self, now: Instant) {
        if self.allowances.len() + 2 <= self.tidy_at.clamp(FEW, MAX_ALLOWANCES) {
            return;
        }
        self.allowances
            .retain(|_, allowance| !allowance.is_untouched(now));
        self.tidy_at = self.allowances.len() * 2;
    }

    /// Ends all sessions of a connection; the other ends. What the member has used of its quota stays used.
    pub(super) fn disconnected(&mut self, peer: PeerSlot) -> Vec<(PeerSlot, RelayId)> {
        let mine = |(id, leg): (&RelayId, &Leg)| (leg.peer == peer).then_some(*id);
        let ids: Vec<RelayId> = self.legs.iter().filter_map(mine).collect();
        ids.into_iter()
            .filter_map(|id| self.close(id, peer))
            .collect()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const QUOTA: Quota = Quota {
        sessions: 2,
        packets_per_second: 100,
        bytes_per_second: 1 << 20,
    };

    fn member(number: u32) -> (PeerSlot, NodeId) {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        let slot = PeerSlot {
            index: number,
            generation: 0,
        };
        (slot, NodeId(id))
    }

    fn relay_id(number: u64) -> RelayId {
        let mut id = RelayId([0; _]);
        id.0[..8].copy_from_slice(&number.to_le_bytes());
        id
    }

    /// A session between two members, by the id of its first end.
    fn open(
        forwarder: &mut Forwarder,
        from: (PeerSlot, NodeId),
        to: u32,
        id: u64,
        now: Instant,
    ) -> Result<RelayId, NoSession> {
        let ids = [id * 2, id * 2 + 1].map(relay_id);
        forwarder.open(from, member(to), ids, now)?;
        Ok(ids[0])
    }

    fn passed(forwarder: &mut Forwarder, id: RelayId, now: Instant) -> usize {
        (0..1000)
            .take_while(|_| forwarder.forward(id, 100, now).is_some())
            .count()
    }

    #[test]
    fn who_reconnects_has_what_was_left_and_no_more() {
        let now = Instant::now();
        let mut forwarder = Forwarder::default();
        forwarder.set_quota(QUOTA);
        let first = open(&mut forwarder, member(1), 2, 1, now).unwrap();
        assert_eq!(passed(&mut forwarder, first, now), 100);
        for round in 2..50 {
            assert_eq!(forwarder.disconnected(member(1).0).len(), 1);
            // Another connection of the same identity, each time.
            let again = PeerSlot {
                index: 1000,
                generation: round,
            };
            let id = open(&mut forwarder, (again, member(1).1), 2, round.into(), now).unwrap();
            assert_eq!(passed(&mut forwarder, id, now), 0, "round {round}");
            forwarder.disconnected(again);
            forwarder.disconnected(member(1).0);
            let id = open(&mut forwarder, member(1), 2, 1000 + u64::from(round), now).unwrap();
            assert_eq!(passed(&mut forwarder, id, now), 0);
        }
        forwarder.disconnected(member(1).0);
        let later = now + Duration::from_millis(500);
        let id = open(&mut forwarder, member(1), 2, 5000, later).unwrap();
        assert_eq!(passed(&mut forwarder, id, later), 50, "what time brings");
        assert_eq!(forwarder.stats().sessions, 1);
    }

    #[test]
    fn who_left_long_ago_is_forgotten_and_who_has_a_session_is_not() {
        let start = Instant::now();
        let mut forwarder = Forwarder::default();
        forwarder.set_quota(QUOTA);
        let kept = open(&mut forwarder, member(1), 2, 1, start).unwrap();
        let mut now = start;
        for number in 10..10_000 {
            now += Duration::from_millis(20);
            let id = open(&mut forwarder, member(number), 2, number.into(), now).unwrap();
            assert!(forwarder.forward(id, 100, now).is_some());
            forwarder.disconnected(member(number).0);
            assert!(forwarder.allowances.len() <= 2 * FEW + 2, "{number}");
        }
        assert_eq!(passed(&mut forwarder, kept, now), 100, "never forgotten");
    }

    #[test]
    fn those_that_cannot_be_remembered_are_refused() {
        let now = Instant::now();
        let mut forwarder = Forwarder::default();
        forwarder.set_quota(QUOTA);
        let mut number = 10;
        // All at once, and each has used some.
        let refused = loop {
            let session = open(&mut forwarder, member(number), 2, number.into(), now);
            let Ok(id) = session else { break number };
            forwarder.forward(id, 100, now);
            forwarder.disconnected(member(number).0);
            number += 1;
            assert!(number < 1_000_000, "a bound");
        };
        assert!(forwarder.allowances.len() <= MAX_ALLOWANCES);
        let later = now + Duration::from_secs(1);
        assert!(open(&mut forwarder, member(refused), 2, 1, later).is_ok());
        assert!(forwarder.allowances.len() < FEW);
    }
}
