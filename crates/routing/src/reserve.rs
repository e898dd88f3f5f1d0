//! The places of an instance: one word of 64 bits, requests in flight below, requests that ended well above. So taking
//! a place is one compare-and-swap, and giving it back one addition that counts the answer as well.
//!
//! The halves are words of the public line, so the count wraps at 2^32 and the other half never carries into it: there
//! are at most [`crate::MAX_TICKETS`] requests in flight.

use crate::sync::{AtomicU64, Ordering};

/// One request that ended well.
const SUCCESS: u64 = 1 << 32;

/// Takes one place below `limit`, 0 = no limit. False when there is none.
///
/// Acquire on success, paired with [`release`]: what the place's last holder did happened before.
#[inline]
pub(crate) fn reserve(places: &AtomicU64, limit: u32) -> bool {
    let most = if limit == 0 { u32::MAX } else { limit };
    let mut seen = places.load(Ordering::Relaxed);
    while (seen as u32) < most {
        match places.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

/// Gives a place back, and counts the request that held it when it ended well. Exactly one call per successful
/// [`reserve`]: the ticket's claim sees to that. True when the count of those that ended well began again at 0.
///
/// `AcqRel`, a read-modify-write: see [`look_for_place`]. Release alone would do for [`reserve`].
#[inline]
pub(crate) fn release(places: &AtomicU64, ended_well: bool) -> bool {
    // One below, one above: as the lower half is at least 1, it lends nothing from the upper one.
    let change = if ended_well {
        SUCCESS - 1
    } else {
        1u64.wrapping_neg()
    };
    let before = places.fetch_add(change, Ordering::AcqRel);
    ended_well && before >> 32 == u64::from(u32::MAX)
}

/// For a waiter that has announced itself, before it looks for a place: makes sure that either it sees a place that is
/// freed at this moment, or whoever frees it sees the announcement.
///
/// Both change the same word, so one comes first. If [`release`] does, a [`reserve`] after this sees the free place
/// (coherence). If this does, `release` reads what this wrote (Acquire of a Release), and the announcement with it.
/// So the waiter, who is about to wait anyway, pays, and `complete` needs no fence.
pub(crate) fn look_for_place(places: &AtomicU64) {
    places.fetch_add(0, Ordering::AcqRel);
}
