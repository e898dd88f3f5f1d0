//! What happens because time passed.

use linkmesh_tables::epoch::Guard;

use crate::hashing::HashTable;
use crate::outcome::Outcome;
use crate::router::Router;
use crate::sync::Ordering;

impl Router {
    /// Does what is due: removes instances whose lease ran out, closes tickets whose lease ran out as Unknown, keeps outliers out, makes
    /// the tables of services whose members have changed, refuses waits whose time is over, gives places that time alone made free. Returns the threads to wake for their grants.
    ///
    /// Idempotent, from any thread; call it when [`next_deadline`](Self::next_deadline) has come.
    pub fn tick(&self, now_us: u64) -> Vec<u32> {
        self.with_registry(|_, guard| {
            self.expire_leases(now_us);
            self.expire_tickets(guard, now_us);
            self.detect_outliers(guard, now_us);
            self.prepare_tables(guard, now_us);
            self.log_changes();
            self.expire_ledgers(now_us);
            let mut waits = self.queue();
            self.time_out(&mut waits, now_us);
            self.grant_all(&mut waits, guard, now_us);
            waits.take_wakes()
        })
    }

    /// When [`tick`](Self::tick) is due next, microseconds; 0 = now. `None`: nothing will come of time alone.
    pub fn next_deadline(&self) -> Option<u64> {
        let sweep = self.next_sweep_us.load(Ordering::Relaxed);
        let lease = self.registry.next_deadline().unwrap_or(u64::MAX);
        let comparison = self.next_comparison_us.load(Ordering::Relaxed);
        let deadline = sweep
            .min(comparison)
            .min(self.next_tables_us.load(Ordering::Relaxed))
            .min(lease)
            .min(self.queue().next_deadline());
        (deadline != u64::MAX).then_some(deadline)
    }

    /// Closes the tickets whose lease ran out.
    ///
    /// Looks through the open ones when the first of them may be due. No ticket is missed: one that is opened after
    /// this look lasts at least the shortest lease, and the next look is not later than that.
    fn expire_tickets(&self, guard: &Guard<'_>, now_us: u64) {
        if now_us < self.next_sweep_us.load(Ordering::Relaxed) {
            return;
        }
        let mut next_us = now_us.saturating_add(self.shortest_lease_us.load(Ordering::Relaxed));
        for (ticket, _, lease_until_us) in self.tickets.open_ones() {
            if lease_until_us <= now_us {
                self.close(guard, ticket, Outcome::Unknown, -1, 0, now_us);
            } else {
                next_us = next_us.min(lease_until_us);
            }
        }
        self.next_sweep_us.store(next_us, Ordering::Relaxed);
    }

    /// Makes the tables that keys are found by where members came one right after the other, so that no pick has to.
    fn prepare_tables(&self, guard: &Guard<'_>, now_us: u64) {
        if now_us < self.next_tables_us.load(Ordering::Relaxed) {
            return;
        }
        // First: a change from here on asks for another look. Acquire: the memberships of those who asked are seen.
        self.next_tables_us.swap(u64::MAX, Ordering::Acquire);
        let services: Vec<u32> = self.with_registry(|registry, _| {
            registry.services().map(|service| service.handle).collect()
        });
        for service in services {
            if let Some(membership) = self.membership(guard, service) {
                membership.unprepared().for_each(HashTable::prepare);
            }
        }
    }

    /// Closes what a thread that is gone held open. Its callers are gone with it, so nothing is said of the instances.
    pub(crate) fn close_tickets_of(&self, guard: &Guard<'_>, thread: u32, now_us: u64) {
        for (ticket, holder, _) in self.tickets.open_ones() {
            if holder == thread {
                self.close(guard, ticket, Outcome::Cancelled, -1, 0, now_us);
            }
        }
    }
}
