//! Zeroed memory in whole cache lines.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::{ops::Deref, ptr::NonNull};

/// An array of `T`, zeroed, 64-byte aligned. Large ones are committed page by page on first use.
#[derive(Debug)]
pub(crate) struct Lines<T> {
    start: NonNull<T>,
    length: usize,
}

/// What all-zero bytes are a value of.
///
/// # Safety
/// A `T` of zero bytes must be valid, and must need no drop.
pub(crate) unsafe trait Zeroed {}

// SAFETY: an array of `T`, owned, reached only by shared reference.
unsafe impl<T: Send + Sync> Send for Lines<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Lines<T> {}

impl<T: Zeroed> Lines<T> {
    /// None when there is no memory for it.
    pub(crate) fn new(length: usize) -> Option<Self> {
        let layout = Self::layout(length)?;
        // SAFETY: `layout` has a size greater than 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self {
            start: start.cast(),
            length,
        })
    }
}

impl<T> Lines<T> {
    /// None when there would be nothing, or too much, to allocate.
    fn layout(length: usize) -> Option<Layout> {
        let layout = Layout::array::<T>(length).ok()?.align_to(64).ok()?;
        (layout.size() > 0).then_some(layout)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.length * size_of::<T>()
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.start.as_ptr()
    }
}

impl<T: Zeroed> Deref for Lines<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `length` values of zeroes, valid by `Zeroed`, that live as long as `self`.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T> Drop for Lines<T> {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.length) {
            // SAFETY: allocated in `new` with the same layout, freed once.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

/// Where `hash` begins its search among `count` lines: its highest bits, scaled.
#[inline(always)]
pub(crate) fn home(hash: u64, count: usize) -> usize {
    ((u128::from(hash) * count as u128) >> 64) as usize
}

/// Asks for the line early, so that many of them are on their way at once.
#[inline(always)]
pub(crate) fn prefetch<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint and reads nothing; SSE is part of x86-64.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
