//! Which rights a region gives away at most, range by range.

use std::ops::Range;

use super::Rights;

/// Most ranges with rights of their own in one region.
pub const MAX_RANGES: usize = 4_096;

/// The most that grants of one region may hold, per range: the owner says once that the header is read-only and the
/// counters are atomic, and no grant can say otherwise. Checked when a grant is issued and when it is presented, not per operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRights {
    /// What holds outside of all ranges.
    rest: Rights,
    /// Sorted by start, disjoint, not empty.
    ranges: Vec<(Range<u64>, Rights)>,
}

/// More than [`MAX_RANGES`] ranges, or a range that is empty or runs backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeRefused;

impl std::fmt::Display for RangeRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a region has at most {MAX_RANGES} ranges, none of them empty"
        )
    }
}

impl std::error::Error for RangeRefused {}

impl RangeRights {
    /// The same rights everywhere.
    pub fn uniform(rights: Rights) -> Self {
        Self {
            rest: rights,
            ranges: Vec::new(),
        }
    }

    /// Gives `range` its own rights, over whatever parts of it had before. O(ranges).
    ///
    /// # Errors
    /// [`RangeRefused`]; nothing changed.
    pub fn set(&mut self, range: Range<u64>, rights: Rights) -> Result<(), RangeRefused> {
        if range.is_empty() {
            return Err(RangeRefused);
        }
        let mut next = Vec::with_capacity(self.ranges.len() + 2);
        for (old, held) in &self.ranges {
            let before = old.start..old.end.min(range.start);
            let after = old.start.max(range.end)..old.end;
            next.extend(
                [before, after]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .map(|part| (part, *held)),
            );
        }
        let at = next.partition_point(|(part, _)| part.start < range.start);
        next.insert(at, (range, rights));
        if next.len() > MAX_RANGES {
            return Err(RangeRefused);
        }
        self.ranges = next;
        Ok(())
    }

    /// The rights that hold in every byte of `range`: what a grant of it may hold at most.
    pub fn common(&self, range: Range<u64>) -> Rights {
        if range.is_empty() {
            return Rights::NONE;
        }
        let mut held = Rights::ALL;
        let mut covered = range.start;
        let first = self
            .ranges
            .partition_point(|(part, _)| part.end <= range.start);
        for (part, rights) in &self.ranges[first..] {
            if part.start >= range.end {
                break;
            }
            if part.start > covered {
                held = held.common(self.rest);
            }
            held = held.common(*rights);
            covered = part.end;
        }
        if covered < range.end {
            held = held.common(self.rest);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rights() -> impl Strategy<Value = Rights> {
        (0u8..8).prop_map(|bits| Rights::from_bits(bits).unwrap())
    }

    proptest! {
        /// Against an array with the rights of each byte.
        #[test]
        fn the_common_rights_are_those_of_each_byte(
            rest in rights(),
            sets in prop::collection::vec((0u64..40, 1u64..20, rights()), 0..12),
            asked in (0u64..60, 0u64..60),
        ) {
            let mut held = RangeRights::uniform(rest);
            let mut naive = [rest; 60];
            for (start, length, rights) in sets {
                held.set(start..start + length, rights).unwrap();
                naive[start as usize..(start + length) as usize].fill(rights);
            }
            let range = asked.0.min(asked.1)..asked.0.max(asked.1);
            let bytes = &naive[range.start as usize..range.end as usize];
            let expected = if bytes.is_empty() {
                Rights::NONE
            } else {
                bytes.iter().fold(Rights::ALL, |all, one| all.common(*one))
            };
            prop_assert_eq!(held.common(range), expected);
        }
    }

    #[test]
    fn empty_and_too_many_ranges_are_refused() {
        let mut held = RangeRights::uniform(Rights::READ);
        assert_eq!(held.set(5..5, Rights::ALL), Err(RangeRefused));
        for index in 0..MAX_RANGES as u64 {
            held.set(index * 2..index * 2 + 1, Rights::ALL).unwrap();
        }
        let before = held.clone();
        assert_eq!(
            held.set(1 << 20..(1 << 20) + 1, Rights::ALL),
            Err(RangeRefused)
        );
        assert_eq!(held, before);
    }
}
