//! Every session of a server, attached or waiting for its client to come back.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use linkmesh_transport::core::{NodeId, StreamId};

use super::Window;
use crate::{
    bulk,
    frame::{Attach, Attached},
    server::HandleTable,
};

/// How many sessions there may be, and for how long without a connection.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Sessions of one node, attached or not.
    pub per_node: usize,
    /// Sessions of all nodes.
    pub total: usize,
    /// How long a session outlives its connection.
    pub lease: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            per_node: 64,
            total: 65_536,
            lease: Duration::from_secs(60),
        }
    }
}

/// Why a connection could not enter a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The session belongs to another node.
    WrongNode,
    /// A newer connection of the client entered it already.
    Late,
    /// The node has as many sessions as it may.
    PerNode(usize),
    /// The server has as many sessions as it may.
    Total(usize),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongNode => f.write_str("the session belongs to another node"),
            Self::Late => f.write_str("a newer connection of the client holds the session"),
            Self::PerNode(limit) => write!(f, "the node has {limit} sessions, which is the limit"),
            Self::Total(limit) => write!(f, "the server has {limit} sessions, which is the limit"),
        }
    }
}

impl std::error::Error for AttachError {}

/// One connection's hold on a session. When another connection attaches, the hold is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionKey {
    slot: u32,
    attachment: u64,
}

/// A client's results and its handles.
#[derive(Debug)]
pub(crate) struct Session {
    id: u128,
    node: NodeId,
    attachment: u64,
    /// Number of its making.
    incarnation: u64,
    /// [`Attach::attempt`] of the connection that entered last.
    attempt: u64,
    /// Since when no connection holds it.
    detached: Option<Instant>,
    pub(crate) window: Window,
    pub(crate) handles: HandleTable,
    /// Bulk transfers, once there were any.
    pub(crate) transfers: Option<Box<bulk::Server<StreamId>>>,
}

/// All sessions of one server process.
#[derive(Debug)]
pub struct Sessions {
    boot_epoch: u128,
    limits: SessionLimits,
    slots: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    by_id: HashMap<u128, u32>,
    by_node: HashMap<NodeId, usize>,
    attachments: u64,
    /// Sessions made so far.
    incarnations: u64,
    /// No lease ends before this.
    next_end: Option<Instant>,
}

impl Sessions {
    /// None yet. `boot_epoch` is random and new in each process.
    pub fn new(boot_epoch: u128, limits: SessionLimits) -> Self {
        Self {
            boot_epoch,
            limits,
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            by_node: HashMap::new(),
            attachments: 0,
            incarnations: 0,
            next_end: None,
        }
    }

    /// Sessions there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// A connection of `node` enters the session, or makes it. A connection that held it before holds it no more.
    ///
    /// # Errors
    /// [`AttachError`]; nothing changes then.
    pub fn attach(
        &mut self,
        node: &NodeId,
        attach: Attach,
        now: Instant,
    ) -> Result<(SessionKey, Attached), AttachError> {
        self.end_leases(now);
        let lease_ms = u32::try_from(self.limits.lease.as_millis()).unwrap_or(u32::MAX);
        let attachment = self.attachments + 1;
        let known = self.by_id.get(&attach.session).copied();
        let known = known.and_then(|slot| Some((slot, self.slots[slot as usize].as_mut()?)));
        let (slot, incarnation) = match known {
            Some((slot, session)) => {
                if session.node != *node {
                    return Err(AttachError::WrongNode);
                }
                if attach.attempt <= session.attempt {
                    return Err(AttachError::Late);
                }
                session.attempt = attach.attempt;
                session.attachment = attachment;
                session.detached = None;
                session.window.acknowledge(attach.ack_below);
                (slot, session.incarnation)
            }
            None => (self.insert(node, attach, attachment)?, self.incarnations),
        };
        self.attachments = attachment;
        let attached = Attached {
            boot_epoch: self.boot_epoch,
            incarnation,
            lease_ms,
        };
        Ok((SessionKey { slot, attachment }, attached))
    }

    fn insert(
        &mut self,
        node: &NodeId,
        attach: Attach,
        attachment: u64,
    ) -> Result<u32, AttachError> {
        if self.by_id.len() >= self.limits.total {
            return Err(AttachError::Total(self.limits.total));
        }
        let count = self.by_node.entry(*node).or_default();
        if *count >= self.limits.per_node {
            return Err(AttachError::PerNode(self.limits.per_node));
        }
        *count += 1;
        self.incarnations += 1;
        let session = Box::new(Session {
            id: attach.session,
            node: *node,
            attachment,
            incarnation: self.incarnations,
            attempt: attach.attempt,
            detached: None,
            window: Window::new(attach.ack_below),
            handles: HandleTable::default(),
            transfers: None,
        });
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(session);
        self.by_id.insert(attach.session, slot);
        Ok(slot)
    }

    /// The session, if the connection still holds it.
    #[inline]
    pub(crate) fn get(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.slots
            .get_mut(key.slot as usize)?
            .as_deref_mut()
            .filter(|session| session.attachment == key.attachment)
    }

    /// The connection is gone: the lease runs from now.
    pub fn detach(&mut self, key: SessionKey, now: Instant) {
        let lease = self.limits.lease;
        let Some(session) = self.get(key) else { return };
        session.detached = Some(now);
        // Nothing that was said under this hold counts any more.
        session.attachment = 0;
        let end = now + lease;
        self.next_end = Some(self.next_end.map_or(end, |next| next.min(end)));
    }

    /// The client said that the session is over.
    pub fn end(&mut self, key: SessionKey) {
        if self.get(key).is_some() {
            self.remove(key.slot);
        }
    }

    /// Ends every session of a node whose certificate was revoked. Connections that held one hold nothing any more.
    pub fn end_node(&mut self, node: &NodeId) {
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize]
                .as_ref()
                .is_some_and(|session| session.node == *node)
            {
                self.remove(slot);
            }
        }
    }

    /// When [`end_leases`](Self::end_leases) may have something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.next_end
    }

    /// Ends the sessions whose lease is over.
    pub fn end_leases(&mut self, now: Instant) {
        if self.next_end.is_none_or(|end| now < end) {
            return;
        }
        self.next_end = None;
        for slot in 0..self.slots.len() as u32 {
            let Some(detached) = self.slots[slot as usize]
                .as_ref()
                .and_then(|session| session.detached)
            else {
                continue;
            };
            let end = detached + self.limits.lease;
            if end <= now {
                self.remove(slot);
            } else {
                self.next_end = Some(self.next_end.map_or(end, |next| next.min(end)));
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        let Some(session) = self.slots[slot as usize].take() else {
            return;
        };
        self.by_id.remove(&session.id);
        self.free.push(slot);
        if let Some(count) = self.by_node.get_mut(&session.node) {
            *count -= 1;
            if *count == 0 {
                self.by_node.remove(&session.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);
    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    fn attach(session: u128) -> Attach {
        again(session, 1)
    }

    fn again(session: u128, attempt: u64) -> Attach {
        Attach {
            session,
            ack_below: 0,
            attempt,
        }
    }

    #[test]
    fn a_session_survives_its_connection_until_the_lease_is_over() {
        let start = Instant::now();
        let lease = LEASE;
        let mut sessions = Sessions::new(7, SessionLimits::default());
        let (first, attached) = sessions.attach(&A, attach(1), start).unwrap();
        assert_eq!(
            attached,
            Attached {
                boot_epoch: 7,
                incarnation: 1,
                lease_ms: 60_000
            }
        );
        sessions.detach(first, start);
        assert!(sessions.get(first).is_none());
        let (second, attached) = sessions.attach(&A, again(1, 2), start + lease / 2).unwrap();
        assert_eq!(attached.incarnation, 1);
        // While a connection holds it, it does not end.
        sessions.end_leases(start + 10 * lease);
        assert!(sessions.get(second).is_some());
        sessions.detach(second, start + 10 * lease);
        assert!(
            sessions
                .deadline()
                .is_some_and(|at| at <= start + 11 * lease)
        );
        let (_, attached) = sessions
            .attach(&A, again(1, 3), start + 11 * lease)
            .unwrap();
        assert_eq!(attached.incarnation, 2);
    }

    #[test]
    fn another_node_cannot_enter_and_an_older_connection_holds_nothing() {
        let now = Instant::now();
        let mut sessions = Sessions::new(7, SessionLimits::default());
        let (old, _) = sessions.attach(&A, attach(1), now).unwrap();
        assert_eq!(
            sessions.attach(&B, attach(1), now),
            Err(AttachError::WrongNode)
        );
        assert!(sessions.get(old).is_some());
        let (new, attached) = sessions.attach(&A, again(1, 3), now).unwrap();
        assert!(
            attached.incarnation == 1 && sessions.get(old).is_none() && sessions.get(new).is_some()
        );
        assert_eq!(
            sessions.attach(&A, again(1, 2), now),
            Err(AttachError::Late)
        );
        // The old connection's end is noticed late and must not start the lease.
        sessions.detach(old, now);
        assert!(sessions.get(new).is_some() && sessions.deadline().is_none());
    }

    #[test]
    fn there_are_as_many_as_allowed_and_room_again_after_an_end() {
        let now = Instant::now();
        let limits = SessionLimits {
            per_node: 2,
            total: 3,
            ..SessionLimits::default()
        };
        let mut sessions = Sessions::new(7, limits);
        let (one, _) = sessions.attach(&A, attach(1), now).unwrap();
        sessions.attach(&A, attach(2), now).unwrap();
        assert_eq!(
            sessions.attach(&A, attach(3), now),
            Err(AttachError::PerNode(2))
        );
        sessions.attach(&B, attach(4), now).unwrap();
        assert_eq!(
            sessions.attach(&B, attach(5), now),
            Err(AttachError::Total(3))
        );
        sessions.end(one);
        sessions.attach(&B, attach(5), now).unwrap();
        sessions.end_node(&B);
        assert_eq!(sessions.len(), 1);
        assert!(
            sessions.get(one).is_none(),
            "a slot used again is not the old connection's"
        );
    }
}
