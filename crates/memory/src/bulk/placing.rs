//! Where the bytes of a transfer go, and which of them did.

use std::{ops::Range, time::Instant};

use super::{RangeSet, message::Ranges};
use crate::region::{Access, AccessError, Rights};

/// The receiving end of a transfer, whichever stream and connection its parts come on.
#[derive(Debug)]
pub(super) struct Placing {
    memory: Access,
    /// Where in the memory's slice the transfer begins.
    base: u64,
    needed: Rights,
    length: u32,
    placed: RangeSet,
    pub(super) repairs: u32,
}

impl Placing {
    pub(super) fn new(memory: Access, base: u64, length: u32, needed: Rights) -> Self {
        Self {
            memory,
            base,
            needed,
            length,
            placed: RangeSet::new(),
            repairs: 0,
        }
    }

    /// Places those of `bytes`, which begin at `start` of the transfer, that are not there yet. So a part that comes twice
    /// (it was on its way when the connection was lost) is not written over what others wrote since.
    pub(super) fn place(
        &mut self,
        start: u32,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), AccessError> {
        let start = u64::from(start);
        let whole = start..start + bytes.len() as u64;
        while let Some(gap) = self.placed.first_missing(whole.clone()) {
            let part = &bytes[(gap.start - start) as usize..(gap.end - start) as usize];
            let place =
                self.memory
                    .check(self.needed, self.base + gap.start, part.len() as u64, now)?;
            self.memory.region.write(place, part)?;
            self.placed.insert(gap);
        }
        Ok(())
    }

    pub(super) fn placed_bytes(&self) -> u64 {
        self.placed.total()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.placed.contains(&(0..u64::from(self.length)))
    }

    /// The gaps inside of `part`, or `None` if there are none.
    pub(super) fn missing(&self, part: Range<u32>) -> Option<Ranges> {
        let part = u64::from(part.start)..u64::from(part.end);
        let mut gaps = self.placed.missing(part).peekable();
        gaps.peek().is_some().then(|| Ranges::cover(gaps))
    }

    /// All gaps.
    pub(super) fn all_missing(&self) -> Option<Ranges> {
        self.missing(0..self.length)
    }
}
