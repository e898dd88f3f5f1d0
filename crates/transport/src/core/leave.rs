//! Saying goodbye: what was written and acknowledged by the application is delivered before a connection ends.
//!
//! Each side finishes its streams, says GOODBYE and goes on reading. Who began closes once everything it sent has been
//! acknowledged and everything the peer sent has been read; a peer that does not go along is closed when the grace is over.

use std::time::{Duration, Instant};

use super::Core;
use super::application::Application;
use super::close::{CloseCode, CloseReason};
use super::control;
use super::io::Io;
use super::link::{Link, Phase};
use super::peer::PeerSlot;

impl Link {
    /// Finishes all that this side sends and says so.
    fn finish_all(&mut self) {
        let sending: Vec<_> = self
            .streams
            .iter()
            .filter(|state| state.sending)
            .map(|state| state.id)
            .collect();
        for stream in sending {
            // Stopped or closed already: then there is nothing left to finish.
            let _ = self.finish(stream);
            self.end(stream, true);
        }
        control::goodbye(&mut self.control.outbox, self.opened);
        self.control.finishing = true;
        self.flush_control();
    }

    /// Whether everything has gone both ways: all that this side sent has been acknowledged, and all streams that the
    /// peer says it opened have been read to their end. (GOODBYE goes first and may overtake them.)
    fn is_through(&mut self) -> bool {
        self.control.goodbye == Some(self.taken)
            && self.streams.is_empty()
            && self.connection.streams().send_streams() == 0
    }
}

impl Core {
    /// Begins to leave a peer gracefully, without asking the application for last words.
    pub(super) fn leave(&mut self, slot: PeerSlot, give_up_at: Instant) {
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        if link.phase != Phase::Open {
            return;
        }
        link.left_first = link.control.goodbye.is_none();
        link.finish_all();
        link.phase = Phase::Draining;
        link.give_up_at = Some(give_up_at);
        if link.armed.is_none_or(|armed| give_up_at < armed) {
            link.armed = Some(give_up_at);
            self.timers.push(give_up_at, super::timers::Due::Link(slot));
        }
    }

    /// Closes the engine gracefully: no new connections, goodbyes to all, and no longer than `grace`.
    ///
    /// [`is_closed`](Self::is_closed) tells when it is done; it is driven as before until then.
    pub fn close<A: Application>(&mut self, now: Instant, grace: Duration, application: &mut A) {
        let give_up_at = now + grace;
        self.closing = Some(give_up_at);
        self.accept = false;
        self.targets.clear();
        for index in self.links.indexes() {
            let Some(link) = self.links.at(index) else {
                continue;
            };
            let slot = link.slot;
            match link.phase {
                Phase::Open => {
                    application.closing(&mut Io::new(now, self), slot);
                    self.leave(slot, give_up_at);
                }
                Phase::Handshake | Phase::Proving | Phase::Joining => {
                    self.close_for(now, slot, CloseCode::Done, CloseReason::Closing);
                }
                Phase::Draining | Phase::Closed => {}
            }
        }
    }

    /// Whether a graceful close is through: nothing is left that a peer waits for.
    pub fn is_closed(&self) -> bool {
        self.closing.is_some() && self.links.iter().all(|link| link.phase == Phase::Closed)
    }

    /// A peer said goodbye, or one that we left has heard everything.
    pub(super) fn goodbyes<A: Application>(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        application: &mut A,
    ) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        let through = link.phase == Phase::Draining && link.left_first && link.is_through();
        match link.phase {
            Phase::Open if link.control.goodbye.is_some() => {
                application.closing(&mut Io::new(now, self), slot);
                // The peer closes; the limit is for one that does not.
                let give_up_at = now + self.limits.hello_timeout;
                self.leave(slot, give_up_at);
            }
            Phase::Draining if through => self.close_with(now, slot, CloseCode::Done),
            _ => {}
        }
    }

    /// A handshake or a goodbye has taken too long.
    pub(super) fn give_up(&mut self, now: Instant, slot: PeerSlot) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        link.give_up_at = None;
        let (close, reason) = match link.phase {
            Phase::Draining => (CloseCode::Done, CloseReason::Closing),
            _ => (CloseCode::HelloTimeout, CloseReason::TimedOut),
        };
        self.close_for(now, slot, close, reason);
    }
}
