//! One instance as it looked when it was considered.

use arrayvec::ArrayVec;
use linkmesh_registry::{Breaker, Health};
use serde::Serialize;

use crate::explain::RECORDED_CANDIDATES;

/// Why an instance could not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Filter {
    /// Removed, or its lease ran out.
    Dead = 1,
    /// Finishes what it has.
    Draining = 2,
    /// Ejected.
    BreakerOpen = 3,
    /// Half-open, and every probe is under way.
    ProbeTaken = 4,
    /// At its concurrency limit.
    AtLimit = 5,
    /// It answered Rejected a moment ago.
    RejectedRecently = 6,
    /// Kept out by outlier detection.
    Ejected = 7,
    /// The event loop of its thread is blocked.
    Blocked = 8,
}

impl Filter {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [
            Self::Dead,
            Self::Draining,
            Self::BreakerOpen,
            Self::ProbeTaken,
            Self::AtLimit,
            Self::RejectedRecently,
            Self::Ejected,
            Self::Blocked,
        ]
        .into_iter()
        .find(|filter| *filter as u8 == code)
    }
}

/// What was seen of one member, and what the balancer made of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) index: usize,
    pub(crate) handle: u32,
    pub(crate) filter: Option<Filter>,
    /// Eligible as a half-open probe only.
    pub(crate) probe: bool,
    pub(crate) limit: u32,
    pub(crate) in_flight: u32,
    pub(crate) latency_us: f32,
    pub(crate) breaker: Breaker,
    pub(crate) health: Health,
    /// Lower is better; NaN when not scored.
    pub(crate) score: f64,
    /// For a filter that time lifts: when, microseconds. Else `u64::MAX`.
    pub(crate) eligible_at_us: u64,
}

/// The candidates that were looked at, as many as are recorded. On the stack.
pub(crate) type Trace = ArrayVec<Candidate, RECORDED_CANDIDATES>;
