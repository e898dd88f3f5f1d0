//! The rings of nodes on this host: when they are looked into, and what becomes of a node whose ring ends.

use std::time::Duration;

use linkmesh_requests::Malformed;
use linkmesh_transport::core::Io;

use crate::remote::bridge::{Bridge, ENDED, PROTOCOL, ROOM, advance, read_ring};

/// How long the end of a process is looked for after its ring has ended; then QUIC knows best.
const SUSPECT: Duration = Duration::from_millis(500);
/// Pieces of one ring that are read before others have their turn.
const PIECES: usize = 64;
/// Looks into the rings without finding anything after which packets are as likely: about a tenth of a millisecond.
const EXPECT: u32 = 2_048;

impl Bridge {
    /// Looks into the rings: in every turn of the engine, also when no packet came.
    #[inline]
    pub(crate) fn poll(&mut self, io: &mut Io<'_>) {
        if self.neighbours.has_stirred() {
            self.stirred(io);
        }
        if self.rings > 0 {
            self.poll_rings(io);
        }
    }

    /// True while the next thing to come is likely to come through a ring.
    #[inline]
    pub(crate) fn expects_ring(&self) -> bool {
        self.rings > 0 && self.quiet < EXPECT
    }

    /// True when the last look into the rings found something.
    #[inline]
    pub(crate) fn has_moved(&self) -> bool {
        self.quiet == 0
    }

    fn poll_rings(&mut self, io: &mut Io<'_>) {
        self.quiet = self.quiet.saturating_add(1);
        let awake = std::mem::take(&mut self.armed);
        let mut room = None;
        for link in self.links.iter_mut().flatten() {
            if awake && let Some(ring) = &mut link.ring {
                ring.disarm();
            }
            let mut moved = false;
            if link.reads_ring() {
                let now_ms = self.local.ms(io.now());
                match read_ring(&self.local, link, PIECES, now_ms) {
                    Ok(0) => {}
                    Ok(_) => {
                        moved = true;
                        self.quiet = 0;
                    }
                    Err(Malformed) => io.close(link.slot, PROTOCOL),
                }
            }
            if moved || link.is_waiting() {
                advance(&self.local, link, io);
                if link.is_waiting() {
                    room = Some(io.now() + ROOM);
                }
            }
        }
        if let Some(at) = room {
            self.look_within(at);
        }
    }

    /// Something has happened to a ring.
    #[cold]
    fn stirred(&mut self, io: &mut Io<'_>) {
        let mut suspects = false;
        for link in self.links.iter_mut().flatten() {
            if link.ring.is_none()
                && let Some(ring) = self.neighbours.ring(link.slot)
            {
                link.use_ring(ring);
                advance(&self.local, link, io);
            }
            if link.departures.uses_ring() && link.ring.as_ref().is_some_and(|ring| ring.is_over())
            {
                link.departures.come_back();
                advance(&self.local, link, io);
                link.suspected = Some(io.now() + SUSPECT);
                suspects = true;
            }
        }
        self.count_rings();
        if suspects {
            self.close_ended(io);
        }
    }

    /// Closes connections to processes that have ended: QUIC would take seconds to notice.
    pub(super) fn close_ended(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        let mut suspects = false;
        for link in self.links.iter_mut().flatten() {
            link.suspected = link.suspected.filter(|until| *until > now);
            if link.suspected.is_none() {
                continue;
            }
            if self.neighbours.has_ended(link.slot) {
                link.suspected = None;
                io.close(link.slot, ENDED);
            } else {
                suspects = true;
            }
        }
        if suspects {
            self.look_within(now + ROOM);
        }
    }

    pub(super) fn count_rings(&mut self) {
        let rings = self
            .links
            .iter()
            .flatten()
            .filter_map(|link| link.ring.as_ref());
        self.rings = rings.count();
    }

    /// The engine's thread is about to sleep. False when a ring holds something.
    pub(crate) fn before_sleep(&mut self) -> bool {
        if self.rings == 0 {
            return true;
        }
        self.armed = true;
        let mut idle = true;
        for link in self.links.iter_mut().flatten() {
            if link.reads_ring()
                && let Some(ring) = &mut link.ring
            {
                idle &= ring.arm();
            }
        }
        idle
    }
}
