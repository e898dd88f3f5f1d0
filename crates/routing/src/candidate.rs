//! One instance as it looked when it was considered.

use serde::Serialize;

use crate::cells::{View, instance_word as word, state_flag};

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

/// What was seen of one member, and what the balancer made of it. Lives in registers: it is never moved as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) index: usize,
    pub(crate) handle: u32,
    pub(crate) filter: Option<Filter>,
    /// Eligible as a half-open probe only.
    pub(crate) probe: bool,
    pub(crate) in_flight: u32,
    /// Word of the view.
    pub(crate) latency_bits: u32,
    /// Word of the view.
    pub(crate) state: u32,
    /// Lower is better; NaN when not scored.
    pub(crate) score: f64,
}

/// The member that the balancer wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proposal {
    pub(crate) index: u32,
    /// As a half-open probe.
    pub(crate) probe: bool,
}

impl Candidate {
    /// What the public line of a member says, nothing decided yet.
    #[inline(always)]
    pub(crate) fn of(index: usize, handle: u32, view: View<'_>) -> Self {
        Self {
            index,
            handle,
            filter: None,
            probe: false,
            in_flight: view.get(word::IN_FLIGHT),
            latency_bits: view.get(word::LATENCY_US),
            state: view.get(word::STATE),
            score: f64::NAN,
        }
    }

    /// Whether the line says all there is to know: nothing but load speaks against the instance, and it is still there.
    #[inline(always)]
    pub(crate) fn is_calm(&self, view: View<'_>) -> bool {
        self.state & state_flag::UNUSUAL == 0 && view.is(self.handle)
    }

    #[inline]
    pub(crate) fn is_eligible(&self) -> bool {
        self.filter.is_none()
    }

    #[inline]
    pub(crate) fn proposal(&self) -> Proposal {
        Proposal {
            index: self.index as u32,
            probe: self.probe,
        }
    }
}
