//! Short-lived things: one per message under way.

use alloc::{boxed::Box, vec::Vec};

use super::slots::{Claimed, FreeList, SlabError, Slots};
use crate::sync::{AtomicU32, AtomicU64, CachePadded, Ordering};

const SLOT_BITS: u32 = 20;
const LAST_GENERATION: u64 = u32::MAX as u64;

/// `generation << 20 | slot`: below 2^52, so exact in a JavaScript number; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Number of the slot, whether or not it lives.
    pub fn slot(self) -> u32 {
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
    }

    /// Generation of the slot, 1..=2^32 - 1 in a ticket that a slab gave.
    pub fn generation(self) -> u64 {
        self.0 >> SLOT_BITS
    }

    /// The number that JavaScript holds.
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// The ticket that JavaScript gave back; none when it is not a whole number below 2^52.
    pub fn from_f64(number: f64) -> Option<Self> {
        // NaN and negatives become 0, infinity the largest; a fraction shows as other bits on the way back.
        let whole = number as u64;
        (whole != 0 && whole < 1 << 52 && (whole as f64).to_bits() == number.to_bits())
            .then_some(Self(whole))
    }
}

/// Up to 1,048,576 slots for things that live shortly. The slot freed last is reused first: it is still in the cache.
#[derive(Debug)]
pub struct TicketSlab<T> {
    slots: Slots<T>,
    free: Stack,
}

/// Treiber's stack of slot numbers. The upper half of `top` counts pushes, against the ABA problem.
#[derive(Debug)]
struct Stack {
    /// `pushes << 32 | slot + 1`; lower half 0 when empty.
    top: CachePadded<AtomicU64>,
    /// What lies below each slot, `slot + 1`, 0 at the bottom.
    below: Box<[AtomicU32]>,
}

impl Stack {
    fn pop(&self) -> Option<u32> {
        // Acquire pairs with the Release of `give_back`: `below` of the top is what its pusher wrote.
        let mut top = self.top.load(Ordering::Acquire);
        loop {
            let slot = (top as u32).checked_sub(1)?;
            // May be stale when another thread popped and pushed meanwhile; then the count in `top` has moved and the
            // exchange fails.
            let below = self.below[slot as usize].load(Ordering::Relaxed);
            let next = top >> 32 << 32 | u64::from(below);
            match self
                .top
                .compare_exchange_weak(top, next, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Some(slot),
                Err(now) => top = now,
            }
        }
    }
}

impl FreeList for Stack {
    fn give_back(&self, slot: u32) {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            self.below[slot as usize].store(top as u32, Ordering::Relaxed);
            let next = (top >> 32).wrapping_add(1) << 32 | u64::from(slot + 1);
            // Release: whoever pops the slot sees `below` and the last owner's stores.
            match self
                .top
                .compare_exchange_weak(top, next, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }
}

impl<T: Default + Send + Sync> TicketSlab<T> {
    /// Most slots.
    pub const MAX_SLOTS: usize = 1 << SLOT_BITS;

    /// A slab of `max` slots, 1..=1,048,576. The memory of the values is committed on first use.
    ///
    /// # Errors
    /// [`SlabError`].
    pub fn new(max: usize) -> Result<Self, SlabError> {
        let slots = Slots::new(max, Self::MAX_SLOTS)?;
        let mut below = Vec::new();
        below
            .try_reserve_exact(max)
            .map_err(|_| SlabError::OutOfMemory)?;
        below.extend((0..max).map(|_| AtomicU32::new(0)));
        let free = Stack {
            top: CachePadded(AtomicU64::new(0)),
            below: below.into_boxed_slice(),
        };
        Ok(Self { slots, free })
    }

    /// A live slot, or none when all are. The value holds what its last owner left, at first `T::default()`.
    #[inline]
    pub fn allocate(&self) -> Option<Ticket> {
        let slot = self.free.pop().or_else(|| self.slots.take_fresh())?;
        Some(Ticket(
            self.slots.revive(slot, LAST_GENERATION) << SLOT_BITS | u64::from(slot),
        ))
    }

    /// Ends a life; true for exactly one caller per ticket.
    #[inline]
    pub fn free(&self, ticket: Ticket) -> bool {
        self.claim(ticket).is_some()
    }

    /// Ends a life and keeps the slot from being reused until the claim is dropped.
    #[inline]
    pub fn claim(&self, ticket: Ticket) -> Option<Claimed<'_, T>> {
        let slot = ticket.slot();
        if !self.slots.kill(slot, ticket.generation()) {
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

    /// The value of a live ticket.
    #[inline]
    pub fn get(&self, ticket: Ticket) -> Option<&T> {
        self.slots.get(ticket.slot(), ticket.generation())
    }

    /// The value of a slot that was ever used, alive or not.
    ///
    /// # Panics
    /// When the slot was never used.
    #[inline]
    pub fn slot(&self, slot: u32) -> &T {
        self.slots
            .used(slot)
            .expect("a slot number that a ticket of this slab gave")
    }

    /// The ticket of a slot, when it is alive: for sweeps over the open ones.
    pub fn ticket_of(&self, slot: u32) -> Option<Ticket> {
        Some(Ticket(
            self.slots.generation(slot)? << SLOT_BITS | u64::from(slot),
        ))
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
}
