//! The changes that were applied last: a backup that is only a little behind gets them again.

use std::collections::VecDeque;

use super::{Entry, Position};

/// Bytes of changes that are kept, about; the last one always is.
const MAX_BYTES: usize = 8 * 1024 * 1024;
const MAX_ENTRIES: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Log {
    /// Just before the oldest that is kept.
    before: Position,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Log {
    /// Nothing is kept of what led to `position`.
    pub(super) const fn new(position: Position) -> Self {
        Self {
            before: position,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.size();
        self.entries.push_back(entry);
        while self.entries.len() > MAX_ENTRIES || (self.bytes > MAX_BYTES && self.entries.len() > 1)
        {
            let Some(gone) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= gone.size();
            self.before = Position {
                epoch: gone.epoch,
                index: self.before.index + 1,
            };
        }
    }

    /// True if a sequence that ends at `position` is the beginning of this one, as far as that is still known.
    pub(super) fn contains(&self, position: Position) -> bool {
        self.at(position.index) == Some(position)
    }

    /// The position after `index` changes, if it is still known.
    pub(super) fn at(&self, index: u64) -> Option<Position> {
        let ahead = index.checked_sub(self.before.index)?;
        if ahead == 0 {
            return Some(self.before);
        }
        let epoch = self.entries.get(ahead as usize - 1)?.epoch;
        Some(Position { epoch, index })
    }

    /// The changes after `index`, which [`at`](Self::at) knows.
    pub(super) fn after(&self, index: u64) -> impl Iterator<Item = &Entry> {
        let skip = index.saturating_sub(self.before.index) as usize;
        self.entries.range(skip.min(self.entries.len())..)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    #[test]
    fn it_knows_what_it_keeps_and_forgets_the_oldest() {
        let start = Position {
            epoch: Epoch::new(1, 0),
            index: 10,
        };
        let mut log = Log::new(start);
        assert!(log.contains(start) && !log.contains(Position::default()));
        for round in 0..MAX_ENTRIES as u64 + 5 {
            let epoch = Epoch::new(2 + round, 0);
            log.push(Entry {
                epoch,
                change: Change::Lead,
            });
            assert!(log.contains(Position {
                epoch,
                index: 11 + round
            }));
        }
        assert_eq!(log.at(14), None);
        assert_eq!(log.at(15).map(|position| position.epoch.round()), Some(6));
        assert_eq!(log.after(15).count(), MAX_ENTRIES);
        assert_eq!(log.after(15 + MAX_ENTRIES as u64).count(), 0);
    }
}
