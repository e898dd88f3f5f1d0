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
/// `SeqCst`: with the waiter's announcement it decides who sees whom, see `Router::wait`.
#[inline]
pub(crate) fn release(in_flight: &AtomicU32) {
    in_flight.fetch_sub(1, Ordering::SeqCst);
}
