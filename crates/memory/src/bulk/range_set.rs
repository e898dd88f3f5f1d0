//! Which parts of a whole are there.

use std::ops::Range;

/// Sorted, disjoint ranges of `u64` that do not touch. Insertion is O(ranges), look-up O(log ranges); what arrives in order
/// is one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    /// Nothing.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // What comes in order, which is nearly everything, makes the last one longer.
        if let Some(last) = self.ranges.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
            return;
        }
        // Those that overlap or touch it become one with it.
        let first = self.ranges.partition_point(|held| held.end < range.start);
        let last = self.ranges.partition_point(|held| held.start <= range.end);
        let merged = match self.ranges.get(first..last) {
            Some([]) | None => range,
            Some(held) => range.start.min(held[0].start)..range.end.max(held[held.len() - 1].end),
        };
        self.ranges.splice(first..last, [merged]);
    }

    /// Whether every part of `range` is there.
    pub fn contains(&self, range: &Range<u64>) -> bool {
        let at = self.ranges.partition_point(|held| held.end < range.end);
        range.is_empty()
            || self
                .ranges
                .get(at)
                .is_some_and(|held| held.start <= range.start)
    }

    /// The parts of `whole` that are not there, in order.
    pub fn missing(&self, whole: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let first = self.ranges.partition_point(|held| held.end <= whole.start);
        let end = whole.end;
        let held = self.ranges[first..]
            .iter()
            .cloned()
            .take_while(move |held| held.start < end);
        // A last empty one at the end, so that the gap before it is seen too.
        held.chain(std::iter::once(end..end))
            .scan(whole.start, move |covered, held| {
                let gap = *covered..held.start;
                *covered = held.end.max(*covered);
                Some(gap)
            })
            .filter(|gap| !gap.is_empty())
    }

    /// The first part of `whole` that is not there.
    pub fn first_missing(&self, whole: Range<u64>) -> Option<Range<u64>> {
        self.missing(whole).next()
    }

    /// How much there is in all.
    pub fn total(&self) -> u64 {
        self.ranges.iter().map(|held| held.end - held.start).sum()
    }

    /// Number of separate ranges.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a flag for each element.
        #[test]
        fn it_knows_each_element(
            inserts in prop::collection::vec((0u64..90, 0u64..25), 0..40),
            whole in (0u64..100, 0u64..100),
        ) {
            let mut set = RangeSet::new();
            let mut naive = [false; 120];
            for (start, length) in inserts {
                set.insert(start..start + length);
                naive[start as usize..(start + length) as usize].fill(true);
                prop_assert_eq!(set.total(), naive.iter().filter(|there| **there).count() as u64);
                prop_assert!(set.ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", set);
                prop_assert!(set.ranges.iter().all(|range| !range.is_empty()));
            }
            let whole = whole.0.min(whole.1)..whole.0.max(whole.1);
            let gaps: Vec<_> = set.missing(whole.clone()).collect();
            let missing: Vec<_> = gaps.iter().cloned().flatten().collect();
            let expected: Vec<_> = whole.clone().filter(|at| !naive[*at as usize]).collect();
            prop_assert_eq!(&missing, &expected);
            prop_assert!(gaps.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(set.contains(&whole), expected.is_empty());
        }
    }
}
