//! Handles: `generation << 17 | slot`, and who gives them out.

use std::collections::VecDeque;

use crate::RegistryError;

/// `generation << 17 | slot`, 31 bits, so that V8 keeps it as a small integer. 0 is never valid.
pub type Handle = u32;

/// Bits of the slot.
pub const SLOT_BITS: u32 = 17;
/// Mask of the slot; also the highest slot.
pub const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

const GENERATIONS: u16 = 1 << 14;
/// A freed slot rests until this many others were freed after it, unless the slots run out first.
/// With 16,383 generations a handle is repeated at the earliest after 16 million allocations.
const REST: usize = 1_024;

/// Slot of a handle: an index below 131,072.
#[inline]
pub const fn slot_of(handle: Handle) -> usize {
    (handle & SLOT_MASK) as usize
}

/// Gives out handles in an order that depends on the calls alone, so both backends give the same ones.
/// For one writer; the registries use it under their mutex. Concurrent slabs live in the tables crate.
#[derive(Debug)]
pub struct HandleAllocator {
    /// Generation of each slot ever used.
    generations: Vec<u16>,
    /// Oldest first.
    free: VecDeque<u32>,
    capacity: usize,
}

impl HandleAllocator {
    /// At most `capacity` handles at one time, 131,072 at most.
    pub fn new(capacity: usize) -> Self {
        Self {
            generations: Vec::new(),
            free: VecDeque::new(),
            capacity: capacity.min(SLOT_MASK as usize + 1),
        }
    }

    /// A handle that is not in use. `field` names what there are too many of: `services`.
    ///
    /// # Errors
    /// `LimitExceeded` when all are in use.
    pub fn allocate(&mut self, field: &str) -> Result<Handle, RegistryError> {
        let fresh = self.generations.len() < self.capacity;
        let slot = if fresh && self.free.len() < REST {
            self.generations.push(0);
            self.generations.len() - 1
        } else {
            match self.free.pop_front() {
                Some(slot) => slot as usize,
                None => {
                    return Err(RegistryError::limit(
                        field,
                        self.capacity,
                        "entries at one time",
                    ));
                }
            }
        };
        let generation = if self.generations[slot] + 1 == GENERATIONS {
            1
        } else {
            self.generations[slot] + 1
        };
        self.generations[slot] = generation;
        Ok(u32::from(generation) << SLOT_BITS | slot as u32)
    }

    /// Gives a handle back. The caller has checked that it is in use.
    pub fn free(&mut self, handle: Handle) {
        self.free.push_back(handle & SLOT_MASK);
    }

    /// How many are in use.
    pub fn in_use(&self) -> usize {
        self.generations.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_differ_from_every_recent_one_and_never_are_zero() {
        let mut allocator = HandleAllocator::new(4_096);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100_000 {
            let handle = allocator.allocate("things").unwrap();
            assert!(handle > 0 && handle < 1 << 31);
            assert!(seen.insert(handle), "{handle} given twice");
            allocator.free(handle);
        }
        assert_eq!(allocator.in_use(), 0);
    }

    #[test]
    fn the_last_slot_is_usable_and_one_more_is_refused() {
        let mut allocator = HandleAllocator::new(3);
        let handles: Vec<_> = (0..3)
            .map(|_| allocator.allocate("things").unwrap())
            .collect();
        let error = allocator.allocate("things").unwrap_err();
        assert_eq!(
            (error.field.as_deref(), error.limit),
            (Some("things"), Some(3.0))
        );
        allocator.free(handles[1]);
        let again = allocator.allocate("things").unwrap();
        assert_eq!(slot_of(again), slot_of(handles[1]));
        assert_ne!(again, handles[1]);
    }

    #[test]
    fn generations_wrap_past_zero() {
        let mut allocator = HandleAllocator::new(1);
        for _ in 0..40_000 {
            let handle = allocator.allocate("things").unwrap();
            assert_ne!(handle >> SLOT_BITS, 0);
            allocator.free(handle);
        }
    }
}
