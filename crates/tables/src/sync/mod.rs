//! The one place where atomics, cells and mutexes come from.
//!
//! Under `--cfg loom` and `--cfg shuttle` they are the model checker's; otherwise `core`'s. A structure that took an
//! atomic from elsewhere would be invisible to the models.

mod cell;
mod mutex;

pub(crate) use cell::UnsafeCell;
pub(crate) use mutex::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Arc,
    atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use {
    alloc::sync::Arc,
    core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    },
};

/// One turn of a short wait for another thread's critical section; `turn` counts from 0.
///
/// Burns a few cycles first, then gives the processor away: on two cores the holder may not be running.
#[inline]
pub(crate) fn relax(turn: u32) {
    #[cfg(loom)]
    {
        let _ = turn;
        loom::thread::yield_now();
    }
    #[cfg(shuttle)]
    {
        let _ = turn;
        shuttle::thread::yield_now();
    }
    #[cfg(not(any(loom, shuttle)))]
    {
        #[cfg(feature = "std")]
        if turn > 16 {
            std::thread::yield_now();
            return;
        }
        let _ = turn;
        core::hint::spin_loop();
    }
}

/// Keeps neighbours off this cache line. 128 bytes: x86 prefetches lines in pairs, Apple's lines are that long.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> core::ops::Deref for CachePadded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
