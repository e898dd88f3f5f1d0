//! [`Keeper`]: keeps nodes connected that are known by their ids: by their own addresses, and over relays where those fail.
//!
//! A part of an [`Application`](crate::core::Application) beside [`Relays`]: sans-IO, told who comes and goes.
//!
//! - Relays cost others something: ways are asked for only when a node has not answered at its own addresses for
//!   [`PATIENCE`], or has none, and are given back when it has been connected directly for [`SETTLED`].
//! - Two ways over the relays that are ranked best: one in use, one that is probed and ready. When the ranking changes its
//!   mind, or a relay goes, the connection moves.
//! - A relay that is named in a node's record and is not connected is dialled, while fewer than two relays are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::ranking::Ranking;
use super::relays::{RelayError, Relays};
use super::virtual_address::is_virtual;
use crate::core::{Io, NodeId, PeerInfo, PeerSlot, Random, Target, TargetId};

/// How long a node may take to answer at its own addresses before relays are asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a direct connection must have stood before ways over relays are given back.
const SETTLED: Duration = Duration::from_secs(30);
/// Ways that a node has at a time.
const WAYS: usize = 2;
/// Between two looks at a node that is not connected directly.
const LOOK: Duration = Duration::from_secs(1);
/// Before a relay that gave no way is asked again.
const REFUSED: Duration = Duration::from_secs(5);
/// Relays that are dialled for the sake of one node.
const MAX_HINTS: usize = 4;

/// A node to keep connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Who. Nobody else is taken for it.
    pub node: NodeId,
    /// Its own addresses, best first; perhaps none.
    pub direct: Vec<SocketAddr>,
    /// Relays that know it, and where they are.
    pub relays: Vec<(NodeId, SocketAddr)>,
}

#[derive(Debug)]
enum Asked {
    /// The relay has not answered yet.
    Waiting(Receiver<Result<SocketAddr, RelayError>>),
    Way(SocketAddr),
    /// It gave none; not asked again before.
    Refused(Instant),
}

#[derive(Debug)]
struct Kept {
    wanted: Wanted,
    peers: Vec<PeerSlot>,
    /// Since when it has been as it is: connected directly, or not.
    since: Instant,
    /// By relay.
    asked: BTreeMap<NodeId, Asked>,
    /// What the pool knows.
    addresses: Vec<SocketAddr>,
    look: Instant,
}

impl Kept {
    /// Whether what relays say matters to it.
    fn wants_relays(&self, now: Instant) -> bool {
        let patient =
            self.wanted.direct.is_empty() || now.saturating_duration_since(self.since) >= PATIENCE;
        !self.asked.is_empty() || (self.peers.is_empty() && patient)
    }

    /// The ways, and which relays they are over.
    fn ways(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        self.asked.iter().filter_map(|(relay, asked)| match asked {
            Asked::Way(address) => Some((*relay, *address)),
            _ => None,
        })
    }
}

/// The nodes that are to be kept, and the ways to them.
#[derive(Debug)]
pub struct Keeper {
    kept: BTreeMap<TargetId, Kept>,
    /// Relays that were dialled because a record named them.
    hinted: BTreeMap<NodeId, TargetId>,
    random: Random,
    /// Of [`Relays`], when it was last looked at.
    epoch: u64,
    deadline: Option<Instant>,
}

impl Keeper {
    /// One that keeps nobody. `seed` is any number: it decides between relays that are alike.
    pub fn new(seed: u64) -> Self {
        Self {
            kept: BTreeMap::new(),
            hinted: BTreeMap::new(),
            random: Random::new(seed),
            epoch: 0,
            deadline: None,
        }
    }

    /// Reaches a node and keeps it. Of a node that is kept already, what is known is added to.
    ///
    /// # Errors
    /// As [`Io::connect`].
    pub fn keep(
        &mut self,
        io: &mut Io<'_>,
        relays: &mut Relays,
        wanted: Wanted,
    ) -> Result<TargetId, &'static str> {
        let now = io.now();
        let mut all = self.kept.iter_mut();
        let known = all.find(|(_, kept)| kept.wanted.node == wanted.node);
        if let Some((id, kept)) = known {
            let id = *id;
            if !wanted.direct.is_empty() {
                kept.wanted.direct = wanted.direct;
            }
            kept.wanted.relays = wanted.relays;
            if kept.peers.is_empty() {
                kept.look = now;
            }
            self.look(io, relays, id);
            self.rearm();
            return Ok(id);
        }
        let id = io.connect(Target {
            addresses: wanted.direct.clone(),
            expected: Some(wanted.node),
            connections: 1,
            persistent: true,
        })?;
        let look = if wanted.direct.is_empty() {
            now
        } else {
            now + PATIENCE
        };
        self.kept.insert(
            id,
            Kept {
                addresses: wanted.direct.clone(),
                wanted,
                peers: Vec::new(),
                since: now,
                asked: BTreeMap::new(),
                look,
            },
        );
        self.look(io, relays, id);
        self.rearm();
        Ok(id)
    }

    /// The connection to a node that is kept.
    pub fn peer(&self, id: TargetId) -> Option<PeerSlot> {
        self.kept.get(&id)?.peers.last().copied()
    }

    /// Gives a node up, with its ways. Also for targets that were connected without a keeper.
    pub fn forget(&mut self, io: &mut Io<'_>, relays: &mut Relays, id: TargetId) {
        io.forget(id);
        let Some(kept) = self.kept.remove(&id) else {
            return;
        };
        for (_, way) in kept.ways() {
            relays.close(io, way);
        }
        let named = |relay: &NodeId| {
            let mut hints = self.kept.values().flat_map(|kept| &kept.wanted.relays);
            hints.any(|(named, _)| named == relay)
        };
        let unnamed: Vec<NodeId> = self.hinted.keys().copied().collect();
        for relay in unnamed.into_iter().filter(|relay| !named(relay)) {
            if let Some(target) = self.hinted.remove(&relay) {
                io.forget(target);
            }
        }
        self.rearm();
    }

    /// See [`Application::connected`](crate::core::Application::connected).
    pub fn connected(&mut self, io: &Io<'_>, slot: PeerSlot, info: &PeerInfo) {
        if let Some(kept) = info.target.and_then(|id| self.kept.get_mut(&id)) {
            kept.peers.push(slot);
            kept.since = io.now();
            kept.look = io.now() + LOOK;
        }
        self.rearm();
    }

    /// See [`Application::disconnected`](crate::core::Application::disconnected).
    pub fn disconnected(&mut self, io: &Io<'_>, slot: PeerSlot) {
        for kept in self.kept.values_mut() {
            if let Some(at) = kept.peers.iter().position(|peer| *peer == slot) {
                kept.peers.remove(at);
                kept.since = io.now();
                let patience = if kept.asked.is_empty() {
                    PATIENCE
                } else {
                    Duration::ZERO
                };
                kept.look = io.now() + patience;
            }
        }
        self.rearm();
    }

    /// See [`Application::unreachable`](crate::core::Application::unreachable): a target that the engine has given up is not kept.
    pub fn given_up(&mut self, io: &mut Io<'_>, relays: &mut Relays, id: TargetId) {
        self.hinted.retain(|_, hinted| *hinted != id);
        if self.kept.contains_key(&id) {
            self.forget(io, relays, id);
        }
    }

    /// Looks whether relays or answers of theirs have come: after each call of [`Relays`].
    pub fn poll(&mut self, io: &mut Io<'_>, relays: &mut Relays) {
        if self.epoch == relays.epoch() {
            return;
        }
        self.epoch = relays.epoch();
        let ids: Vec<TargetId> = self.kept.keys().copied().collect();
        for id in ids {
            if let Some(kept) = self.kept.get_mut(&id)
                && kept.wants_relays(io.now())
            {
                kept.look = kept.look.min(io.now());
                self.look(io, relays, id);
            }
        }
        self.rearm();
    }

    /// See [`Application::timeout`](crate::core::Application::timeout).
    pub fn timeout(&mut self, io: &mut Io<'_>, relays: &mut Relays) {
        let now = io.now();
        let due = self.kept.iter().filter(|(_, kept)| kept.look <= now);
        let ids: Vec<TargetId> = due.map(|(id, _)| *id).collect();
        for id in ids {
            self.look(io, relays, id);
        }
        self.rearm();
    }

    /// See [`Application::deadline`](crate::core::Application::deadline).
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn rearm(&mut self) {
        self.deadline = self.kept.values().map(|kept| kept.look).min();
    }

    /// Does what a node needs now.
    fn look(&mut self, io: &mut Io<'_>, relays: &mut Relays, id: TargetId) {
        let now = io.now();
        let Some(kept) = self.kept.get_mut(&id) else {
            return;
        };
        if kept.look > now {
            return;
        }
        kept.look = now + LOOK;
        kept.collect(now);
        // The latest: an older one may be on its way out.
        let in_use = kept.peers.iter().rev().find_map(|peer| {
            let address = io.address(*peer)?;
            Some((*peer, address))
        });
        if let Some((_, address)) = in_use
            && !is_virtual(&address)
        {
            if kept.asked.is_empty() {
                // Nothing to do before it is gone.
                kept.look = now + Duration::from_secs(3600);
            } else if now.saturating_duration_since(kept.since) >= SETTLED {
                for (_, way) in kept.ways() {
                    relays.close(io, way);
                }
                kept.asked.clear();
                kept.readdress(io, id, kept.wanted.direct.clone());
            }
            return;
        }
        self.hint(io, relays, id);
        let Some(kept) = self.kept.get_mut(&id) else {
            return;
        };
        let node = kept.wanted.node;
        let serving = relays.serving().map(|(_, relay)| relay);
        let serving: Vec<NodeId> = serving.filter(|relay| *relay != node).collect();
        let current = in_use.and_then(|(_, address)| relays.relay_of(&address));
        let ranking = Ranking::new(serving, current, relays.scores(), now, self.random.next());
        let best: Vec<NodeId> = ranking
            .candidates()
            .iter()
            .map(|candidate| candidate.relay)
            .filter(|relay| !matches!(kept.asked.get(relay), Some(Asked::Refused(_))))
            .take(WAYS)
            .collect();
        kept.ask(io, relays, &best);
        kept.drop_spare(io, relays, &best, current);
        let way_of = |relay: &NodeId| match kept.asked.get(relay) {
            Some(Asked::Way(address)) if relays.is_open(address) => Some(*address),
            _ => None,
        };
        let open: Vec<SocketAddr> = best.iter().filter_map(way_of).collect();
        let mut addresses = kept.wanted.direct.clone();
        addresses.extend(&open);
        let preferred = open.first().copied();
        kept.readdress(io, id, addresses);
        if let (Some((peer, address)), Some(preferred)) = (in_use, preferred)
            && address != preferred
        {
            io.move_to(peer, preferred);
        }
    }

    /// Dials relays that a node's record names, while there are too few.
    fn hint(&mut self, io: &mut Io<'_>, relays: &Relays, id: TargetId) {
        if relays.serving().count() >= WAYS {
            return;
        }
        let Some(kept) = self.kept.get(&id) else {
            return;
        };
        for &(relay, address) in kept.wanted.relays.iter().take(MAX_HINTS) {
            let there = relays.peer(&relay).is_some() || self.hinted.contains_key(&relay);
            if there || relay == kept.wanted.node {
                continue;
            }
            let target = Target {
                expected: Some(relay),
                ..Target::at(address)
            };
            // At a limit it is tried again with the next look.
            if let Ok(target) = io.connect(target) {
                self.hinted.insert(relay, target);
            }
        }
    }
}

impl Kept {
    /// Takes the answers of relays.
    fn collect(&mut self, now: Instant) {
        for asked in self.asked.values_mut() {
            if let Asked::Waiting(told) = asked {
                *asked = match told.try_recv() {
                    Ok(Ok(address)) => Asked::Way(address),
                    Err(TryRecvError::Empty) => continue,
                    Ok(Err(_)) | Err(TryRecvError::Disconnected) => Asked::Refused(now + REFUSED),
                };
            }
        }
        self.asked
            .retain(|_, asked| !matches!(asked, Asked::Refused(until) if *until <= now));
    }

    fn ask(&mut self, io: &mut Io<'_>, relays: &mut Relays, best: &[NodeId]) {
        for relay in best {
            if !self.asked.contains_key(relay) {
                let (tell, told) = channel();
                self.asked.insert(*relay, Asked::Waiting(told));
                relays.open(io, *relay, self.wanted.node, tell);
            }
        }
        // What was there already has been told at once.
        self.collect(io.now());
    }

    /// Gives back what is neither among the best nor in use.
    fn drop_spare(
        &mut self,
        io: &mut Io<'_>,
        relays: &mut Relays,
        best: &[NodeId],
        current: Option<NodeId>,
    ) {
        let spare = |relay: &NodeId| !best.contains(relay) && Some(*relay) != current;
        let ways: Vec<_> = self.ways().filter(|(relay, _)| spare(relay)).collect();
        for (relay, way) in ways {
            self.asked.remove(&relay);
            relays.close(io, way);
        }
    }

    fn readdress(&mut self, io: &mut Io<'_>, id: TargetId, mut addresses: Vec<SocketAddr>) {
        addresses.truncate(crate::pool::MAX_ADDRESSES);
        if addresses != self.addresses {
            self.addresses.clone_from(&addresses);
            // It is within its bound.
            let _ = io.readdress(id, addresses);
        }
    }
}
