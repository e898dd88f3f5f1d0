//! [`Locators`]: publishes this node's record, answers what others ask, and asks them.
//!
//! A part of an [`Application`](crate::core::Application): sans-IO, told of peers and bytes, answering through [`Io`].
//!
//! - On connect, each side sends its own record. Whoever proved itself on the connection needs no second proof of where it is,
//!   so nothing is verified here; a record about another node than the sender is refused.
//! - A question goes to at most [`LocatorLimits::asked`] peers. What they send is verified by whoever asked, off the engine.
//! - What nobody knew is not asked again for a while.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::cache::{CacheLimits, CacheRefused, CacheStats, LocatorCache, Lookup};
use super::frame::{Frame, FrameReader, Status};
use super::global_address::{GlobalAddress, NodeField};
use super::query::{Query, Reply, Source};
use super::signed_locator::SignedLocator;
use super::translation::{Route, Translation};
use crate::core::{Io, NodeId, PeerInfo, PeerSlot, Reading, StreamId};
use crate::framed::Framed;
use crate::identity::{Clock, NetworkId};

/// The kind of the streams.
pub const KIND: u8 = 0x40;
/// Why a stream is stopped: it was not what it must be.
const MALFORMED: u64 = 0x40;
/// Records of one colliding address that are sent.
const MAX_ANSWERS: usize = 4;
/// Pings under way.
const MAX_PINGS: usize = 4096;

/// What peers may make it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocatorLimits {
    /// Peers that one question goes to.
    pub asked: usize,
    /// Questions under way.
    pub queries: usize,
    /// How long they may take.
    pub patience: Duration,
    /// Questions of one peer that are answered a second, and at once.
    pub answers_per_second: u32,
    /// What is kept.
    pub cache: CacheLimits,
}

impl Default for LocatorLimits {
    fn default() -> Self {
        Self {
            asked: 32,
            queries: 1024,
            patience: Duration::from_secs(2),
            answers_per_second: 64,
            cache: CacheLimits::default(),
        }
    }
}

/// What it is made of.
#[derive(Debug, Clone)]
pub struct LocatorOptions {
    /// This node's network.
    pub network: NetworkId,
    /// This node.
    pub node: NodeId,
    /// The time of day.
    pub clock: Clock,
    /// What peers may make it do.
    pub limits: LocatorLimits,
    /// Where connected nodes are entered.
    pub translation: Arc<Translation>,
}

/// Why an address is not even asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolveError {
    /// It is of another network.
    Network,
    /// Too many questions are under way.
    Busy {
        /// How many may be.
        limit: usize,
    },
}

impl fmt::Display for ResolveError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => out.write_str("the address is of another network"),
            Self::Busy { limit } => {
                write!(out, "{limit} addresses are being resolved already")
            }
        }
    }
}

impl std::error::Error for ResolveError {}

#[derive(Debug)]
struct Peer {
    node: NodeId,
    stream: Framed<FrameReader>,
    /// Answers that it may still have, and since when they have been counted.
    answers: u32,
    counted: Instant,
}

/// A node's records, questions and answers.
#[derive(Debug)]
pub struct Locators {
    options: LocatorOptions,
    own: Option<Arc<SignedLocator>>,
    cache: LocatorCache,
    peers: BTreeMap<PeerSlot, Peer>,
    queries: BTreeMap<u32, Query>,
    next_query: u32,
    pings: HashMap<u64, (PeerSlot, Instant, Sender<Duration>)>,
    next_ping: u64,
}

impl Locators {
    /// One that knows nobody.
    pub fn new(options: LocatorOptions) -> Self {
        Self {
            cache: LocatorCache::new(options.limits.cache),
            options,
            own: None,
            peers: BTreeMap::new(),
            queries: BTreeMap::new(),
            next_query: 0,
            pings: HashMap::new(),
            next_ping: 0,
        }
    }

    /// This node's address.
    pub fn address(&self) -> GlobalAddress {
        GlobalAddress::of_node(&self.options.network, &self.options.node)
    }

    /// Where connected nodes are entered, for any thread to look up.
    pub fn translation(&self) -> &Arc<Translation> {
        &self.options.translation
    }

    /// What the cache has done.
    pub fn stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Where this node is from now on: kept, and sent to every peer.
    pub fn publish(&mut self, io: &mut Io<'_>, record: Arc<SignedLocator>) {
        debug_assert_eq!(record.locator().node, self.options.node);
        for (slot, peer) in &mut self.peers {
            let frame = Frame::Publish(record.as_bytes());
            peer.stream.send(io, *slot, |out| frame.encode(out));
        }
        self.own = Some(record);
    }

    /// Takes a record in that the caller has verified, and tells others who wait for it.
    ///
    /// # Errors
    /// When a newer one is known.
    pub fn install(&mut self, record: Arc<SignedLocator>) -> Result<(), CacheRefused> {
        let now = self.options.clock.now();
        self.cache.insert(record, now).map(|_| ())
    }

    /// The current record of a node whose full id is known.
    pub fn record(&self, node: &NodeId) -> Option<&Arc<SignedLocator>> {
        self.cache.get(node, self.options.clock.now())
    }

    /// A connection to a node.
    pub fn peer(&self, node: &NodeId) -> Option<PeerSlot> {
        let found = self.peers.iter().find(|(_, peer)| peer.node == *node);
        found.map(|(slot, _)| *slot)
    }

    /// Finds out where an address is. `tell` gets candidates, and at last one reply that ends it; at once when it is known.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(
        &mut self,
        io: &mut Io<'_>,
        address: GlobalAddress,
        tell: Sender<Reply>,
    ) -> Result<(), ResolveError> {
        if address.prefix() != GlobalAddress::prefix_of(&self.options.network) {
            return Err(ResolveError::Network);
        }
        let field = address.node();
        if let Some(reply) = self.known(field) {
            // Whoever asked may be gone already.
            drop(tell.send(reply));
            return Ok(());
        }
        if let Some(query) = self.queries.values_mut().find(|query| query.field == field) {
            query.waiting.push(tell);
            return Ok(());
        }
        let limit = self.options.limits.queries;
        if self.queries.len() >= limit {
            return Err(ResolveError::Busy { limit });
        }
        self.ask(io, field, tell);
        Ok(())
    }

    /// What can be said of an address without asking.
    fn known(&mut self, field: NodeField) -> Option<Reply> {
        let now = self.options.clock.now();
        let known = |node, record, source| Reply::Known {
            node,
            record,
            source,
        };
        let mut connected = None;
        for (slot, peer) in &self.peers {
            if NodeField::of(&peer.node) != field {
                continue;
            }
            match connected {
                None => connected = Some((*slot, peer.node)),
                Some((_, node)) if node == peer.node => {}
                Some((_, node)) => return Some(Reply::Collision([node, peer.node])),
            }
        }
        let own = self.options.node;
        if NodeField::of(&own) == field {
            return Some(match connected {
                // The same id connected to itself is no collision.
                Some((_, node)) if node != own => Reply::Collision([own, node]),
                _ => known(own, self.own.clone(), Source::Own),
            });
        }
        match self.cache.lookup(field, now) {
            Lookup::Collision(nodes) => Some(Reply::Collision(nodes)),
            Lookup::Found(record) => {
                let node = record.locator().node;
                Some(match connected {
                    Some((_, other)) if other != node => Reply::Collision([other, node]),
                    Some((slot, _)) => known(node, Some(record.clone()), Source::Connected(slot)),
                    None => known(node, Some(record.clone()), Source::Cache),
                })
            }
            Lookup::Negative | Lookup::Unknown if connected.is_some() => {
                connected.map(|(slot, node)| known(node, None, Source::Connected(slot)))
            }
            Lookup::Negative => Some(Reply::End),
            Lookup::Unknown => None,
        }
    }

    fn ask(&mut self, io: &mut Io<'_>, field: NodeField, tell: Sender<Reply>) {
        let id = self.next_query;
        self.next_query = self.next_query.wrapping_add(1);
        let mut query = Query {
            field,
            waiting: vec![tell],
            asked: std::collections::BTreeSet::new(),
            doubtful: false,
            until: io.now() + self.options.limits.patience,
        };
        for (slot, peer) in &mut self.peers {
            if query.asked.len() >= self.options.limits.asked {
                break;
            }
            if peer
                .stream
                .send(io, *slot, |out| Frame::Query { id, field }.encode(out))
            {
                query.asked.insert(*slot);
            }
        }
        // Nobody to ask is no answer either.
        query.doubtful = query.asked.is_empty();
        self.queries.insert(id, query);
        self.finish_if_over(id);
    }

    fn finish_if_over(&mut self, id: u32) {
        let over = self
            .queries
            .get(&id)
            .is_some_and(|query| query.asked.is_empty());
        if !over {
            return;
        }
        if let Some(mut query) = self.queries.remove(&id) {
            if !query.doubtful {
                self.cache
                    .insert_negative(query.field, self.options.clock.now());
            }
            query.tell(&Reply::End);
        }
    }

    /// Measures a round trip to a peer: the answer comes from its engine, whatever its JavaScript does. The number is for
    /// [`forget_ping`](Self::forget_ping); `None` when the peer is gone or takes nothing.
    pub fn ping(&mut self, io: &mut Io<'_>, peer: PeerSlot, tell: Sender<Duration>) -> Option<u64> {
        if self.pings.len() >= MAX_PINGS {
            return None;
        }
        let id = self.next_ping;
        let stream = &mut self.peers.get_mut(&peer)?.stream;
        if !stream.send(io, peer, |out| Frame::Ping(id).encode(out)) {
            return None;
        }
        self.next_ping += 1;
        self.pings.insert(id, (peer, io.now(), tell));
        Some(id)
    }

    /// Nobody waits for this ping any more.
    pub fn forget_ping(&mut self, id: u64) {
        self.pings.remove(&id);
    }

    // --- the application's calls --------------------------------------------------------------------------

    /// See [`Application::connected`](crate::core::Application::connected).
    pub fn connected(&mut self, io: &mut Io<'_>, slot: PeerSlot, info: &PeerInfo) {
        let mut peer = Peer {
            node: info.identity.node_id,
            stream: Framed::new(KIND),
            answers: self.options.limits.answers_per_second,
            counted: io.now(),
        };
        if let Some(own) = &self.own {
            peer.stream
                .send(io, slot, |out| Frame::Publish(own.as_bytes()).encode(out));
        }
        let field = NodeField::of(&peer.node);
        self.options
            .translation
            .insert(field, &Route::new(slot, peer.node), io.now());
        self.peers.insert(slot, peer);
    }

    /// See [`Application::disconnected`](crate::core::Application::disconnected).
    pub fn disconnected(&mut self, slot: PeerSlot) {
        let Some(peer) = self.peers.remove(&slot) else {
            return;
        };
        self.options
            .translation
            .remove(NodeField::of(&peer.node), slot);
        self.pings.retain(|_, (peer, ..)| *peer != slot);
        let ids: Vec<u32> = self.queries.keys().copied().collect();
        for id in ids {
            self.answered(id, slot, true);
        }
    }

    /// See [`Application::opened`](crate::core::Application::opened). One stream a peer.
    pub fn opened(&mut self, slot: PeerSlot, stream: StreamId) -> Reading {
        let peer = self.peers.get_mut(&slot);
        peer.map_or(Reading::Refuse, |peer| peer.stream.open(stream))
    }

    /// Whether a stream is one of this part.
    pub fn owns(&self, slot: PeerSlot, stream: StreamId) -> bool {
        let peer = self.peers.get(&slot);
        peer.is_some_and(|peer| peer.stream.owns(stream))
    }

    /// See [`Application::received`](crate::core::Application::received).
    pub fn received(&mut self, io: &mut Io<'_>, slot: PeerSlot, stream: StreamId, bytes: &[u8]) {
        let peer = self.peers.get_mut(&slot);
        let Some(reader) = peer.and_then(|peer| peer.stream.reader()) else {
            return;
        };
        // Taken out while frames are handled, which borrows all of this.
        let mut reader = std::mem::take(reader);
        let mut wrong = false;
        let outcome = reader.read(bytes, |frame| wrong |= !self.frame(io, slot, frame));
        if outcome.is_err() || wrong {
            io.stop(slot, stream, MALFORMED);
            return;
        }
        let peer = self.peers.get_mut(&slot);
        if let Some(place) = peer.and_then(|peer| peer.stream.reader()) {
            *place = reader;
        }
    }

    /// Handles a frame. False when it may not be.
    fn frame(&mut self, io: &mut Io<'_>, slot: PeerSlot, frame: Frame<'_>) -> bool {
        match frame {
            Frame::Publish(record) => return self.published(slot, record),
            Frame::Query { id, field } => self.queried(io, slot, id, field),
            Frame::Answer { id, status, record } => match status {
                Status::Found => return self.candidate(id, slot, record),
                Status::End => self.answered(id, slot, false),
                Status::Busy => self.answered(id, slot, true),
            },
            Frame::Ping(id) => {
                if let Some(peer) = self.peers.get_mut(&slot) {
                    peer.stream
                        .send(io, slot, |out| Frame::Pong(id).encode(out));
                }
            }
            Frame::Pong(id) => {
                if let Some((_, sent, tell)) = self
                    .pings
                    .get(&id)
                    .is_some_and(|(asked, ..)| *asked == slot)
                    .then(|| self.pings.remove(&id))
                    .flatten()
                {
                    let _ = tell.send(io.now().saturating_duration_since(sent));
                }
            }
        }
        true
    }

    /// A peer says where it is: it alone may say that.
    fn published(&mut self, slot: PeerSlot, record: &[u8]) -> bool {
        let Some(peer) = self.peers.get(&slot) else {
            return true;
        };
        let Ok(record) = SignedLocator::decode(record) else {
            return false;
        };
        let locator = record.locator();
        if locator.node != peer.node || locator.network != self.options.network {
            return false;
        }
        // An older one is no offence: the same node may be connected twice.
        let _ = self.install(Arc::new(record));
        true
    }

    fn queried(&mut self, io: &mut Io<'_>, slot: PeerSlot, id: u32, field: NodeField) {
        let Some(peer) = self.peers.get_mut(&slot) else {
            return;
        };
        let answer = |status, record| Frame::Answer { id, status, record };
        let quota = self.options.limits.answers_per_second;
        if io.now().saturating_duration_since(peer.counted) >= Duration::from_secs(1) {
            (peer.answers, peer.counted) = (quota, io.now());
        }
        let Some(left) = peer.answers.checked_sub(1) else {
            peer.stream
                .send(io, slot, |out| answer(Status::Busy, &[]).encode(out));
            return;
        };
        peer.answers = left;
        let now = self.options.clock.now();
        for record in self.cache.all(field, now).take(MAX_ANSWERS) {
            let found = answer(Status::Found, record.as_bytes());
            peer.stream.send(io, slot, |out| found.encode(out));
        }
        peer.stream
            .send(io, slot, |out| answer(Status::End, &[]).encode(out));
    }

    /// A record that a peer sent for a question. False when it is none, or of something else.
    fn candidate(&mut self, id: u32, slot: PeerSlot, record: &[u8]) -> bool {
        let Some(from) = self.peers.get(&slot).map(|peer| peer.node) else {
            return true;
        };
        let asked = |query: &&mut Query| query.asked.contains(&slot);
        let Some(query) = self.queries.get_mut(&id).filter(asked) else {
            // Late: nobody waits any more.
            return true;
        };
        let Ok(record) = SignedLocator::decode(record) else {
            return false;
        };
        let locator = record.locator();
        if NodeField::of(&locator.node) != query.field || locator.network != self.options.network {
            return false;
        }
        query.doubtful = true;
        query.tell(&Reply::Candidate {
            from,
            record: Arc::new(record),
        });
        true
    }

    fn answered(&mut self, id: u32, slot: PeerSlot, doubtful: bool) {
        if let Some(query) = self.queries.get_mut(&id)
            && query.asked.remove(&slot)
        {
            query.doubtful |= doubtful;
            self.finish_if_over(id);
        }
    }

    /// See [`Application::writable`](crate::core::Application::writable).
    pub fn writable(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        if let Some(peer) = self.peers.get_mut(&slot) {
            peer.stream.flush(io, slot);
        }
    }

    /// See [`Application::stopped`](crate::core::Application::stopped).
    pub fn stopped(&mut self, slot: PeerSlot) {
        if let Some(peer) = self.peers.get_mut(&slot) {
            peer.stream.stop();
        }
    }

    /// See [`Application::timeout`](crate::core::Application::timeout): questions that took too long are over.
    pub fn timeout(&mut self, io: &mut Io<'_>) {
        let over: Vec<u32> = self
            .queries
            .iter()
            .filter(|(_, query)| query.until <= io.now())
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            if let Some(query) = self.queries.get_mut(&id) {
                query.asked.clear();
                query.doubtful = true;
            }
            self.finish_if_over(id);
        }
    }

    /// See [`Application::deadline`](crate::core::Application::deadline).
    pub fn deadline(&self) -> Option<Instant> {
        // Questions are asked in the order of time, with one patience: the first is the next.
        self.queries.values().next().map(|query| query.until)
    }
}
