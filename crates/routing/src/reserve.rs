//! The in-flight count of an instance: a place is taken at the pick, not noticed after it.

use crate::sync::{AtomicU32, Ordering};

/// Takes one place below `limit`, 0 = no limit. False when there is none.
///
/// Acquire on success, paired with [`release`]: what the place's last holder did happened before.
#[inline]
pub(crate) fn reserve(in_flight: &AtomicU32, limit: u32) -> bool {
    let most = if limit == 0 { u32::MAX } else { limit };
    let mut seen = in_flight.load(Ordering::Relaxed);
    while seen < most {
        match in_flight.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

/// Gives a place back. Exactly one call per successful [`reserve`]: the ticket's claim sees to that.
///
/// `AcqRel`, a read-modify-write: see [`look_for_place`]. Release alone would do for [`reserve`].
#[inline]
pub(crate) fn release(in_flight: &AtomicU32) {
    in_flight.fetch_sub(1, Ordering::AcqRel);
}

/// For a waiter that has announced itself, before it looks for a place: makes sure that either it sees a place that is
/// freed at this moment, or whoever frees it sees the announcement.
///
/// Both change the same word, so one comes first. If [`release`] does, a [`reserve`] after this sees the free place
/// (coherence). If this does, `release` reads what this wrote (Acquire of a Release), and the announcement with it.
/// So the waiter, who is about to wait anyway, pays, and `complete` needs no fence.
pub(crate) fn look_for_place(in_flight: &AtomicU32) {
    in_flight.fetch_add(0, Ordering::AcqRel);
}
