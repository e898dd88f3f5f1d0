//! A value that is replaced as a whole.

use alloc::boxed::Box;
use core::{marker::PhantomData, ops::Deref};

use super::{Domain, Guard};
use crate::sync::{AtomicPtr, Mutex, MutexGuard, Ordering};

/// A published value: readers load it for a plain load, writers replace it and the old one is freed after the last
/// reader that could see it has left.
///
/// # Cost
/// Load: one load and one compare (the guard must be of the same domain). Store: an allocation, a lock, and a
/// process-wide barrier when something is freed: microseconds.
pub struct Snapshot<T: Send + Sync + 'static> {
    current: AtomicPtr<T>,
    writer: Mutex<()>,
    domain: Domain,
    owns: PhantomData<T>,
}

/// The right to replace a snapshot's value; others wait. Dereferences to the current value.
#[must_use = "the snapshot stays locked for writers while this lives"]
pub struct Writer<'s, T: Send + Sync + 'static> {
    snapshot: &'s Snapshot<T>,
    _lock: MutexGuard<'s, ()>,
}

impl<T: Send + Sync + 'static> Snapshot<T> {
    /// Publishes `value` in the process's domain.
    #[cfg(not(any(loom, shuttle)))]
    pub fn new(value: T) -> Self {
        Self::new_in(Domain::global(), value)
    }

    /// Publishes `value` in `domain`: only its readers can load it.
    pub fn new_in(domain: &Domain, value: T) -> Self {
        Self {
            current: AtomicPtr::new(Box::into_raw(Box::new(value))),
            writer: Mutex::new(()),
            domain: domain.clone(),
            owns: PhantomData,
        }
    }

    /// The value as it is now; it stays as it is while the guard lives.
    ///
    /// # Panics
    /// When the guard belongs to another domain: it would not keep the value alive.
    #[inline]
    pub fn load<'g>(&self, guard: &'g Guard<'_>) -> &'g T {
        assert!(
            self.domain.is(&guard.reader.domain),
            "guard of another epoch domain"
        );
        // Acquire pairs with the Release of `publish`: the value is seen whole.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: `current` came from `Box::into_raw` and is freed only through the domain, after every reader that was
        // pinned when it was unlinked has left; `guard` is such a pin of the same domain. `T: Sync` allows sharing.
        unsafe { &*current }
    }

    /// Replaces the value.
    pub fn store(&self, value: T) {
        self.write().publish(value);
    }

    /// Replaces the value by one made from it. Other writers wait meanwhile, so no update is lost.
    pub fn update(&self, make: impl FnOnce(&T) -> T) {
        let mut writer = self.write();
        let value = make(&writer);
        writer.publish(value);
    }

    /// Locks out other writers.
    pub fn write(&self) -> Writer<'_, T> {
        Writer {
            _lock: self.writer.lock(),
            snapshot: self,
        }
    }
}

impl<T: Send + Sync + 'static> Writer<'_, T> {
    /// Replaces the value and frees older ones that nobody reads any more.
    pub fn publish(&mut self, value: T) {
        let snapshot = self.snapshot;
        let fresh = Box::into_raw(Box::new(value));
        // Release: readers that acquire the pointer see the value whole. Acquire: we own what we take out.
        let old = snapshot.current.swap(fresh, Ordering::AcqRel);
        // SAFETY: `old` came from `Box::into_raw`, was unlinked by the swap above, and only one writer can take it out.
        snapshot.domain.inner.retire(unsafe { Box::from_raw(old) });
        snapshot.domain.collect();
    }
}

impl<T: Send + Sync + 'static> Deref for Writer<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // Relaxed: only writers store, and the lock orders us after the last one.
        let current = self.snapshot.current.load(Ordering::Relaxed);
        // SAFETY: the value is unlinked only by `publish`, which needs `&mut self` and so ends this borrow.
        unsafe { &*current }
    }
}

impl<T: Send + Sync + 'static> Drop for Snapshot<T> {
    fn drop(&mut self) {
        let current = self.current.load(Ordering::Relaxed);
        // A guard may outlive the snapshot and still hold a reference, so the last value is retired, not freed.
        // SAFETY: `current` came from `Box::into_raw` and `&mut self` means no writer takes it too.
        self.domain.inner.retire(unsafe { Box::from_raw(current) });
        self.domain.collect();
    }
}

impl<T: Send + Sync + 'static> core::fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> core::fmt::Debug for Writer<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
