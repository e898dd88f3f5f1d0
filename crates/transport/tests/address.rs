//! Locators between nodes: published, asked for, refused, in virtual time; signed and verified by real identities.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use linkmesh_transport::address::{
    Endpoint, GlobalAddress, KIND, Locator, LocatorLimits, LocatorOptions, LocatorRefused,
    LocatorSigner, LocatorVerifier, Locators, Reply, ResolveError, SignedLocator, Source,
    Translation, TranslationLimits,
};
use linkmesh_transport::core::{
    Application, CloseReason, Io, Limits, PeerInfo, PeerSlot, Reading, StreamId, Target,
};
use linkmesh_transport::engine::{Engine, EngineOptions};
use linkmesh_transport::identity::{
    Clock, IdentityError, IdentityOptions, Joining, NetworkId, NodeIdentity, exchange,
};
use support::identity::{Authority, id};
use support::network::{Faults, Network, address as node_address};

const NETWORK: NetworkId = NetworkId([9; 32]);
const NOW: u64 = 1_800_000_000;
const LONG: Duration = Duration::from_secs(30);

/// An application that does nothing but locators.
struct Located(Locators);

impl Application for Located {
    fn connected(&mut self, io: &mut Io<'_>, peer: PeerSlot, info: &PeerInfo) {
        self.0.connected(io, peer, info);
    }

    fn disconnected(&mut self, _io: &mut Io<'_>, peer: PeerSlot, _reason: &CloseReason) {
        self.0.disconnected(peer);
    }

    fn opened(&mut self, _: &mut Io<'_>, peer: PeerSlot, stream: StreamId, kind: u8) -> Reading {
        assert_eq!(kind, KIND);
        self.0.opened(peer, stream)
    }

    fn received(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, bytes: &[u8]) {
        assert!(self.0.owns(peer, stream));
        self.0.received(io, peer, stream, bytes);
    }

    fn writable(&mut self, io: &mut Io<'_>, peer: PeerSlot, _stream: StreamId) {
        self.0.writable(io, peer);
    }

    fn stopped(&mut self, _: &mut Io<'_>, peer: PeerSlot, _: StreamId, _: u64) {
        self.0.stopped(peer);
    }

    fn timeout(&mut self, io: &mut Io<'_>) {
        self.0.timeout(io);
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }
}

/// Signs with the node's id, which is enough where no signature is the matter.
struct Named;

impl LocatorSigner for Named {
    fn sign_locator(&self, _: &[u8]) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
        Ok((b"credential".to_vec(), b"signature".to_vec()))
    }
}

fn record(name: &str, sequence: u64, port: u16) -> Arc<SignedLocator> {
    let locator = Locator {
        network: NETWORK,
        node: id(name),
        sequence,
        issued: NOW,
        ttl: 3600,
        endpoints: vec![Endpoint::Direct(([10, 0, 0, 9], port).into())],
    };
    Arc::new(SignedLocator::sign(&locator, &Named).unwrap())
}

/// Nodes in virtual time; each knows the time of day from here.
struct World {
    network: Network<Located>,
    authority: Authority,
    time: Arc<AtomicU64>,
    limits: LocatorLimits,
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        Self {
            network: Network::new(seed, faults),
            authority: Authority::new(),
            time: Arc::new(AtomicU64::new(NOW)),
            limits: LocatorLimits::default(),
        }
    }

    fn add(&mut self, name: &str) -> usize {
        self.add_as(name, name)
    }

    /// A node whose locators say that it is `claimed`.
    fn add_as(&mut self, name: &str, claimed: &str) -> usize {
        let time = self.time.clone();
        let locators = Locators::new(LocatorOptions {
            network: NETWORK,
            node: id(claimed),
            clock: Clock::new(move || time.load(Ordering::Relaxed)),
            limits: self.limits,
            translation: Arc::new(
                Translation::new(TranslationLimits::default(), self.network.start).unwrap(),
            ),
        });
        let member = self.authority.member(name);
        self.network
            .add(member, Limits::default(), Located(locators))
    }

    fn connect(&mut self, from: usize, to: usize, name: &str) {
        let target = Target::at(node_address(to));
        self.network.with(from, |_, io| io.connect(target)).unwrap();
        let there = |network: &Network<Located>| {
            network.nodes[from].application.0.peer(&id(name)).is_some()
        };
        assert!(self.network.run_until(LONG, there));
    }

    /// A hub that knows `other`, and `asker` beside it.
    fn star(seed: u64, faults: Faults) -> (Self, usize, usize, usize) {
        let mut world = Self::new(seed, faults);
        let (hub, asker, other) = (world.add("hub"), world.add("asker"), world.add("other"));
        world.connect(asker, hub, "hub");
        world.connect(other, hub, "hub");
        world
            .network
            .with(other, |app, io| app.0.publish(io, record("other", 1, 1)));
        (world, hub, asker, other)
    }

    fn knows(&mut self, node: usize, name: &str, sequence: u64) {
        let known = |network: &Network<Located>| {
            let record = network.nodes[node].application.0.record(&id(name));
            record.is_some_and(|record| record.locator().sequence == sequence)
        };
        assert!(self.network.run_until(LONG, known), "{name} {sequence}");
    }

    fn resolve(&mut self, node: usize, name: &str) -> Receiver<Reply> {
        let (tell, told) = channel();
        let address = GlobalAddress::of_node(&NETWORK, &id(name));
        self.network
            .with(node, |app, io| app.0.resolve(io, address, tell))
            .unwrap();
        told
    }

    /// What is replied until the end.
    fn replies(&mut self, node: usize, name: &str) -> Vec<Reply> {
        let told = self.resolve(node, name);
        let mut replies = Vec::new();
        let until = self.network.now + LONG;
        while self.network.now < until {
            self.network.run(Duration::from_millis(1));
            replies.extend(told.try_iter());
            if replies
                .last()
                .is_some_and(|reply| !matches!(reply, Reply::Candidate { .. }))
            {
                return replies;
            }
        }
        panic!("no end: {replies:?}");
    }
}

#[test]
fn an_address_is_resolved_through_a_common_peer_and_then_known() {
    let (mut world, hub, asker, _) = World::star(1, Faults::none());
    world.knows(hub, "other", 1);
    let replies = world.replies(asker, "other");
    let [Reply::Candidate { from, record }, Reply::End] = &replies[..] else {
        panic!("{replies:?}");
    };
    assert_eq!(*from, id("hub"));
    assert_eq!(record.locator().node, id("other"));
    let record = record.clone();
    world
        .network
        .with(asker, |app, _| app.0.install(record.clone()))
        .unwrap();
    let known = Reply::Known {
        node: id("other"),
        record: Some(record),
        source: Source::Cache,
    };
    assert_eq!(world.replies(asker, "other"), [known]);
}

#[test]
fn a_connected_node_and_oneself_are_known_without_asking() {
    let (mut world, hub, asker, _) = World::star(2, Faults::none());
    let peer = world.network.nodes[asker].application.0.peer(&id("hub"));
    let connected = Reply::Known {
        node: id("hub"),
        record: None,
        source: Source::Connected(peer.unwrap()),
    };
    assert_eq!(world.replies(asker, "hub"), [connected]);
    let own = Reply::Known {
        node: id("hub"),
        record: None,
        source: Source::Own,
    };
    assert_eq!(world.replies(hub, "hub"), [own]);
}

#[test]
fn an_address_that_nobody_knows_is_asked_for_once() {
    let (mut world, _, asker, _) = World::star(3, Faults::none());
    assert_eq!(world.replies(asker, "nobody"), [Reply::End]);
    let sent = world.network.nodes[asker].sent;
    assert_eq!(world.replies(asker, "nobody"), [Reply::End]);
    // Keep-alives and acknowledgements may leave meanwhile; a question is a packet of its own at once.
    let stats = world.network.nodes[asker].application.0.stats();
    assert_eq!((stats.negatives, stats.negative_hits), (1, 1));
    assert!(world.network.nodes[asker].sent - sent < 100);
    world.time.fetch_add(6, Ordering::Relaxed);
    world.replies(asker, "nobody");
    let stats = world.network.nodes[asker].application.0.stats();
    assert_eq!(stats.negative_hits, 1, "after a while it is asked again");
}

#[test]
fn an_address_of_another_network_is_refused_at_once() {
    let (mut world, _, asker, _) = World::star(4, Faults::none());
    let address = GlobalAddress::of_node(&NetworkId([8; 32]), &id("other"));
    let (tell, _told) = channel();
    let refused = world
        .network
        .with(asker, |app, io| app.0.resolve(io, address, tell));
    assert_eq!(refused, Err(ResolveError::Network));
}

#[test]
fn a_newer_record_replaces_the_older_everywhere_and_the_older_never_comes_back() {
    let (mut world, hub, _, other) = World::star(5, Faults::none());
    world.knows(hub, "other", 1);
    world
        .network
        .with(other, |app, io| app.0.publish(io, record("other", 3, 3)));
    world.knows(hub, "other", 3);
    world
        .network
        .with(other, |app, io| app.0.publish(io, record("other", 2, 2)));
    world.network.run(Duration::from_secs(1));
    world.knows(hub, "other", 3);
    assert_eq!(
        world.network.nodes[hub].application.0.stats().refused,
        1,
        "the older one arrived"
    );
}

#[test]
fn nobody_publishes_for_another_node() {
    let mut world = World::new(6, Faults::none());
    let (hub, liar, victim) = (
        world.add("hub"),
        world.add_as("liar", "victim"),
        world.add("victim"),
    );
    world.connect(liar, hub, "hub");
    world
        .network
        .with(liar, |app, io| app.0.publish(io, record("victim", 9, 666)));
    world.network.run(Duration::from_secs(1));
    assert_eq!(
        world.network.nodes[hub].application.0.record(&id("victim")),
        None
    );
    // The victim itself is heard.
    world.connect(victim, hub, "hub");
    world
        .network
        .with(victim, |app, io| app.0.publish(io, record("victim", 1, 1)));
    world.knows(hub, "victim", 1);
}

#[test]
fn a_peer_that_asks_too_much_is_answered_later_and_nothing_is_concluded_from_it() {
    let mut world = World::new(7, Faults::none());
    world.limits.answers_per_second = 4;
    let (hub, asker) = (world.add("hub"), world.add("asker"));
    world.connect(asker, hub, "hub");
    for number in 0..8 {
        world.replies(asker, &format!("node{number}"));
    }
    let stats = world.network.nodes[asker].application.0.stats();
    assert_eq!(stats.negatives, 4, "four were answered, four were not");
}

#[test]
fn a_peer_that_goes_or_never_answers_ends_the_question() {
    let (mut world, hub, asker, _) = World::star(8, Faults::none());
    let told = world.resolve(asker, "nobody");
    let peer = world.network.nodes[asker].application.0.peer(&id("hub"));
    world
        .network
        .with(asker, |_, io| io.close(peer.unwrap(), 256));
    assert_eq!(told.try_recv(), Ok(Reply::End));
    world.network.run(Duration::from_secs(5));
    world.network.faults.cut = true;
    let told = world.resolve(asker, "nobody");
    world.network.run(Duration::from_secs(3));
    assert_eq!(told.try_recv(), Ok(Reply::End));
    let stats = world.network.nodes[asker].application.0.stats();
    assert_eq!(stats.negatives, 0, "silence is no answer");
    assert!(world.network.nodes[hub].application.0.stats().records > 0);
}

#[test]
fn a_ping_takes_the_time_of_the_way_there_and_back() {
    let faults = Faults {
        delay: Duration::from_millis(7),
        ..Faults::none()
    };
    let (mut world, _, asker, _) = World::star(9, faults);
    let peer = world.network.nodes[asker].application.0.peer(&id("hub"));
    let (tell, told) = channel();
    world
        .network
        .with(asker, |app, io| app.0.ping(io, peer.unwrap(), tell))
        .unwrap();
    world.network.run(Duration::from_secs(1));
    assert_eq!(told.try_recv(), Ok(Duration::from_millis(14)));
}

#[test]
fn a_lookup_by_address_finds_the_connection_from_any_thread() {
    let (world, _, asker, _) = World::star(10, Faults::none());
    let application = &world.network.nodes[asker].application.0;
    let address = GlobalAddress::of_node(&NETWORK, &id("hub"));
    let reader = linkmesh_tables::epoch::Domain::global().register();
    let guard = reader.pin();
    let route = application
        .translation()
        .lookup(address.node(), world.network.now, &guard)
        .unwrap();
    assert_eq!(Some(route.peer), application.peer(&id("hub")));
    assert_eq!(route.node, id("hub"));
}

#[test]
fn over_any_path_every_question_ends_and_no_record_is_of_another_node() {
    for seed in 0..40 {
        let mut random = support::network::Random(seed);
        let faults = Faults::random(&mut random);
        let (mut world, hub, asker, _) = World::star(seed, faults);
        world.knows(hub, "other", 1);
        for reply in world.replies(asker, "other") {
            if let Reply::Candidate { record, .. } = reply {
                assert_eq!(record.locator().node, id("other"), "seed {seed}");
            }
        }
    }
}

fn signed_by(signer: &NodeIdentity, locator: &Locator) -> SignedLocator {
    SignedLocator::sign(locator, signer).unwrap()
}

#[test]
fn a_record_is_believed_from_its_own_node_with_its_own_chain_alone() {
    let place = tempfile::tempdir().unwrap();
    let options = |name: &str| IdentityOptions::new(place.path().join(name));
    let hub = NodeIdentity::open_or_create(options("hub"), "shop").unwrap();
    let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let options_of_hub = EngineOptions::new(Some(listen), hub.clone());
    let engine = Engine::start(&options_of_hub, support::echo::Echo::default()).unwrap();
    let join = |name: &str| {
        let token = hub.invite("", 60).unwrap();
        let joining = Joining::new(&token.to_text(), options(name)).unwrap();
        exchange::join(&engine.local_address().to_string(), joining, LONG).unwrap()
    };
    let (one, two) = (join("one"), join("two"));
    let now = Clock::system().now();
    let locator = Locator {
        network: one.network(),
        node: one.node_id(),
        sequence: 1,
        issued: now,
        ttl: 60,
        endpoints: vec![Endpoint::Direct(([10, 0, 0, 9], 7443).into())],
    };
    let good = signed_by(&one, &locator);
    // `two` has never been connected to `one`: the chain in the record is all it has.
    assert_eq!(good.verify(&two.network(), now, &*two), Ok(()));
    assert_eq!(
        good.verify(&two.network(), now + 60, &*two),
        Err(LocatorRefused::NotCurrent)
    );
    // Another member signs it with its own key and chain.
    let forged = signed_by(&two, &locator);
    assert!(matches!(
        forged.verify(&hub.network(), now, &*hub),
        Err(LocatorRefused::Signature(
            IdentityError::UnexpectedNode { .. }
        ))
    ));
    // A changed byte of the record.
    let mut bytes = good.as_bytes().to_vec();
    let port = 2 + 86 + 2 + 4;
    bytes[port] ^= 1;
    let changed = SignedLocator::decode(&bytes).unwrap();
    assert_ne!(changed.locator(), good.locator());
    assert!(matches!(
        changed.verify(&two.network(), now, &*two),
        Err(LocatorRefused::Signature(
            IdentityError::BadSignature { .. }
        ))
    ));
    // Another network.
    let other = NodeIdentity::open_or_create(options("other"), "bank").unwrap();
    assert_eq!(
        good.verify(&other.network(), now, &*other),
        Err(LocatorRefused::Network)
    );
    assert!(
        other
            .verify_locator(&one.node_id(), &one.credential(), b"", b"")
            .is_err()
    );
    // Without its chain nobody could check it.
    assert!(two.verify_locator(&one.node_id(), &[], b"", b"").is_err());
}
