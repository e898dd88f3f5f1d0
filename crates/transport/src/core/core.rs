//! The state of one engine, without sockets, threads or a clock.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{DatagramEvent, EcnCodepoint, Endpoint, Transmit};

use super::admission::Admission;
use super::application::Application;
use super::auth::AuthJob;
use super::authenticator::Authenticator;
use super::config::{self, Configs};
use super::group::{Group, PerNode};
use super::io::Io;
use super::limits::Limits;
use super::link::Phase;
use super::links::Links;
use super::peer::{PeerSlot, StreamId, TargetId};
use super::random::Random;
use super::shard::ShardBits;
use super::stats::CoreStats;
use super::timers::{Due, Timers};
use crate::pool::TargetState;
use crate::relay::{self, Handled, Packets, Received, is_virtual};

/// How often the list of revoked nodes is looked at.
const REVOCATION_INTERVAL: Duration = Duration::from_millis(250);
/// Datagrams that the endpoint itself answers with (Retry, refusal, reset) and that wait to be sent. More are dropped.
const MAX_RESPONSES: usize = 256;
/// A GSO train carries at most this many bytes and segments (Linux: `UDP_MAX_SEGMENTS`, and an IP packet's own limit).
const MAX_TRAIN_BYTES: usize = 65_000;
const MAX_TRAIN_SEGMENTS: usize = 64;

/// What a [`Core`] is made of.
#[derive(Clone)]
pub struct CoreOptions {
    /// What peers may make it hold.
    pub limits: Limits,
    /// Who this node is and whom it believes.
    pub authenticator: Arc<dyn Authenticator>,
    /// Secret and random, or fixed in a simulation: keys of tokens and resets, ids, jitter derive from it.
    pub seed: [u8; 32],
    /// This process's boot epoch.
    pub boot_epoch: [u8; 16],
    /// Which of how many engine threads this is.
    pub shard: (u8, u8),
    /// Whether it takes connections from others. Over a relay it always does.
    pub accept: bool,
    /// Whether datagrams leave unfragmented, so that path MTU discovery means something.
    pub unfragmented: bool,
}

impl std::fmt::Debug for CoreOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The seed is secret.
        out.debug_struct("CoreOptions")
            .field("limits", &self.limits)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

/// The protocol of one engine: connections, control streams, limits, timers, targets.
///
/// # Driving it
/// Hand in what was received (`receive`), what is due (`handle_timeout`) and what the helper threads made
/// (`auth_done`); then `settle`, which tells the application; then send what `transmit` gives until it gives nothing. Look
/// at `deadline` for when to come back, and at `poll_auth` for work for the helper threads. Every call takes the time.
pub struct Core {
    pub(super) limits: Limits,
    pub(super) configs: Configs,
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) boot_epoch: [u8; 16],
    pub(super) accept: bool,
    pub(super) endpoint: Endpoint,
    pub(super) links: Links,
    pub(super) timers: Timers,
    pub(super) random: Random,
    pub(super) admission: Admission,
    pub(super) auth_jobs: VecDeque<AuthJob>,
    /// Connections of each node that has been proved, those of the other engine threads included.
    pub(super) per_node: Arc<PerNode>,
    pub(super) targets: BTreeMap<TargetId, TargetState>,
    pub(super) next_target: u64,
    /// Own handshakes under way.
    pub(super) dialling: usize,
    /// Links whose paused streams were resumed: read in the next turn.
    pub(super) resumed: Vec<PeerSlot>,
    /// Targets that wait for something to happen before the turn ends.
    pub(super) reports: Vec<super::dial::Report>,
    /// Chunks on their way from a stream to the application; kept for its space.
    pub(super) chunks: Vec<(u64, Bytes)>,
    /// Streams with something to read; kept for its space.
    pub(super) readable: Vec<StreamId>,
    /// What goes over relays, and what is relayed for others.
    pub(super) relay: Packets,
    responses: VecDeque<(Transmit, Vec<u8>)>,
    response: Vec<u8>,
    pub(super) revocation_epoch: u64,
    /// Of what the peers have been told.
    pub(super) notice_epoch: u64,
    /// Bytes of notices that have not been checked yet.
    pub(super) notice_bytes: usize,
    pub(super) revocation_at: Option<Instant>,
    /// Set while closing gracefully: the latest time to be done.
    pub(super) closing: Option<Instant>,
    pub(super) stats: CoreStats,
    pub(super) shard: ShardBits,
    /// The cores of the other engine threads, for what the application does with their peers.
    pub(super) group: Weak<Group>,
    /// Nobody drives this core: what another engine thread leaves for it needs a wake.
    pub(super) asleep: bool,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Core")
            .field("links", &self.links.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// Where a connection's packets really go: not over another relay, or packets could go round.
pub(super) fn real_address(links: &Links, slot: PeerSlot) -> Option<SocketAddr> {
    let address = links.get(slot)?.connection.remote_address();
    (!is_virtual(&address)).then_some(address)
}

impl Core {
    /// An engine without connections.
    ///
    /// # Errors
    /// When a limit is out of its range, or the identity's TLS configuration cannot be used with QUIC.
    pub fn new(options: &CoreOptions) -> Result<Self, String> {
        options.limits.check().map_err(|error| error.to_string())?;
        let (shard, shards) = options.shard;
        let shard_bits = ShardBits::new(shard, shards);
        let mut configs = Configs::new(
            &options.limits,
            options.authenticator.clone(),
            &options.seed,
        );
        let server = Some(configs.server()?);
        configs.client()?;
        let endpoint = config::endpoint(&options.limits, &options.seed, shard, shards);
        Ok(Self {
            limits: options.limits.clone(),
            configs,
            authenticator: options.authenticator.clone(),
            boot_epoch: options.boot_epoch,
            accept: options.accept,
            endpoint: Endpoint::new(endpoint, server, options.unfragmented, None),
            links: Links::new(shard_bits),
            timers: Timers::default(),
            random: Random::new(options.seed.iter().fold(u64::from(shard), |mixed, &byte| {
                mixed.rotate_left(8).wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
            })),
            admission: Admission::new(options.limits.handshakes_per_second),
            auth_jobs: VecDeque::new(),
            per_node: Arc::default(),
            targets: BTreeMap::new(),
            next_target: 0,
            dialling: 0,
            resumed: Vec::new(),
            reports: Vec::new(),
            chunks: Vec::new(),
            readable: Vec::new(),
            relay: Packets::new(&options.seed, options.shard),
            responses: VecDeque::new(),
            response: Vec::new(),
            revocation_epoch: options.authenticator.revocation_epoch(),
            notice_epoch: options.authenticator.notice_epoch(),
            notice_bytes: 0,
            revocation_at: None,
            closing: None,
            stats: CoreStats::default(),
            shard: shard_bits,
            group: Weak::new(),
            asleep: false,
        })
    }

    /// What it has counted.
    pub fn stats(&self) -> CoreStats {
        CoreStats {
            connections: self.links.len() as u64,
            ..self.stats
        }
    }

    /// The time that the application's [`Io`] sees and the engine as it may use it.
    pub fn io(&mut self, now: Instant) -> Io<'_> {
        Io::new(now, self)
    }

    /// Takes one datagram in. `local_ip` is where it arrived, when that is known.
    pub fn receive(
        &mut self,
        now: Instant,
        mut remote: SocketAddr,
        mut local_ip: Option<IpAddr>,
        ecn: Option<EcnCodepoint>,
        mut datagram: BytesMut,
    ) {
        self.stats.datagrams_received += 1;
        let links = &self.links;
        match self.relay.received(Received {
            now,
            remote,
            datagram: &mut datagram,
            address_of: &|slot| real_address(links, slot),
        }) {
            Handled::Quic(None) => {}
            Handled::Quic(Some(way)) => (remote, local_ip) = (way, None),
            Handled::Done => return,
        }
        let length = datagram.len();
        self.response.clear();
        match self
            .endpoint
            .handle(now, remote, local_ip, ecn, datagram, &mut self.response)
        {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(index) = self.links.by_handle(handle)
                    && let Some(link) = self.links.at(index)
                {
                    link.earn(length);
                    link.silence.heard();
                    link.connection.handle_event(event);
                    self.links.mark(index);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.incoming(now, incoming, length),
            Some(DatagramEvent::Response(transmit)) => self.respond(transmit),
        }
    }

    /// Queues what the endpoint itself has written to the response buffer.
    pub(super) fn respond(&mut self, transmit: Transmit) {
        if self.responses.len() < MAX_RESPONSES {
            self.responses
                .push_back((transmit, self.response[..].to_vec()));
        }
    }

    pub(super) fn response_buffer(&mut self) -> (&mut Endpoint, &mut Vec<u8>) {
        self.response.clear();
        (&mut self.endpoint, &mut self.response)
    }

    /// The next train of datagrams to send: its bytes are in `buffer`, `segment_size` each when there are several. `None`
    /// when there is nothing to send.
    ///
    /// `segments` is what the socket takes in one call: 1 without segmentation offload.
    pub fn transmit(
        &mut self,
        now: Instant,
        segments: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        buffer.clear();
        while let Some((transmit, bytes)) = self.responses.pop_front() {
            buffer.clear();
            buffer.extend_from_slice(&bytes);
            self.stats.datagrams_sent += 1;
            if let Some(transmit) = self.outgoing(transmit, buffer) {
                return Some(transmit);
            }
        }
        if let Some((destination, datagram)) = self.relay.poll_waiting() {
            buffer.clear();
            buffer.extend_from_slice(&datagram);
            self.stats.datagrams_sent += 1;
            return Some(Transmit {
                destination,
                ecn: None,
                size: buffer.len(),
                segment_size: None,
                src_ip: None,
            });
        }
        while let Some(index) = self.links.first_dirty() {
            if let Some(link) = self.links.at(index) {
                // A relayed packet has a header in front.
                let mtu = usize::from(link.connection.current_mtu()) + relay::HEADER;
                let train = segments
                    .min(MAX_TRAIN_SEGMENTS)
                    .min(MAX_TRAIN_BYTES / mtu)
                    .max(1);
                if let Some(mut transmit) = link.connection.poll_transmit(now, train, buffer) {
                    link.spend(&mut transmit);
                    buffer.truncate(transmit.size);
                    if transmit.size == 0 {
                        continue;
                    }
                    link.silence.sent();
                    self.stats.datagrams_sent += match transmit.segment_size {
                        Some(size) => transmit.size.div_ceil(size) as u64,
                        None => 1,
                    };
                    if let Some(transmit) = self.outgoing(transmit, buffer) {
                        return Some(transmit);
                    }
                    buffer.clear();
                    continue;
                }
                let (slot, due) = (link.slot, link.due());
                // See `Timers`: only a deadline that moves closer is worth an entry.
                if let Some(at) = due
                    && link.armed.is_none_or(|armed| at < armed)
                {
                    link.armed = Some(at);
                    self.timers.push(at, Due::Link(slot));
                }
            }
            self.links.clean_first();
        }
        None
    }

    /// A train as it leaves: one for a relayed way goes to the relay, with its header. `None` when there is no way.
    #[inline]
    fn outgoing(&mut self, transmit: Transmit, train: &mut Vec<u8>) -> Option<Transmit> {
        if !is_virtual(&transmit.destination) {
            return Some(transmit);
        }
        train.truncate(transmit.size);
        let segment = transmit.segment_size.unwrap_or(transmit.size);
        let links = &self.links;
        let destination = self
            .relay
            .wrap(&transmit.destination, train, segment, &|slot| {
                real_address(links, slot)
            })?;
        Some(Transmit {
            destination,
            size: train.len(),
            segment_size: transmit.segment_size.map(|size| size + relay::HEADER),
            src_ip: None,
            ..transmit
        })
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, the application's own deadline included.
    pub fn deadline(&self, application_deadline: Option<Instant>) -> Option<Instant> {
        [self.timers.next(), application_deadline, self.revocation_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether a call of the application has left something to send.
    pub fn is_dirty(&self) -> bool {
        self.links.first_dirty().is_some()
    }

    /// From now on nobody drives this core until a packet, a time or a wake. Whether there is something left to do after all.
    pub(crate) fn sleeps(&mut self) -> bool {
        self.asleep = true;
        self.is_pending() || self.is_dirty()
    }

    /// Somebody drives this core.
    pub(crate) fn wakes(&mut self) {
        self.asleep = false;
    }

    /// Whether something is to be done without waiting for a packet or a time.
    pub fn is_pending(&self) -> bool {
        !self.resumed.is_empty() || !self.reports.is_empty()
    }

    /// Does what is due. `settle` and `transmit` follow.
    pub fn handle_timeout<A: Application>(&mut self, now: Instant, application: &mut A) {
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Link(slot) => self.link_due(now, slot),
                Due::Target(target) => self.dial_due(now, target),
                Due::Health(slot) => self.health_due(now, slot),
            }
        }
        if self.revocation_at.is_some_and(|at| at <= now) {
            self.check_revocations(now, application);
        }
        if application.deadline().is_some_and(|at| at <= now) {
            application.timeout(&mut Io::new(now, self));
        }
    }

    fn link_due(&mut self, now: Instant, slot: PeerSlot) {
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        link.armed = None;
        let mut silent = false;
        if link.connection.poll_timeout().is_some_and(|at| at <= now) {
            link.connection.handle_timeout(now);
            silent = link.silence.timer(now, link.connection.rtt());
        }
        if link.give_up_at.is_some_and(|at| at <= now) {
            self.give_up(now, slot);
        } else if silent {
            self.fallen_silent(now, slot);
        }
    }

    /// Work for a helper thread.
    pub fn poll_auth(&mut self) -> Option<AuthJob> {
        self.auth_jobs.pop_front()
    }

    pub(super) fn resume(&mut self, peer: PeerSlot, stream: StreamId) {
        let Some(link) = self.links.get_mut(peer) else {
            return;
        };
        let Some(state) = link.stream_mut(stream) else {
            return;
        };
        if std::mem::replace(&mut state.paused, false)
            && !std::mem::replace(&mut link.resumed, true)
        {
            self.resumed.push(peer);
        }
    }

    fn check_revocations<A: Application>(&mut self, now: Instant, application: &mut A) {
        let watched = self.links.iter().any(|link| link.phase != Phase::Closed);
        self.revocation_at = watched.then(|| now + REVOCATION_INTERVAL);
        self.notify_all();
        let epoch = self.authenticator.revocation_epoch();
        if epoch == self.revocation_epoch {
            return;
        }
        self.revocation_epoch = epoch;
        for index in self.links.indexes() {
            let Some(link) = self.links.at(index) else {
                continue;
            };
            let Some(identity) = &link.identity else {
                continue;
            };
            if link.phase != Phase::Closed && self.authenticator.is_revoked(&identity.node_id) {
                let slot = link.slot;
                self.stats.revoked += 1;
                self.close_with(now, slot, super::close::CloseCode::Revoked);
            }
        }
        let authenticator = self.authenticator.clone();
        application.revocations_changed(&mut Io::new(now, self), &|node| {
            authenticator.is_revoked(node)
        });
    }

    /// Starts watching the list of revoked nodes, as long as there is anybody it could concern.
    pub(super) fn watch_revocations(&mut self, now: Instant) {
        if self.revocation_at.is_none() {
            self.revocation_at = Some(now + REVOCATION_INTERVAL);
        }
    }
}
