//! JavaScript's clock, read without JavaScript.

use std::time::Instant;

/// Deadlines in frames are milliseconds on the clock of `ts/mesh/clock.ts`, which runs as fast as this one and began at
/// another moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsClock {
    base_ms: f64,
    at: Instant,
}

impl JsClock {
    /// `now_ms`: what JavaScript's clock says now.
    pub(crate) fn new(now_ms: f64) -> Self {
        Self {
            base_ms: now_ms,
            at: Instant::now(),
        }
    }

    /// What JavaScript's clock says at `now`, milliseconds.
    pub(crate) fn at(&self, now: Instant) -> f64 {
        self.base_ms + now.saturating_duration_since(self.at).as_secs_f64() * 1e3
    }
}
