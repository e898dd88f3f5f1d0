//! The results of one client's mutations, from the oldest that it may ask for again.

use std::collections::VecDeque;

use super::wire::{Malformed, Reader};

/// Mutations of one session that may be unanswered, and so the results that are kept of it.
pub const MAX_OUTSTANDING: usize = 256;

/// What is known about a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The client gave it up.
    Stale,
    /// Executed: the word as it was, 0 for a write.
    Executed(u64),
    /// The one to be executed now.
    Next,
    /// An earlier one is missing.
    Gap,
}

/// Sequences are contiguous: `base..base + values.len()` were executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    base: u64,
    values: VecDeque<u64>,
}

impl Results {
    /// What is known about `sequence` of a client that gave up everything below `ack_below`.
    pub(super) fn find_after(&self, sequence: u64, ack_below: u64) -> Place {
        if sequence < self.base.max(ack_below) {
            return Place::Stale;
        }
        let next = self.next().max(ack_below);
        match sequence.cmp(&next) {
            // Not below the base, and below what was executed.
            std::cmp::Ordering::Less => self
                .values
                .get((sequence - self.base) as usize)
                .map_or(Place::Gap, |value| Place::Executed(*value)),
            std::cmp::Ordering::Equal => Place::Next,
            std::cmp::Ordering::Greater => Place::Gap,
        }
    }

    /// The first sequence that was not executed.
    pub(super) fn next(&self) -> u64 {
        self.base + self.values.len() as u64
    }

    /// The client gave up everything below `ack_below`, executed or not.
    pub(super) fn acknowledge(&mut self, ack_below: u64) {
        if ack_below <= self.base {
            return;
        }
        let gone = (ack_below - self.base).min(self.values.len() as u64);
        self.values.drain(..gone as usize);
        self.base = ack_below;
    }

    /// Keeps the result of the [next](Self::next) one.
    pub(super) fn keep(&mut self, value: u64) {
        self.values.push_back(value);
    }

    /// True if the client has as many results outstanding as it may.
    pub(super) fn is_full_after(&self, ack_below: u64) -> bool {
        self.next().saturating_sub(self.base.max(ack_below)) >= MAX_OUTSTANDING as u64
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.base.to_le_bytes());
        out.extend_from_slice(&(self.values.len() as u32).to_le_bytes());
        for value in &self.values {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let base = reader.u64()?;
        let count = reader.u32()? as usize;
        if count > MAX_OUTSTANDING || base > u64::MAX / 2 {
            return Err(Malformed);
        }
        let values = (0..count).map(|_| reader.u64()).collect::<Result<_, _>>()?;
        Ok(Self { base, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_executed_once_in_order_or_never() {
        let mut results = Results::default();
        assert_eq!(results.find_after(0, 0), Place::Next);
        assert_eq!(results.find_after(1, 0), Place::Gap);
        results.keep(70);
        results.keep(71);
        assert_eq!(results.find_after(0, 0), Place::Executed(70));
        assert_eq!(results.find_after(0, 1), Place::Stale);
        assert_eq!(results.find_after(1, 1), Place::Executed(71));
        // What the client gave up without an answer leaves no gap behind it, and never comes again.
        assert_eq!(results.find_after(4, 4), Place::Next);
        results.acknowledge(4);
        assert_eq!(results.find_after(3, 0), Place::Stale);
        results.keep(74);
        assert_eq!(results.find_after(4, 0), Place::Executed(74));
        assert_eq!(results.next(), 5);
    }

    #[test]
    fn a_copy_is_the_same() {
        let mut results = Results::default();
        results.acknowledge(9);
        results.keep(1);
        results.keep(2);
        let mut bytes = Vec::new();
        results.encode(&mut bytes);
        assert_eq!(Results::decode(&mut Reader::new(&bytes)), Ok(results));
    }
}
