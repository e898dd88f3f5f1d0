//! A mutex for writers: the platform's, or a spin lock where there is no platform.
//!
//! Poisoning is ignored on purpose: every critical section in this crate either publishes a whole new value or leaves
//! the old one, so a panic inside one leaves nothing half done that a later writer could trip over.

#[cfg(any(loom, shuttle, feature = "std"))]
mod imp {
    #[cfg(loom)]
    use loom::sync as platform;
    #[cfg(shuttle)]
    use shuttle::sync as platform;
    #[cfg(not(any(loom, shuttle)))]
    use std::sync as platform;

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(platform::Mutex<T>);
    pub(crate) type MutexGuard<'a, T> = platform::MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(platform::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

#[cfg(not(any(loom, shuttle, feature = "std")))]
mod imp {
    use core::{
        cell::UnsafeCell,
        ops::{Deref, DerefMut},
        sync::atomic::{AtomicBool, Ordering},
    };

    #[derive(Debug)]
    pub(crate) struct Mutex<T> {
        locked: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: the value is reached only through a guard, and `locked` admits one guard at a time.
    unsafe impl<T: Send> Sync for Mutex<T> {}

    #[derive(Debug)]
    pub(crate) struct MutexGuard<'a, T>(&'a Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self {
                locked: AtomicBool::new(false),
                value: UnsafeCell::new(value),
            }
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            // Acquire pairs with the Release in `drop`: what the previous holder wrote is visible.
            while self
                .locked
                .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
            {
                core::hint::spin_loop();
            }
            MutexGuard(self)
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            // SAFETY: this guard holds the lock.
            unsafe { &*self.0.value.get() }
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: this guard holds the lock, and `&mut self` makes the borrow unique.
            unsafe { &mut *self.0.value.get() }
        }
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            self.0.locked.store(false, Ordering::Release);
        }
    }
}

pub(crate) use imp::{Mutex, MutexGuard};
