//! Reaching targets: from what the pool decides to a connection under way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Core;
use super::application::Application;
use super::authenticator::{SERVER_NAME, Side};
use super::close::{CloseCode, CloseReason};
use super::io::Io;
use super::link::{Link, Phase};
use super::peer::{PeerSlot, Target, TargetId};
use super::stats::PeerStats;
use super::timers::Due;
use crate::pool::{Failed, Health, Step, TargetState};
use crate::relay::is_virtual;

/// How often the health of a path is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a direct way may take to answer where a relayed one stands behind it.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// A failed attempt that the application is to hear of.
#[derive(Debug)]
pub(super) struct Report {
    target: TargetId,
    reason: CloseReason,
    retry_in: Option<Duration>,
}

impl Core {
    pub(super) fn connect(
        &mut self,
        now: Instant,
        target: Target,
    ) -> Result<TargetId, &'static str> {
        if self.targets.len() >= self.limits.targets {
            return Err("targets");
        }
        let state = TargetState::new(target)?;
        let id = TargetId(self.shard.number(self.next_target));
        self.next_target += 1;
        self.targets.insert(id, state);
        self.dial_due(now, id);
        Ok(id)
    }

    /// Does what a target wants done now.
    pub(super) fn dial_due(&mut self, now: Instant, id: TargetId) {
        if self.closing.is_some() {
            return;
        }
        while let Some(state) = self.targets.get_mut(&id) {
            match state.step(now) {
                Step::Rest => return,
                Step::Wait(at) => return self.timers.push(at, Due::Target(id)),
                Step::Dial(address) => {
                    if self.dialling >= self.limits.dials
                        || self.links.len() >= self.limits.connections
                    {
                        let at = state.postponed(now, &mut self.random);
                        return self.timers.push(at, Due::Target(id));
                    }
                    if let Err(reason) = self.dial(now, id, address) {
                        self.dial_failed(now, id, reason);
                    }
                }
            }
        }
    }

    fn dial(
        &mut self,
        now: Instant,
        target: TargetId,
        address: SocketAddr,
    ) -> Result<(), CloseReason> {
        let config = self.configs.client().map_err(CloseReason::Transport)?;
        let (handle, connection) = self
            .endpoint
            .connect(now, config, address, SERVER_NAME)
            .map_err(|error| CloseReason::Transport(error.to_string()))?;
        self.dialling += 1;
        self.stats.dialled += 1;
        let slot = self.insert(now, handle, connection, Side::Client, Some(target));
        let relayed = |state: &TargetState| state.target.addresses.iter().any(is_virtual);
        if !is_virtual(&address)
            && self.targets.get(&target).is_some_and(relayed)
            && let Some(link) = self.links.get_mut(slot)
        {
            link.give_up_at = Some(now + IMPATIENCE.min(self.limits.hello_timeout));
        }
        Ok(())
    }

    /// An attempt for a target failed before the peer was connected.
    pub(super) fn dial_failed(&mut self, now: Instant, id: TargetId, reason: CloseReason) {
        let Some(state) = self.targets.get_mut(&id) else {
            return;
        };
        let retry_in = match state.failed(now, reason.is_retryable(), &mut self.random) {
            Failed::Retry(wait) => {
                self.timers.push(now + wait, Due::Target(id));
                Some(wait)
            }
            Failed::GivenUp => {
                self.targets.remove(&id);
                None
            }
        };
        self.reports.push(Report {
            target: id,
            reason,
            retry_in,
        });
    }

    /// A connection that a target had is lost; `silent` is its address if nothing was heard from there any more.
    pub(super) fn target_lost(&mut self, now: Instant, id: TargetId, silent: Option<SocketAddr>) {
        let Some(state) = self.targets.get_mut(&id) else {
            return;
        };
        if state.lost(now, silent, &mut self.random) {
            self.timers.push(now, Due::Target(id));
        } else {
            self.targets.remove(&id);
        }
    }

    /// A target has one more connection: perhaps it wants another, perhaps this one takes the place of a worse one.
    pub(super) fn target_connected(&mut self, now: Instant, slot: PeerSlot, id: TargetId) {
        let Some(address) = self.address_of(slot) else {
            return;
        };
        let Some(state) = self.targets.get_mut(&id) else {
            return;
        };
        let replaced = state.connected(address);
        if state
            .latest
            .replace(address)
            .is_some_and(|before| before != address)
        {
            self.stats.failovers += 1;
        }
        self.timers.push(now, Due::Target(id));
        self.watch(now, slot);
        let Some(replaced) = replaced else { return };
        let lost = |address| is_virtual(&address) && !self.relay.leads_somewhere(&address);
        let silent = |link: &Link| link.silence.is_silent(now, link.connection.rtt());
        if self.address_of(replaced).is_some_and(lost)
            || self.links.get(replaced).is_some_and(silent)
        {
            // Its relay or its path is gone: no goodbye would arrive.
            self.close_for(now, replaced, CloseCode::Done, CloseReason::TimedOut);
        } else {
            self.leave(replaced, now + self.limits.hello_timeout);
        }
    }

    /// Looks at the health of a path from now on: also where there is no other, for those who look at its figures.
    fn watch(&mut self, now: Instant, slot: PeerSlot) {
        if let Some(link) = self.links.get_mut(slot) {
            link.health = Some(Health::default());
            self.timers.push(now + HEALTH_INTERVAL, Due::Health(slot));
        }
    }

    fn address_of(&self, slot: PeerSlot) -> Option<SocketAddr> {
        Some(self.links.get(slot)?.connection.remote_address())
    }

    /// Other addresses for a target. Attempts at addresses that it has no more end, and one at a direct address that a relayed one
    /// now stands behind ends soon.
    pub(super) fn readdress(
        &mut self,
        now: Instant,
        id: TargetId,
        addresses: Vec<SocketAddr>,
    ) -> Result<(), &'static str> {
        let Some(state) = self.targets.get_mut(&id) else {
            return Ok(());
        };
        state.readdress(addresses)?;
        let addresses = &state.target.addresses;
        let relayed = addresses.iter().any(is_virtual);
        let links = self.links.iter().filter(|link| link.target == Some(id));
        let slots: Vec<(PeerSlot, SocketAddr, bool)> = links
            .map(|link| (link.slot, link.connection.remote_address()))
            .map(|(slot, address)| (slot, address, addresses.contains(&address)))
            .collect();
        for (slot, address, known) in slots {
            let Some(link) = self.links.get_mut(slot) else {
                continue;
            };
            match link.phase {
                Phase::Handshake if !known => {
                    self.close_for(now, slot, CloseCode::Done, CloseReason::TimedOut);
                }
                Phase::Handshake if relayed && !is_virtual(&address) => {
                    let at = now + IMPATIENCE.min(self.limits.hello_timeout);
                    let at = link.give_up_at.map_or(at, |before| before.min(at));
                    link.give_up_at = Some(at);
                    if link.armed.is_none_or(|armed| at < armed) {
                        link.armed = Some(at);
                        self.timers.push(at, Due::Link(slot));
                    }
                }
                _ => {}
            }
        }
        self.dial_due(now, id);
        Ok(())
    }

    /// Has a connection go over another address of its target. False when that cannot begin now.
    pub(super) fn move_to(&mut self, now: Instant, slot: PeerSlot, address: SocketAddr) -> bool {
        let Some((Phase::Open, Some(id))) =
            self.links.get(slot).map(|link| (link.phase, link.target))
        else {
            return false;
        };
        let room = self.dialling < self.limits.dials;
        let begins = |state: &mut TargetState| room && state.move_to(slot, address);
        if !self.targets.get_mut(&id).is_some_and(begins) {
            return false;
        }
        if let Err(reason) = self.dial(now, id, address) {
            self.dial_failed(now, id, reason);
        }
        true
    }

    /// A connection sends and hears nothing: tries the next address, long before the idle timeout would end it. It stays until
    /// the other one stands; one that speaks again by then is left with a goodbye.
    pub(super) fn fallen_silent(&mut self, now: Instant, slot: PeerSlot) {
        let Some((Phase::Open, Some(id))) =
            self.links.get(slot).map(|link| (link.phase, link.target))
        else {
            return;
        };
        if self.dialling >= self.limits.dials {
            return;
        }
        let next = self.targets.get_mut(&id);
        if let Some(address) = next.and_then(|state| state.fail_over(slot))
            && let Err(reason) = self.dial(now, id, address)
        {
            self.dial_failed(now, id, reason);
        }
    }

    /// Looks at a path, and tries the next address when it has been bad for a while.
    pub(super) fn health_due(&mut self, now: Instant, slot: PeerSlot) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        let (Phase::Open, Some(id), Some(health)) = (link.phase, link.target, &mut link.health)
        else {
            return;
        };
        health.observe(&PeerStats::of(&link.connection));
        let impaired = health.is_impaired();
        let relayed = is_virtual(&link.connection.remote_address());
        self.timers.push(now + HEALTH_INTERVAL, Due::Health(slot));
        if self.dialling >= self.limits.dials {
            return;
        }
        let address = self.targets.get_mut(&id).and_then(|state| {
            if impaired {
                state.fail_over(slot)
            } else if relayed {
                state.return_to_direct(now, slot)
            } else {
                None
            }
        });
        if let Some(address) = address
            && let Err(reason) = self.dial(now, id, address)
        {
            self.dial_failed(now, id, reason);
        }
    }

    pub(super) fn forget(&mut self, now: Instant, id: TargetId) {
        if self.targets.remove(&id).is_none() {
            return;
        }
        let slots: Vec<PeerSlot> = self
            .links
            .iter()
            .filter(|link| link.target == Some(id))
            .map(|link| link.slot)
            .collect();
        for slot in slots {
            let open = self.links.get(slot).is_some_and(|link| link.info.is_some());
            if open {
                self.leave(slot, now + self.limits.hello_timeout);
            } else {
                self.close_with(now, slot, CloseCode::Done);
            }
        }
    }

    /// Tells the application of failed attempts.
    pub(super) fn report<A: Application>(&mut self, now: Instant, application: &mut A) {
        for Report {
            target,
            reason,
            retry_in,
        } in std::mem::take(&mut self.reports)
        {
            application.unreachable(&mut Io::new(now, self), target, &reason, retry_in);
        }
    }
}
