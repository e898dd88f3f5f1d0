//! A request under way: what `complete` must know of its `pick`.

use linkmesh_tables::{Ticket, TicketSlab};

use crate::breaker::Probe;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Requests that may be under way at one time, in the whole mesh.
pub const MAX_TICKETS: usize = 1 << 18;

/// No lease: the ticket was given out and not filled in yet, or is free.
const UNFILLED: u64 = u64::MAX;

/// One open ticket. The fields are written by the picker before `lease_until_us`, and read by whoever claimed it.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct OpenTicket {
    lease_until_us: AtomicU64,
    picked_at_us: AtomicU64,
    probe_lease: AtomicU64,
    probe_place: AtomicU32,
    service: AtomicU32,
    instance: AtomicU32,
    thread: AtomicU32,
}

impl Default for OpenTicket {
    fn default() -> Self {
        Self {
            lease_until_us: AtomicU64::new(UNFILLED),
            picked_at_us: AtomicU64::new(0),
            probe_lease: AtomicU64::new(0),
            probe_place: AtomicU32::new(0),
            service: AtomicU32::new(0),
            instance: AtomicU32::new(0),
            thread: AtomicU32::new(0),
        }
    }
}

/// What a ticket says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    pub(crate) service: u32,
    pub(crate) instance: u32,
    /// Thread that picked, or waits.
    pub(crate) thread: u32,
    pub(crate) probe: Probe,
    pub(crate) picked_at_us: u64,
    pub(crate) lease_until_us: u64,
}

/// All open tickets. Each is closed exactly once, by whoever is first: the caller, the lease or the thread's end.
#[derive(Debug)]
pub(crate) struct Tickets {
    slab: TicketSlab<OpenTicket>,
    /// Slots ever used, so that a sweep need not look at all.
    used: AtomicU32,
}

impl Tickets {
    /// `None` when there is no memory.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            slab: TicketSlab::new(MAX_TICKETS).ok()?,
            used: AtomicU32::new(0),
        })
    }

    /// Gives out a ticket. `None` when [`MAX_TICKETS`] are open.
    #[inline(always)]
    pub(crate) fn open(&self, filled: &Filled) -> Option<u64> {
        let ticket = self.slab.allocate()?;
        if ticket.slot() >= self.used.load(Ordering::Relaxed) {
            self.used.fetch_max(ticket.slot() + 1, Ordering::Relaxed);
        }
        let open = self.slab.slot(ticket.slot());
        open.picked_at_us
            .store(filled.picked_at_us, Ordering::Relaxed);
        open.probe_lease
            .store(filled.probe.lease, Ordering::Relaxed);
        open.probe_place
            .store(filled.probe.place, Ordering::Relaxed);
        open.service.store(filled.service, Ordering::Relaxed);
        open.instance.store(filled.instance, Ordering::Relaxed);
        open.thread.store(filled.thread, Ordering::Relaxed);
        // Release, last: a sweep or a forged number that finds the ticket before this sees it unfilled, leaves it
        // alone, and cannot lose the place that it stands for.
        open.lease_until_us
            .store(filled.lease_until_us, Ordering::Release);
        Some(ticket.0)
    }

    /// Closes a ticket; for exactly one caller per ticket it says what it said.
    #[inline(always)]
    pub(crate) fn close(&self, ticket: u64) -> Option<Filled> {
        // Slabs mask the slot and compare the generation, so any number is safe to ask for.
        let ticket = Ticket(ticket);
        // Acquire pairs with the Release in `open`.
        let lease_until_us = self
            .slab
            .get(ticket)?
            .lease_until_us
            .load(Ordering::Acquire);
        if lease_until_us == UNFILLED {
            return None;
        }
        let claimed = self.slab.claim(ticket)?;
        let filled = Filled {
            service: claimed.service.load(Ordering::Relaxed),
            instance: claimed.instance.load(Ordering::Relaxed),
            thread: claimed.thread.load(Ordering::Relaxed),
            probe: Probe {
                place: claimed.probe_place.load(Ordering::Relaxed),
                lease: claimed.probe_lease.load(Ordering::Relaxed),
            },
            picked_at_us: claimed.picked_at_us.load(Ordering::Relaxed),
            lease_until_us,
        };
        // The claim's drop publishes it with the slot.
        claimed.lease_until_us.store(UNFILLED, Ordering::Relaxed);
        Some(filled)
    }

    /// Open tickets in slot order, with what they say at this moment; close them to be sure.
    pub(crate) fn open_ones(&self) -> impl Iterator<Item = (u64, u32, u64)> {
        (0..self.used.load(Ordering::Relaxed)).filter_map(|slot| {
            let ticket = self.slab.ticket_of(slot)?;
            let open = self.slab.get(ticket)?;
            let lease = open.lease_until_us.load(Ordering::Acquire);
            (lease != UNFILLED).then(|| (ticket.0, open.thread.load(Ordering::Relaxed), lease))
        })
    }
}
