//! Long-lived things with a small number each.

use super::slots::{Claimed, FreeList, SlabError, Slots};
use crate::ring::MpmcRing;

const SLOT_BITS: u32 = 17;
const LAST_GENERATION: u64 = (1 << 14) - 1;
/// Freed slots rest until so many wait: a stale handle is told apart for 16,383 times as many frees.
const REST: usize = 256;

/// `generation << 17 | slot`: 31 bits, never 0. What JavaScript holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Handle(pub u32);

impl Handle {
    fn new(slot: u32, generation: u64) -> Self {
        Self((generation as u32) << SLOT_BITS | slot)
    }

    /// Number of the slot, whether or not it lives.
    pub fn slot(self) -> u32 {
        self.0 & ((1 << SLOT_BITS) - 1)
    }

    /// Generation of the slot, 1..=16,383 in a handle that a slab gave.
    pub fn generation(self) -> u32 {
        self.0 >> SLOT_BITS
    }
}

/// Up to 131,072 slots for things that live long: services, instances, connections.
///
/// Freed slots are reused first in, first out, and not before 256 of them wait, so that generations wrap late.
#[derive(Debug)]
pub struct HandleSlab<T> {
    slots: Slots<T>,
    free: Resting,
}

#[derive(Debug)]
struct Resting(MpmcRing<u32>);

impl FreeList for Resting {
    fn give_back(&self, slot: u32) {
        let pushed = self.0.push(slot);
        debug_assert!(pushed.is_ok(), "room for every slot");
    }
}

impl<T: Default + Send + Sync> HandleSlab<T> {
    /// Most slots.
    pub const MAX_SLOTS: usize = 1 << SLOT_BITS;

    /// A slab of `max` slots, 1..=131,072. The memory of the values is committed on first use.
    ///
    /// # Errors
    /// [`SlabError`].
    pub fn new(max: usize) -> Result<Self, SlabError> {
        let slots = Slots::new(max, Self::MAX_SLOTS)?;
        let free = MpmcRing::new(max.max(2)).map_err(|_| SlabError::OutOfMemory)?;
        Ok(Self {
            slots,
            free: Resting(free),
        })
    }

    /// A live slot, or none when all are. The value holds what its last owner left, at first `T::default()`.
    pub fn allocate(&self) -> Option<Handle> {
        let rested = self.free.0.len() >= REST.min(self.slots.capacity());
        let slot = if rested { self.free.0.pop() } else { None }
            .or_else(|| self.slots.take_fresh())
            .or_else(|| self.free.0.pop())?;
        Some(Handle::new(slot, self.slots.revive(slot, LAST_GENERATION)))
    }

    /// Ends a life; true for exactly one caller per handle.
    pub fn free(&self, handle: Handle) -> bool {
        self.claim(handle).is_some()
    }

    /// Ends a life and keeps the slot from being reused until the claim is dropped.
    pub fn claim(&self, handle: Handle) -> Option<Claimed<'_, T>> {
        let slot = handle.slot();
        if !self.slots.kill(slot, u64::from(handle.generation())) {
            return None;
        }
        // SAFETY: `kill` found the slot alive, so its value was made, and the slot is ours until we give it back.
        let value = unsafe { self.slots.value(slot) };
        Some(Claimed {
            value,
            slot,
            free: &self.free,
        })
    }

    /// The value of a live handle.
    #[inline]
    pub fn get(&self, handle: Handle) -> Option<&T> {
        self.slots
            .get(handle.slot(), u64::from(handle.generation()))
    }

    /// The value of a slot that was ever used, alive or not: for loops over slot numbers that handles gave.
    ///
    /// # Panics
    /// When the slot was never used.
    #[inline]
    pub fn slot(&self, slot: u32) -> &T {
        self.slots
            .used(slot)
            .expect("a slot number that a handle of this slab gave")
    }

    /// The handle of a slot, when it is alive.
    pub fn handle_of(&self, slot: u32) -> Option<Handle> {
        Some(Handle::new(slot, self.slots.generation(slot)?))
    }

    /// Slots there are.
    pub fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Slots that are alive. A moment's truth when others are at work. Looks at every slot that was ever used.
    pub fn len(&self) -> usize {
        self.slots.live()
    }

    /// True when no slot is alive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// First slot of [`capacity`](Self::capacity) that lie side by side; 64-byte aligned, zero where never used.
    /// Valid while the slab lives.
    pub fn as_ptr(&self) -> *const T {
        self.slots.as_ptr()
    }
}
