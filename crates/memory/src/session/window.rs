//! The results of a session's operations, from the oldest that may be asked for again.

use crate::frame::{Status, WINDOW};

/// What is kept of an executed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// How it ended.
    pub status: Status,
    /// The word as it was, for an atomic; the limit, for a refusal.
    pub value: u64,
    /// False for what is simply executed again when it is asked again: reads.
    pub saved: bool,
}

/// What is known about a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The client acknowledged it: whatever comes under this number now is late.
    Stale,
    /// Not executed yet.
    Fresh,
    /// Executed, with this result.
    Executed(Record),
    /// More than [`WINDOW`] above what was acknowledged: no correct client sends that.
    Beyond,
}

/// A ring of results that grows to what the client keeps outstanding, at most [`WINDOW`] (24 KiB).
#[derive(Debug)]
pub struct Window {
    /// Everything below was acknowledged.
    base: u64,
    /// Everything below was executed or acknowledged.
    executed_below: u64,
    /// The result of sequence `s` in `[base, base + len)` is at `s % len`; the length is 0 or a power of two.
    records: Vec<Option<Record>>,
}

const FIRST: usize = 16;

impl Window {
    /// No result yet; sequences begin at `base`.
    pub const fn new(base: u64) -> Self {
        Self {
            base,
            executed_below: base,
            records: Vec::new(),
        }
    }

    /// The oldest sequence that may be asked for.
    #[inline]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// True if every operation before `sequence` was executed: a fence at `sequence` may pass.
    #[inline]
    pub fn is_executed_below(&self, sequence: u64) -> bool {
        self.executed_below >= sequence
    }

    /// What is known about `sequence`.
    #[inline]
    pub fn find(&self, sequence: u64) -> Place {
        if sequence < self.base {
            return Place::Stale;
        }
        let ahead = sequence - self.base;
        if ahead >= WINDOW {
            return Place::Beyond;
        }
        if ahead >= self.records.len() as u64 {
            return Place::Fresh;
        }
        self.records[self.index(sequence)].map_or(Place::Fresh, Place::Executed)
    }

    /// Keeps the result of `sequence`, which [`find`](Self::find) said is fresh. Allocates only while the ring grows.
    #[inline]
    pub fn keep(&mut self, sequence: u64, record: Record) {
        debug_assert_eq!(self.find(sequence), Place::Fresh);
        if sequence - self.base >= self.records.len() as u64 {
            self.grow((sequence - self.base + 1) as usize);
        }
        let index = self.index(sequence);
        self.records[index] = Some(record);
        if sequence == self.executed_below {
            self.advance();
        }
    }

    /// The client will never ask for anything below `sequence` again. Smaller than before changes nothing.
    #[inline]
    pub fn acknowledge(&mut self, sequence: u64) {
        if sequence <= self.base {
            return;
        }
        let last = sequence.min(self.base + self.records.len() as u64);
        for gone in self.base..last {
            let index = self.index(gone);
            self.records[index] = None;
        }
        self.base = sequence;
        if self.executed_below < sequence {
            self.executed_below = sequence;
            self.advance();
        }
    }

    fn advance(&mut self) {
        let end = self.base + self.records.len() as u64;
        while self.executed_below < end && self.records[self.index(self.executed_below)].is_some() {
            self.executed_below += 1;
        }
    }

    fn index(&self, sequence: u64) -> usize {
        sequence as usize & (self.records.len() - 1)
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let length = needed.next_power_of_two().max(FIRST);
        let mut records = vec![None; length];
        for sequence in self.base..self.base + self.records.len() as u64 {
            records[sequence as usize & (length - 1)] = self.records[self.index(sequence)];
        }
        self.records = records;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Keep(u64),
        Acknowledge(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![4 => (0..1100u64).prop_map(Step::Keep), 1 => (0..1500u64).prop_map(Step::Acknowledge)];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn knows_what_a_map_knows(start in 0..1u64 << 40, steps in steps()) {
            let mut window = Window::new(start);
            let (mut base, mut map) = (start, BTreeMap::new());
            for step in steps {
                match step {
                    Step::Keep(ahead) => {
                        let sequence = base + ahead;
                        let place = window.find(sequence);
                        let wanted = match map.get(&sequence) {
                            Some(record) => Place::Executed(*record),
                            None if ahead >= WINDOW => Place::Beyond,
                            None => Place::Fresh,
                        };
                        prop_assert_eq!(place, wanted);
                        if place == Place::Fresh {
                            let record = Record { status: Status::Ok, value: sequence, saved: ahead % 2 == 0 };
                            window.keep(sequence, record);
                            map.insert(sequence, record);
                        }
                    }
                    Step::Acknowledge(ahead) => {
                        base = (base + ahead).saturating_sub(3).max(base);
                        map = map.split_off(&base);
                        window.acknowledge(base);
                    }
                }
                prop_assert_eq!(window.base(), base);
                let executed = (base..=base + WINDOW).find(|sequence| !map.contains_key(sequence)).unwrap();
                prop_assert!(window.is_executed_below(executed) && !window.is_executed_below(executed + 1));
                if base > 0 {
                    prop_assert_eq!(window.find(base - 1), Place::Stale);
                }
            }
        }
    }

    #[test]
    fn an_idle_session_holds_no_memory() {
        let mut window = Window::new(0);
        assert_eq!(window.records.capacity(), 0);
        for sequence in 0..10_000 {
            window.keep(
                sequence,
                Record {
                    status: Status::Ok,
                    value: 0,
                    saved: true,
                },
            );
            window.acknowledge(sequence + 1);
        }
        assert_eq!(window.records.len(), FIRST);
    }
}
