//! Reaching targets: from what the pool decides to a connection under way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Core;
use super::application::Application;
use super::authenticator::{SERVER_NAME, Side};
use super::close::{CloseCode, CloseReason};
use super::io::Io;
use super::link::Phase;
use super::peer::{PeerSlot, Target, TargetId};
use super::stats::PeerStats;
use super::timers::Due;
use crate::pool::{Failed, Step, TargetState};
use crate::relay::is_virtual;

/// How often the health of a path is looked at, where there is another one.
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
        let id = TargetId(self.next_target);
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

    /// A connection that a target had is lost.
    pub(super) fn target_lost(&mut self, now: Instant, id: TargetId) {
        let Some(state) = self.targets.get_mut(&id) else {
            return;
        };
        if state.lost(now, &mut self.random) {
            self.timers.push(now, Due::Target(id));
        } else {
            self.targets.remove(&id);
        }
    }

    /// A target has one more connection: perhaps it wants another, perhaps this one takes the place of a worse one.
    pub(super) fn target_connected(&mut self, now: Instant, slot: PeerSlot, id: TargetId) {
        let Some(state) = self.targets.get_mut(&id) else {
            return;
        };
        let replaced = state.connected();
        self.timers.push(now, Due::Target(id));
        if state.target.addresses.len() > 1 {
            self.timers.push(now + HEALTH_INTERVAL, Due::Health(slot));
        }
        if let Some(replaced) = replaced {
            self.leave(replaced, now + self.limits.hello_timeout);
        }
    }

    /// Looks at a path, and tries the next address when it has been bad for a while.
    pub(super) fn health_due(&mut self, now: Instant, slot: PeerSlot) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        let (Phase::Open, Some(id)) = (link.phase, link.target) else {
            return;
        };
        link.health.observe(&PeerStats::of(&link.connection));
        let impaired = link.health.is_impaired();
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
