//! A bounded ring of values, many producers and consumers.
//!
//! D. Vyukov's bounded MPMC queue: each slot carries a sequence that says whose turn it is, so a push or a pop is one
//! compare-and-swap on its own index and touches no line of the other side except the slot. Batches claim a run of
//! slots with one compare-and-swap.

use alloc::{boxed::Box, vec::Vec};
use core::mem::MaybeUninit;

use super::record::{MAX_SLOTS, RingError, round_capacity};
use crate::sync::{AtomicUsize, CachePadded, Ordering, UnsafeCell, relax};

/// Bounded first-in-first-out queue of `T`. `push` and `pop` take no lock and never wait.
pub struct MpmcRing<T> {
    slots: Box<[Slot<T>]>,
    mask: usize,
    /// Next position to push at. Free-running.
    tail: CachePadded<AtomicUsize>,
    /// Next position to pop at. Free-running.
    head: CachePadded<AtomicUsize>,
}

struct Slot<T> {
    /// `position`: free for the push at `position`. `position + 1`: holds its value. Anything else: another lap.
    sequence: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: values move from the pushing to the popping thread (`T: Send`); a slot is accessed only by the thread that
// claimed its position, and the sequence hands it over with Release and Acquire.
unsafe impl<T: Send> Send for MpmcRing<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for MpmcRing<T> {}

impl<T> MpmcRing<T> {
    /// A ring of at least `capacity` slots (rounded up to a power of two, 2..=2^26).
    ///
    /// # Errors
    /// [`RingError::Capacity`], [`RingError::OutOfMemory`].
    pub fn new(capacity: usize) -> Result<Self, RingError> {
        let capacity = round_capacity(capacity, 2, MAX_SLOTS)?;
        let mut slots = Vec::new();
        slots
            .try_reserve_exact(capacity)
            .map_err(|_| RingError::OutOfMemory)?;
        slots.extend((0..capacity).map(|position| Slot {
            sequence: AtomicUsize::new(position),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }));
        Ok(Self {
            slots: slots.into_boxed_slice(),
            mask: capacity - 1,
            tail: CachePadded(AtomicUsize::new(0)),
            head: CachePadded(AtomicUsize::new(0)),
        })
    }

    /// Slots.
    pub fn capacity(&self) -> usize {
        self.mask + 1
    }

    /// Values in the ring. A moment's truth when others are at work.
    pub fn len(&self) -> usize {
        // The two loads are not one moment: clamp what a concurrent pop makes of them.
        let tail = self.tail.load(Ordering::Relaxed);
        let length = tail.wrapping_sub(self.head.load(Ordering::Relaxed));
        if (length as isize) < 0 {
            0
        } else {
            length.min(self.capacity())
        }
    }

    /// True when there is nothing to pop.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends `value`, or gives it back when the ring is full.
    ///
    /// # Errors
    /// The value itself.
    #[inline]
    pub fn push(&self, value: T) -> Result<(), T> {
        let Some((position, _)) = self.claim(&self.tail, 0, 1) else {
            return Err(value);
        };
        self.fill(position, value);
        Ok(())
    }

    /// Takes the oldest value.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let (position, _) = self.claim(&self.head, 1, 1)?;
        Some(self.drain(position))
    }

    /// Appends as many of `values` as there is room for, in order and next to each other; returns how many.
    pub fn push_many(&self, values: &[T]) -> usize
    where
        T: Copy,
    {
        let Some((position, count)) = self.claim(&self.tail, 0, values.len()) else {
            return 0;
        };
        for (offset, value) in values[..count].iter().enumerate() {
            self.fill(position.wrapping_add(offset), *value);
        }
        count
    }

    /// Moves up to `out.len()` of the oldest values to `out`, in order; returns how many.
    pub fn pop_many(&self, out: &mut [T]) -> usize
    where
        T: Copy,
    {
        let Some((position, count)) = self.claim(&self.head, 1, out.len()) else {
            return 0;
        };
        for (offset, value) in out[..count].iter_mut().enumerate() {
            *value = self.drain(position.wrapping_add(offset));
        }
        count
    }

    /// Claims a run of up to `wanted` positions whose slots are ready: `ready` is 0 for pushing, 1 for popping.
    #[inline]
    fn claim(&self, index: &AtomicUsize, ready: usize, wanted: usize) -> Option<(usize, usize)> {
        if wanted == 0 {
            return None;
        }
        // Relaxed: the index only says where to look; the slots' sequences carry the data.
        let mut position = index.load(Ordering::Relaxed);
        let mut turn = 0;
        loop {
            let mut count = 0;
            while count < wanted.min(self.capacity()) {
                let at = position.wrapping_add(count);
                // Acquire pairs with the Release of whoever used the slot before: its access is over and visible.
                let sequence = self.slots[at & self.mask].sequence.load(Ordering::Acquire);
                if sequence != at.wrapping_add(ready) {
                    break;
                }
                count += 1;
            }
            if count > 0 {
                // A slot that is ready for a position stays so until that position is claimed, and positions before
                // ours are claimed: if the index has not moved, the whole run is ours.
                match index.compare_exchange_weak(
                    position,
                    position.wrapping_add(count),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Some((position, count)),
                    Err(now) => position = now,
                }
            } else {
                let now = index.load(Ordering::Relaxed);
                if now == position {
                    // The slot belongs to the other side: full or empty.
                    return None;
                }
                position = now;
            }
            relax(turn);
            turn += 1;
        }
    }

    #[inline]
    fn fill(&self, position: usize, value: T) {
        let slot = &self.slots[position & self.mask];
        // SAFETY: the caller claimed `position` while the slot was ready for pushing: nobody else accesses the value
        // until the sequence below says so.
        slot.value.with_mut(|cell| unsafe { (*cell).write(value) });
        slot.sequence
            .store(position.wrapping_add(1), Ordering::Release);
    }

    #[inline]
    fn drain(&self, position: usize) -> T {
        let slot = &self.slots[position & self.mask];
        // SAFETY: the caller claimed `position` while the slot held its value; it is read once, by us.
        let value = slot
            .value
            .with(|cell| unsafe { (*cell).assume_init_read() });
        slot.sequence
            .store(position.wrapping_add(self.capacity()), Ordering::Release);
        value
    }
}

impl<T> Drop for MpmcRing<T> {
    fn drop(&mut self) {
        if core::mem::needs_drop::<T>() {
            while self.pop().is_some() {}
        }
    }
}

impl<T> core::fmt::Debug for MpmcRing<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MpmcRing")
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .finish()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use alloc::{rc::Rc, vec::Vec};

    use super::*;

    #[test]
    fn refuses_capacities_outside_its_limits() {
        assert!(matches!(
            MpmcRing::<u32>::new(0),
            Err(RingError::Capacity { capacity: 0, .. })
        ));
        assert!(matches!(
            MpmcRing::<u32>::new(usize::MAX),
            Err(RingError::Capacity { .. })
        ));
        assert_eq!(MpmcRing::<u32>::new(3).unwrap().capacity(), 4);
    }

    #[test]
    fn keeps_order_over_many_laps_and_gives_back_what_does_not_fit() {
        let ring = MpmcRing::new(4).unwrap();
        let mut next = 0;
        for round in 0..100_u32 {
            for i in 0..4 {
                ring.push(round * 4 + i).unwrap();
            }
            assert_eq!(ring.push(999), Err(999));
            for _ in 0..4 {
                assert_eq!(ring.pop(), Some(next));
                next += 1;
            }
            assert_eq!(ring.pop(), None);
        }
    }

    #[test]
    fn a_batch_takes_what_fits() {
        let ring = MpmcRing::new(8).unwrap();
        assert_eq!(ring.push_many(&[1, 2, 3, 4, 5]), 5);
        assert_eq!(ring.push_many(&[6, 7, 8, 9, 10]), 3);
        let mut out = [0; 6];
        assert_eq!(ring.pop_many(&mut out), 6);
        assert_eq!(out, [1, 2, 3, 4, 5, 6]);
        assert_eq!(ring.push_many(&[11]), 1);
        let mut rest = [0; 6];
        assert_eq!(ring.pop_many(&mut rest), 3);
        assert_eq!(rest[..3], [7, 8, 11]);
        assert_eq!(ring.push_many(&[]), 0);
    }

    #[test]
    fn drops_what_is_left_in_it() {
        let witness = Rc::new(());
        let ring = MpmcRing::new(4).unwrap();
        ring.push(Rc::clone(&witness)).unwrap();
        ring.push(Rc::clone(&witness)).unwrap();
        drop(ring);
        assert_eq!(Rc::strong_count(&witness), 1);
    }

    #[test]
    fn four_threads_lose_and_double_nothing() {
        const EACH: usize = 20_000;
        let ring = MpmcRing::new(64).unwrap();
        let seen = std::thread::scope(|scope| {
            for producer in 0..2_usize {
                let ring = &ring;
                scope.spawn(move || {
                    for i in 0..EACH {
                        let mut value = producer << 32 | i;
                        while let Err(back) = ring.push(value) {
                            value = back;
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let consumers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut seen, mut batch) = (Vec::new(), [0; 16]);
                        while seen.len() < EACH {
                            let count = ring.pop_many(&mut batch[..16.min(EACH - seen.len())]);
                            seen.extend_from_slice(&batch[..count]);
                            if count == 0 {
                                std::thread::yield_now();
                            }
                        }
                        seen
                    })
                })
                .collect();
            consumers
                .into_iter()
                .map(|consumer| consumer.join().unwrap())
                .collect::<Vec<_>>()
        });
        for one in &seen {
            // What one consumer sees of one producer is in that producer's order.
            for producer in 0..2 {
                let own: Vec<_> = one
                    .iter()
                    .filter(|value| **value >> 32 == producer)
                    .collect();
                assert!(own.is_sorted());
            }
        }
        let mut all: Vec<_> = seen.concat();
        all.sort_unstable();
        let expected: Vec<_> = (0..EACH).chain((0..EACH).map(|i| 1 << 32 | i)).collect();
        assert_eq!(all, expected);
    }
}
