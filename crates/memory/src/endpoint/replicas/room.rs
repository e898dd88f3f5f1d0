//! Who is where, and which packet goes where.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use linkmesh_transport::core::{Direction, Io, NodeId, PeerSlot, Reading, StreamError, StreamId};

use super::{
    hosted::Hosted,
    imports::Import,
    links::{Link, MAX_OUTPUT, OWN, key_of},
    over::Over,
};
use crate::{
    endpoint::{
        CLOSE_GUESSING, CLOSE_PROTOCOL, CompletionQueues, PRIORITY, REPLICAS, RemoteId, peers::send,
    },
    frame::{Decoded, FrameError, Step},
    grant::{Moment, Verifier},
    replica::{Malformed, Message, Packet, Setup},
};

/// Who speaks, over which connection, about which group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Talk {
    pub(super) key: u64,
    pub(super) node: NodeId,
    pub(super) group: u128,
}

/// What handling a packet needs from the endpoint.
pub(in crate::endpoint) struct Around<'a> {
    pub(in crate::endpoint) verifier: &'a dyn Verifier,
    pub(in crate::endpoint) moment: Moment,
    /// A number for import number so-and-so of this room.
    pub(in crate::endpoint) remotes: &'a mut dyn FnMut(u16) -> RemoteId,
    pub(in crate::endpoint) queues: &'a mut CompletionQueues,
}

/// Everything of this node that concerns replicated regions.
#[derive(Debug)]
pub(in crate::endpoint) struct Replicas {
    pub(super) node: NodeId,
    /// Bytes that regions of other nodes may take here.
    pub(super) accepted_bytes: u64,
    pub(super) hosted: HashMap<u128, Hosted>,
    /// Memberships of this node that are over.
    pub(super) over: Over,
    pub(super) imports: Vec<Option<Import>>,
    pub(super) links: HashMap<u64, Link>,
    /// The connection in use, by node.
    by_node: HashMap<NodeId, u64>,
    /// To a connection, or to a node, whatever connection leads there.
    pub(super) queue: VecDeque<(Result<u64, NodeId>, u128, Packet)>,
}

impl Replicas {
    pub(in crate::endpoint) fn new(node: NodeId) -> Self {
        let own = Link::new(node, None);
        Self {
            node,
            accepted_bytes: 0,
            hosted: HashMap::new(),
            over: Over::default(),
            imports: Vec::new(),
            links: HashMap::from([(OWN, own)]),
            by_node: HashMap::from([(node, OWN)]),
            queue: VecDeque::new(),
        }
    }

    pub(in crate::endpoint) fn accept(&mut self, bytes: u64) {
        self.accepted_bytes = bytes;
    }

    pub(super) fn say(&mut self, node: NodeId, group: u128, packet: Packet) {
        self.queue.push_back((Err(node), group, packet));
    }

    /// True while there is nothing to do: no group, no import, nobody who speaks.
    fn is_idle(&self) -> bool {
        self.hosted.is_empty() && self.imports.is_empty() && self.queue.is_empty()
    }

    pub(in crate::endpoint) fn connected(&mut self, slot: PeerSlot, node: NodeId) {
        if node == self.node {
            return;
        }
        let key = key_of(slot);
        self.links.insert(key, Link::new(node, Some(slot)));
        self.by_node.insert(node, key);
        self.members_connected(node);
        self.imports_connected(node);
    }

    pub(in crate::endpoint) fn disconnected(&mut self, slot: PeerSlot) {
        let key = key_of(slot);
        let Some(gone) = self.links.remove(&key) else {
            return;
        };
        if self.by_node.get(&gone.node) != Some(&key) {
            return;
        }
        self.by_node.remove(&gone.node);
        // Another connection may lead there.
        let other = self
            .links
            .iter()
            .find(|(_, link)| link.node == gone.node)
            .map(|(key, _)| *key);
        if let Some(other) = other {
            self.by_node.insert(gone.node, other);
            self.imports_connected(gone.node);
        }
    }

    /// A peer opened its stream.
    pub(in crate::endpoint) fn opened(&mut self, slot: PeerSlot, stream: StreamId) -> Reading {
        match self.links.get_mut(&key_of(slot)) {
            Some(link) if link.from.is_none() && !stream.is_bidirectional() => {
                link.from = Some(stream);
                Reading::Ordered
            }
            _ => Reading::Refuse,
        }
    }

    /// True if the stream is one of these.
    #[inline]
    pub(in crate::endpoint) fn owns(&self, slot: PeerSlot, stream: StreamId) -> bool {
        self.links
            .get(&key_of(slot))
            .is_some_and(|link| link.to == Some(stream) || link.from == Some(stream))
    }

    /// Bytes came on a peer's stream.
    pub(in crate::endpoint) fn received(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        bytes: &[u8],
        around: &mut Around<'_>,
    ) {
        let key = key_of(slot);
        let Some(link) = self.links.get_mut(&key) else {
            return;
        };
        let node = link.node;
        let mut input = std::mem::take(&mut link.input);
        let mut is_welcome = true;
        let result = input.feed(bytes, |rest| match Packet::decode(rest) {
            Ok(Decoded::Frame((group, packet), length)) => {
                let talk = Talk { key, node, group };
                is_welcome &= self.heard(talk, packet, around);
                Ok(Step::Consumed(length))
            }
            Ok(Decoded::Needs(whole)) => Ok(Step::Needs(whole)),
            Err(Malformed) => Err(FrameError::Reserved),
        });
        if let Some(link) = self.links.get_mut(&key) {
            link.input = input;
        }
        if !is_welcome {
            io.close(slot, CLOSE_GUESSING);
        } else if result.is_err() {
            io.close(slot, CLOSE_PROTOCOL);
        }
        self.flush(io, around);
    }

    /// False if the peer has guessed often enough.
    fn heard(&mut self, talk: Talk, packet: Packet, around: &mut Around<'_>) -> bool {
        let now = around.moment.instant;
        match packet {
            Packet::Setup(create @ Setup::Create { .. }) => self.asked_to_join(talk, create, now),
            Packet::Setup(Setup::Ended) => self.told_of_end(talk),
            Packet::Setup(Setup::Declined) => self.declined(talk.node, talk.group, around.queues),
            Packet::Setup(Setup::Present { session, grant }) => {
                return self.presented(talk, session, &grant, around.verifier, around.moment);
            }
            Packet::Setup(Setup::Presented { session, result }) => {
                self.import_answered(talk, session, result, now, around.remotes, around.queues);
            }
            Packet::Message(message) => match message {
                Message::Reply { session, .. } | Message::NotPrimary { session, .. } => {
                    self.client_heard(talk, session, message, now, around.queues);
                }
                _ => self.member_heard(talk, message, now, around.queues),
            },
        }
        true
    }

    /// Time has passed.
    pub(in crate::endpoint) fn timeout(&mut self, io: &mut Io<'_>, around: &mut Around<'_>) {
        if self.is_idle() {
            return;
        }
        let now = around.moment.instant;
        self.members_timeout(now, around.queues);
        self.clients_timeout(now, around.queues);
        self.flush(io, around);
    }

    /// When [`timeout`](Self::timeout) has something to do.
    pub(in crate::endpoint) fn deadline(&self) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        let hosted = self.hosted.values().filter_map(Hosted::deadline).min();
        hosted.into_iter().chain(self.clients_deadline()).min()
    }

    /// Carries what was said: to this node itself at once, to others as far as their streams take it.
    pub(in crate::endpoint) fn flush(&mut self, io: &mut Io<'_>, around: &mut Around<'_>) {
        let mut touched = Vec::new();
        while let Some((to, group, packet)) = self.queue.pop_front() {
            let key = match to {
                Ok(key) => Some(key),
                Err(node) => self.by_node.get(&node).copied(),
            };
            let Some(key) = key else {
                self.not_sent(group, &packet);
                continue;
            };
            if key == OWN {
                let node = self.node;
                self.heard(Talk { key, node, group }, packet, around);
                continue;
            }
            if let Some(link) = self.links.get_mut(&key)
                && link.output.len() < MAX_OUTPUT
            {
                packet.encode(group, link.output.tail());
                if !touched.contains(&key) {
                    touched.push(key);
                }
            } else {
                self.not_sent(group, &packet);
            }
        }
        for key in touched {
            self.send(io, key);
        }
    }

    /// A peer's stream takes more.
    pub(in crate::endpoint) fn writable(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        self.send(io, key_of(slot));
    }

    fn send(&mut self, io: &mut Io<'_>, key: u64) {
        let Some(link) = self.links.get_mut(&key) else {
            return;
        };
        let Some(slot) = link.slot else { return };
        if link.output.is_empty() {
            return;
        }
        let stream = match link.to {
            Some(stream) => stream,
            None => match io.open(slot, REPLICAS, Direction::Unidirectional, PRIORITY) {
                Ok(stream) => *link.to.insert(stream),
                // `streams_available` comes here again; a peer that is gone is told of by `disconnected`.
                Err(_) => return,
            },
        };
        let result = send(io, slot, stream, &mut link.output);
        if matches!(result, Err(StreamError::Stopped(_) | StreamError::Closed)) {
            io.close(slot, CLOSE_PROTOCOL);
        }
    }
}
