//! When which connection or target wants to be looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::peer::{PeerSlot, TargetId};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Link(PeerSlot),
    Target(TargetId),
    Health(PeerSlot),
}

/// A heap that is told only of deadlines that move closer.
///
/// A connection's next timeout changes with every packet, nearly always to a later time. Its owner keeps the time of the
/// earliest entry (`Link::armed`), adds another one only for an earlier time, and looks again when an entry comes due: so
/// the hot path pushes nothing and the heap stays at about one entry per connection.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Due)>>,
}

impl Timers {
    pub(super) fn push(&mut self, at: Instant, due: Due) {
        self.heap.push(Reverse((at, due)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the first entry whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, due))| due)
    }
}
