//! The slots themselves: memory, first use, and who is alive.

use alloc::{
    alloc::{Layout, alloc_zeroed, dealloc},
    boxed::Box,
    vec::Vec,
};
use core::{ops::Deref, ptr::NonNull};

use crate::sync::{AtomicU32, AtomicU64, CachePadded, Ordering};

/// Why a slab could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlabError {
    /// No slots, or more than the slot number has bits for.
    Capacity {
        /// What was asked for.
        capacity: usize,
        /// The most there can be.
        max: usize,
    },
    /// The allocator has no memory for this capacity.
    OutOfMemory,
}

impl core::fmt::Display for SlabError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Capacity { capacity, max } => {
                write!(f, "slab capacity {capacity} is not in 1..={max}")
            }
            Self::OutOfMemory => f.write_str("no memory for the slab"),
        }
    }
}

impl core::error::Error for SlabError {}

/// Fixed array of `T`, each made by `T::default()` when its slot is first used.
#[derive(Debug)]
pub(super) struct Slots<T> {
    values: NonNull<T>,
    /// `generation << 1 | live`; 0: never used, so `values` holds no `T` there.
    states: Box<[AtomicU64]>,
    /// Slots below are used or being made.
    fresh: CachePadded<AtomicU32>,
}

// SAFETY: a slot's value is written once, before its state says so (Release), and from then on only shared.
unsafe impl<T: Send + Sync> Send for Slots<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Slots<T> {}

impl<T: Default> Slots<T> {
    pub(super) fn new(capacity: usize, max: usize) -> Result<Self, SlabError> {
        if !(1..=max).contains(&capacity) {
            return Err(SlabError::Capacity { capacity, max });
        }
        let mut states = Vec::new();
        states
            .try_reserve_exact(capacity)
            .map_err(|_| SlabError::OutOfMemory)?;
        states.extend((0..capacity).map(|_| AtomicU64::new(0)));
        let values = match Self::layout(capacity) {
            None => NonNull::dangling(),
            // SAFETY: `layout` gives none for a size of 0.
            Some(layout) => NonNull::new(unsafe { alloc_zeroed(layout) }.cast())
                .ok_or(SlabError::OutOfMemory)?,
        };
        Ok(Self {
            values,
            states: states.into_boxed_slice(),
            fresh: CachePadded(AtomicU32::new(0)),
        })
    }

    fn layout(capacity: usize) -> Option<Layout> {
        let layout = Layout::array::<T>(capacity).ok()?.align_to(64).ok()?;
        (layout.size() > 0).then_some(layout)
    }

    /// A slot that was never used, made and dead, or none. Lock-free.
    pub(super) fn take_fresh(&self) -> Option<u32> {
        let mut slot = self.fresh.load(Ordering::Relaxed);
        while (slot as usize) < self.states.len() {
            match self.fresh.compare_exchange_weak(
                slot,
                slot + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    // SAFETY: slot < capacity, and the exchange gave it to us alone; nobody reads it while its state is 0.
                    unsafe { self.values.as_ptr().add(slot as usize).write(T::default()) };
                    return Some(slot);
                }
                Err(now) => slot = now,
            }
        }
        None
    }

    /// Brings a dead slot to life under its next generation, `1..=last` in a circle.
    ///
    /// The caller owns the slot: it got it from `take_fresh` or from the free list.
    pub(super) fn revive(&self, slot: u32, last: u64) -> u64 {
        // Acquire pairs with `kill`: the previous owner's last stores come before ours.
        let generation = match self.states[slot as usize].load(Ordering::Acquire) >> 1 {
            previous if previous >= last => 1,
            previous => previous + 1,
        };
        // Release: a fresh value is seen whole by whoever sees the slot alive.
        self.states[slot as usize].store(generation << 1 | 1, Ordering::Release);
        generation
    }

    /// Ends the life of this slot and generation; true for exactly one caller.
    pub(super) fn kill(&self, slot: u32, generation: u64) -> bool {
        let Some(state) = self.states.get(slot as usize) else {
            return false;
        };
        // AcqRel: our stores come before the next owner's, and we see those of the owner whose life we end.
        state
            .compare_exchange(
                generation << 1 | 1,
                generation << 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// The value, when this slot and generation is alive.
    #[inline]
    pub(super) fn get(&self, slot: u32, generation: u64) -> Option<&T> {
        // Acquire pairs with `revive`: the value is whole.
        if self.states.get(slot as usize)?.load(Ordering::Acquire) != generation << 1 | 1 {
            return None;
        }
        // SAFETY: slot < capacity, and a live state means that the value was made.
        Some(unsafe { self.value(slot) })
    }

    /// The value, when the slot was ever used. Alive or not.
    #[inline]
    pub(super) fn used(&self, slot: u32) -> Option<&T> {
        if self.states.get(slot as usize)?.load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: slot < capacity, and a state other than 0 means that the value was made.
        Some(unsafe { self.value(slot) })
    }

    /// The generation, when the slot is alive.
    pub(super) fn generation(&self, slot: u32) -> Option<u64> {
        let state = self.states.get(slot as usize)?.load(Ordering::Acquire);
        (state & 1 == 1).then_some(state >> 1)
    }

    /// # Safety
    /// The slot was taken by `take_fresh`, and its state was seen (Acquire) to be other than 0, or the caller owns it.
    #[inline]
    pub(super) unsafe fn value(&self, slot: u32) -> &T {
        // SAFETY: in bounds and made, by the caller's promise.
        unsafe { &*self.values.as_ptr().add(slot as usize) }
    }

    pub(super) fn capacity(&self) -> usize {
        self.states.len()
    }

    /// Slots that are alive: counted when asked, so that nobody who allocates or frees pays for it.
    pub(super) fn live(&self) -> usize {
        let used = (self.fresh.load(Ordering::Relaxed) as usize).min(self.states.len());
        self.states[..used]
            .iter()
            .filter(|state| state.load(Ordering::Relaxed) & 1 == 1)
            .count()
    }

    pub(super) fn as_ptr(&self) -> *const T {
        self.values.as_ptr()
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        if core::mem::needs_drop::<T>() {
            for (slot, state) in self.states.iter().enumerate() {
                if state.load(Ordering::Relaxed) != 0 {
                    // SAFETY: made (state other than 0), and nobody shares it any more.
                    unsafe { self.values.as_ptr().add(slot).drop_in_place() };
                }
            }
        }
        let layout = Layout::array::<T>(self.states.len()).and_then(|layout| layout.align_to(64));
        if let Ok(layout) = layout
            && layout.size() > 0
        {
            // SAFETY: allocated in `new` with the same layout, freed once.
            unsafe { dealloc(self.values.as_ptr().cast(), layout) };
        }
    }
}

/// A slot whose life this thread alone has ended. It is reused when this is dropped.
#[derive(Debug)]
#[must_use = "the slot is free again as soon as this is dropped"]
pub struct Claimed<'s, T> {
    pub(super) value: &'s T,
    pub(super) slot: u32,
    pub(super) free: &'s dyn FreeList,
}

/// Where a dead slot waits to be used again.
pub(super) trait FreeList: core::fmt::Debug + Sync {
    fn give_back(&self, slot: u32);
}

impl<T> Claimed<'_, T> {
    /// Number of the slot.
    pub fn slot(&self) -> u32 {
        self.slot
    }
}

impl<T> Deref for Claimed<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> Drop for Claimed<'_, T> {
    fn drop(&mut self) {
        self.free.give_back(self.slot);
    }
}
