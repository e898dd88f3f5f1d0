//! Deadlines as JavaScript names them: milliseconds from now, perhaps endless.

use std::time::{Duration, Instant};

/// When a caller stops waiting; `None` for an endless time.
#[inline]
pub(super) fn deadline(now: Instant, timeout_ms: f64) -> Option<Instant> {
    /// About 30 years: longer is for ever.
    const MAX_MS: f64 = 1e12;
    if timeout_ms >= MAX_MS {
        return None;
    }
    // NaN is no comparison's friend: it becomes the shortest.
    let micros = if timeout_ms > 0.0 {
        (timeout_ms * 1e3) as u64
    } else {
        0
    };
    Some(now + Duration::from_micros(micros))
}
