//! [`Relays`]: asks relays for ways, takes ways that others ask for, and serves as a relay if it shall.
//!
//! A part of an [`Application`](crate::core::Application): sans-IO, told of peers and bytes, answering through [`Io`].
//!
//! A way is kept once it was asked for: when the relay or the other end comes back, it gets a new session under the same
//! virtual address, so that the pool, which knows that address alone, finds it working again.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::forwarder::NoSession;
use super::frame::{Frame, FrameReader, Refusal};
use super::packet::RelayId;
use super::packets::PROBE;
use super::quota::Quota;
use super::routes::RouteId;
use super::score::{Observation, Scores};
use crate::core::{Io, NodeId, PeerInfo, PeerSlot, Reading, StreamId};
use crate::framed::Framed;

/// The kind of the streams.
pub const KIND: u8 = 0x41;
/// Why a stream is stopped: it was not what it must be.
const MALFORMED: u64 = 0x41;
/// Ways that one relay may offer.
const MAX_OFFERS: usize = 256;
/// Between two probes of a way, and how long one may take.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Before a session that ended is asked for again: twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// How it takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayOptions {
    /// Whether it forwards for other members.
    pub serve: bool,
    /// How much for each.
    pub quota: Quota,
}

/// Why there is no way over a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayError {
    /// The relay is not connected.
    NotConnected,
    /// It forwards for nobody.
    NotServing,
    /// The other node is not connected to it.
    Unknown,
    /// A quota is used up: the relay's, or the number of ways of this node.
    Limit,
}

impl fmt::Display for RelayError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotConnected => "the relay is not connected",
            Self::NotServing => "that node is no relay",
            Self::Unknown => "the other node is not connected to the relay",
            Self::Limit => "the relay's quota is used up",
        })
    }
}

impl std::error::Error for RelayError {}

/// Who is told of a way: its virtual address.
pub type Waiter = Sender<Result<SocketAddr, RelayError>>;

#[derive(Debug)]
struct Peer {
    node: NodeId,
    stream: Framed<FrameReader>,
    serves: bool,
}

#[derive(Debug)]
enum State {
    /// Asked for; the answer has this number.
    Asked(u32),
    /// Packets go over it, by this connection and id.
    Open(PeerSlot, RelayId),
    /// Asked for again then.
    Broken(Instant),
}

#[derive(Debug)]
struct Way {
    relay: NodeId,
    target: NodeId,
    state: State,
    /// The other end asked for it: it goes when it ends.
    offered: bool,
    /// It has had a session.
    stood: bool,
    retry: Duration,
    waiting: Vec<Waiter>,
    probe: Option<([u8; PROBE], Instant)>,
    probe_at: Instant,
}

/// The ways of this node, and the relays it knows.
#[derive(Debug)]
pub struct Relays {
    options: RelayOptions,
    peers: BTreeMap<PeerSlot, Peer>,
    ways: BTreeMap<RouteId, Way>,
    next_request: u32,
    scores: Scores,
    deadline: Option<Instant>,
    /// Moves when a relay or a way comes or goes.
    epoch: u64,
}

impl Relays {
    /// One that knows nobody.
    pub fn new(options: RelayOptions) -> Self {
        Self {
            options,
            peers: BTreeMap::new(),
            ways: BTreeMap::new(),
            next_request: 0,
            scores: Scores::default(),
            deadline: None,
            epoch: 0,
        }
    }

    /// The connected members that forward for others.
    pub fn serving(&self) -> impl Iterator<Item = (PeerSlot, NodeId)> {
        let serving = self.peers.iter().filter(|(_, peer)| peer.serves);
        serving.map(|(slot, peer)| (*slot, peer.node))
    }

    /// A connection to a node.
    pub fn peer(&self, node: &NodeId) -> Option<PeerSlot> {
        let found = self.peers.iter().find(|(_, peer)| peer.node == *node);
        found.map(|(slot, _)| *slot)
    }

    /// Moves when [`serving`](Self::serving) changes, or which ways have a session.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What was observed of the relays that were used.
    pub fn scores(&self) -> &Scores {
        &self.scores
    }

    /// Which relay a virtual address leads over.
    pub fn relay_of(&self, address: &SocketAddr) -> Option<NodeId> {
        let way = self
            .ways
            .iter()
            .find(|(route, _)| route.address() == *address);
        way.map(|(_, way)| way.relay)
    }

    /// Whether a virtual address leads anywhere at the moment.
    pub fn is_open(&self, address: &SocketAddr) -> bool {
        let open = |way: &Way| matches!(way.state, State::Open(..));
        let mut ways = self.ways.iter();
        ways.any(|(route, way)| route.address() == *address && open(way))
    }

    /// Asks for a way to `target` over `relay`. `tell` gets its virtual address, which QUIC dials like any other.
    pub fn open(&mut self, io: &mut Io<'_>, relay: NodeId, target: NodeId, tell: Waiter) {
        let wanted = |way: &Way| !way.offered && way.relay == relay && way.target == target;
        let known = self
            .ways
            .iter()
            .find(|(_, way)| wanted(way))
            .map(|(route, _)| *route);
        let connected = self.peers.values().any(|peer| peer.node == relay);
        // Whoever asked may be gone by the time of any answer: nobody else needs it.
        if !connected {
            let _ = tell.send(Err(RelayError::NotConnected));
            return;
        }
        let Some(route) = known.or_else(|| io.relay().add_route()) else {
            let _ = tell.send(Err(RelayError::Limit));
            return;
        };
        let now = io.now();
        let way = self.ways.entry(route).or_insert_with(|| Way {
            relay,
            target,
            state: State::Broken(now),
            offered: false,
            stood: false,
            retry: FIRST_RETRY,
            waiting: Vec::new(),
            probe: None,
            probe_at: now,
        });
        match way.state {
            State::Open(..) => {
                let _ = tell.send(Ok(route.address()));
            }
            State::Asked(_) => way.waiting.push(tell),
            State::Broken(_) => {
                way.waiting.push(tell);
                self.ask(io, route);
            }
        }
    }

    /// Gives a way up that this node asked for.
    pub fn close(&mut self, io: &mut Io<'_>, address: SocketAddr) {
        let route = self.ways.keys().find(|route| route.address() == address);
        if let Some(route) = route.copied() {
            if let Some(State::Open(peer, id)) = self.ways.get(&route).map(|way| &way.state) {
                let (peer, id) = (*peer, *id);
                self.send(io, peer, Frame::Close { id });
            }
            self.ways.remove(&route);
            io.relay().routes.remove(route);
        }
    }

    fn send(&mut self, io: &mut Io<'_>, peer: PeerSlot, frame: Frame) -> bool {
        self.peers
            .get_mut(&peer)
            .is_some_and(|state| state.stream.send(io, peer, |out| frame.encode(out)))
    }

    /// Asks the relay of a way for a session, if it is connected.
    fn ask(&mut self, io: &mut Io<'_>, route: RouteId) {
        let Some(way) = self.ways.get_mut(&route) else {
            return;
        };
        let request = self.next_request;
        let (relay, node) = (way.relay, way.target);
        let peer = self.peers.iter().find(|(_, peer)| peer.node == relay);
        let Some(peer) = peer.map(|(slot, _)| *slot) else {
            way.state = State::Broken(io.now() + LONGEST_RETRY);
            return;
        };
        self.next_request = request.wrapping_add(1);
        way.state = State::Asked(request);
        if !self.send(io, peer, Frame::Open { request, node }) {
            self.broken(io, route, RelayError::NotConnected);
        }
    }

    /// A way has no session any more, or got none.
    fn broken(&mut self, io: &mut Io<'_>, route: RouteId, error: RelayError) {
        io.relay().routes.set(route, None);
        let Some(way) = self.ways.get_mut(&route) else {
            return;
        };
        for waiting in way.waiting.drain(..) {
            let _ = waiting.send(Err(error));
        }
        way.probe = None;
        self.epoch += 1;
        // Of one that never was, whoever asked has just been told.
        if way.offered || !way.stood {
            self.ways.remove(&route);
            io.relay().routes.remove(route);
            return;
        }
        let at = io.now() + way.retry;
        way.state = State::Broken(at);
        way.retry = (way.retry * 2).min(LONGEST_RETRY);
        self.due(at);
    }

    fn due(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |before| before.min(at)));
    }

    fn find(&self, peer: PeerSlot, id: RelayId) -> Option<RouteId> {
        let mine = |state: &State| matches!(state, State::Open(slot, known) if *slot == peer && *known == id);
        let way = self.ways.iter().find(|(_, way)| mine(&way.state));
        way.map(|(route, _)| *route)
    }

    // --- the application's calls --------------------------------------------------------------------------

    /// See [`Application::connected`](crate::core::Application::connected).
    pub fn connected(&mut self, io: &mut Io<'_>, slot: PeerSlot, info: &PeerInfo) {
        let node = info.identity.node_id;
        self.peers.insert(
            slot,
            Peer {
                node,
                stream: Framed::new(KIND),
                serves: false,
            },
        );
        io.relay().set_quota(self.options.quota);
        // A relay over a relay would be no relay: only who is connected itself is forwarded for.
        if self.options.serve && !super::is_virtual(&info.address) {
            self.send(io, slot, Frame::Serve);
        }
        let again: Vec<RouteId> = self
            .ways
            .iter()
            .filter(|(_, way)| way.relay == node && matches!(way.state, State::Broken(_)))
            .map(|(route, _)| *route)
            .collect();
        for route in again {
            self.ask(io, route);
        }
    }

    /// See [`Application::disconnected`](crate::core::Application::disconnected).
    pub fn disconnected(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        let Some(peer) = self.peers.remove(&slot) else {
            return;
        };
        if peer.serves {
            self.epoch += 1;
        }
        for (other, id) in io.relay().forwarder.disconnected(slot) {
            self.send(io, other, Frame::Close { id });
        }
        let over = |way: &Way| match way.state {
            State::Open(relay, _) => relay == slot,
            State::Asked(_) => way.relay == peer.node,
            State::Broken(_) => false,
        };
        let ended: Vec<RouteId> = self
            .ways
            .iter()
            .filter(|(_, way)| over(way))
            .map(|(route, _)| *route)
            .collect();
        for route in ended {
            self.broken(io, route, RelayError::NotConnected);
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
        let Ok(frames) = reader.read(bytes) else {
            io.stop(slot, stream, MALFORMED);
            return;
        };
        for frame in frames {
            self.frame(io, slot, frame);
        }
    }

    fn frame(&mut self, io: &mut Io<'_>, slot: PeerSlot, frame: Frame) {
        match frame {
            Frame::Serve => {
                if let Some(peer) = self.peers.get_mut(&slot)
                    && !std::mem::replace(&mut peer.serves, true)
                {
                    self.epoch += 1;
                }
            }
            Frame::Open { request, node } => self.asked(io, slot, request, node),
            Frame::Opened { request, id } => {
                if let Some(route) = self.requested(slot, request) {
                    self.established(io, route, slot, id);
                }
            }
            Frame::Refused { request, reason } => {
                if let Some(route) = self.requested(slot, request) {
                    let error = match reason {
                        Refusal::NotServing => RelayError::NotServing,
                        Refusal::Unknown => RelayError::Unknown,
                        Refusal::Limit => RelayError::Limit,
                    };
                    self.broken(io, route, error);
                }
            }
            Frame::Offer { node, id } => self.offered(io, slot, node, id),
            Frame::Close { id } => {
                if let Some((other, id)) = io.relay().forwarder.close(id, slot) {
                    self.send(io, other, Frame::Close { id });
                } else if let Some(route) = self.find(slot, id) {
                    self.broken(io, route, RelayError::Unknown);
                }
            }
        }
    }

    /// The way that a relay answers about, which must be the relay that was asked.
    fn requested(&self, slot: PeerSlot, request: u32) -> Option<RouteId> {
        let node = self.peers.get(&slot)?.node;
        let mine = |way: &Way| {
            way.relay == node && matches!(way.state, State::Asked(number) if number == request)
        };
        let way = self.ways.iter().find(|(_, way)| mine(way));
        way.map(|(route, _)| *route)
    }

    fn established(&mut self, io: &mut Io<'_>, route: RouteId, slot: PeerSlot, id: RelayId) {
        let Some(way) = self.ways.get_mut(&route) else {
            return;
        };
        io.relay().routes.set(route, Some((slot, id)));
        way.state = State::Open(slot, id);
        way.stood = true;
        self.epoch += 1;
        way.retry = FIRST_RETRY;
        way.probe_at = io.now();
        for waiting in way.waiting.drain(..) {
            let _ = waiting.send(Ok(route.address()));
        }
        self.due(io.now());
    }

    /// A member asks this relay for a way to another.
    fn asked(&mut self, io: &mut Io<'_>, slot: PeerSlot, request: u32, node: NodeId) {
        let refused = |reason| Frame::Refused { request, reason };
        let Some(asker) = self.peers.get(&slot).map(|peer| peer.node) else {
            return;
        };
        // Only who is connected itself, not over another relay: packets would go round.
        let direct = |slot: &PeerSlot| {
            io.address(*slot)
                .is_some_and(|address| !super::is_virtual(&address))
        };
        let other = self
            .peers
            .iter()
            .find(|(other, peer)| peer.node == node && **other != slot && direct(other))
            .map(|(other, _)| *other);
        let answer = match other {
            _ if !self.options.serve || !direct(&slot) => Err(Refusal::NotServing),
            None => Err(Refusal::Unknown),
            Some(other) => {
                let now = io.now();
                let opened = io.relay().open((slot, asker), (other, node), now);
                opened
                    .map(|ids| (other, ids))
                    .map_err(|NoSession| Refusal::Limit)
            }
        };
        match answer {
            Err(reason) => drop(self.send(io, slot, refused(reason))),
            Ok((other, [near, far])) => {
                // The other end first: it knows of the way when the first packet comes.
                self.send(
                    io,
                    other,
                    Frame::Offer {
                        node: asker,
                        id: far,
                    },
                );
                self.send(io, slot, Frame::Opened { request, id: near });
            }
        }
    }

    /// A relay has a way from another member to this node.
    fn offered(&mut self, io: &mut Io<'_>, slot: PeerSlot, node: NodeId, id: RelayId) {
        let Some(relay) = self.peers.get(&slot).map(|peer| peer.node) else {
            return;
        };
        let of_relay = |way: &&Way| way.offered && way.relay == relay;
        let full = self.ways.values().filter(of_relay).count() >= MAX_OFFERS;
        let route = if full { None } else { io.relay().add_route() };
        let Some(route) = route else {
            self.send(io, slot, Frame::Close { id });
            return;
        };
        io.relay().routes.set(route, Some((slot, id)));
        self.ways.insert(
            route,
            Way {
                relay,
                target: node,
                state: State::Open(slot, id),
                offered: true,
                stood: true,
                retry: FIRST_RETRY,
                waiting: Vec::new(),
                probe: None,
                // Whoever asked for it watches it.
                probe_at: io.now() + Duration::from_secs(u64::from(u32::MAX)),
            },
        );
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

    /// See [`Application::timeout`](crate::core::Application::timeout): probes, and sessions that are asked for again.
    pub fn timeout(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        self.echoes(io);
        if self.deadline.is_none_or(|at| at > now) {
            return;
        }
        let routes: Vec<RouteId> = self.ways.keys().copied().collect();
        for route in routes {
            self.look(io, route, now);
        }
        let next = self.ways.values().filter_map(|way| match way.state {
            State::Broken(at) => Some(at),
            State::Open(..) if !way.offered => Some(way.probe_at),
            _ => None,
        });
        self.deadline = next.min();
    }

    fn look(&mut self, io: &mut Io<'_>, route: RouteId, now: Instant) {
        let Some(way) = self.ways.get_mut(&route) else {
            return;
        };
        match way.state {
            State::Broken(at) if at <= now => self.ask(io, route),
            State::Open(..) if way.probe_at <= now && !way.offered => {
                way.probe_at = now + PROBE_INTERVAL;
                if let Some((_, sent)) = way.probe {
                    if now < sent + PROBE_TIMEOUT {
                        return;
                    }
                    self.scores.observe(way.relay, Observation::Lost, now);
                }
                let body = io.relay().probe_body();
                way.probe = io.probe(route, &body).then_some((body, now));
            }
            _ => {}
        }
    }

    /// Takes in the echoes that have come.
    pub fn echoes(&mut self, io: &mut Io<'_>) {
        while let Some(echo) = io.relay().poll_echo() {
            let Some(way) = self.ways.get_mut(&echo.route) else {
                continue;
            };
            let Some((body, sent)) = way.probe.take() else {
                continue;
            };
            let observed = if body == echo.body {
                Observation::Delivered(echo.at.saturating_duration_since(sent))
            } else {
                Observation::Corrupted
            };
            self.scores.observe(way.relay, observed, echo.at);
        }
    }

    /// See [`Application::deadline`](crate::core::Application::deadline).
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}
