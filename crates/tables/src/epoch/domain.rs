//! Who reads, and what waits to be freed.

use alloc::{boxed::Box, vec::Vec};
use core::any::Any;

use super::{Reader, fence::Fence};
use crate::sync::{Arc, AtomicU64, CachePadded, Mutex, Ordering};

/// A reader's slot says this while it is not pinned. Epochs start at 1.
pub(super) const UNPINNED: u64 = 0;

/// A set of readers, and the values that writers retired while those may still look at them.
///
/// Cheap to clone: clones are the same domain. Most programs use [`Domain::global`].
#[derive(Clone, Debug)]
pub struct Domain {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) fence: Fence,
    /// Grows with each retirement.
    pub(super) epoch: CachePadded<AtomicU64>,
    slots: Mutex<Vec<Arc<Slot>>>,
    retired: Mutex<Vec<Retired>>,
}

/// A reader's announcement: the epoch it pinned at, or [`UNPINNED`].
pub(super) type Slot = CachePadded<AtomicU64>;

struct Retired {
    /// The epoch before the value was retired: readers pinned at a later one cannot have it.
    epoch: u64,
    value: Box<dyn Any + Send>,
}

impl core::fmt::Debug for Inner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Inner")
            .field("fence", &self.fence)
            .field("epoch", &self.epoch.0)
            .finish_non_exhaustive()
    }
}

impl Domain {
    /// A domain of its own, with no readers.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                fence: Fence::detect(),
                epoch: CachePadded(AtomicU64::new(1)),
                slots: Mutex::new(Vec::new()),
                retired: Mutex::new(Vec::new()),
            }),
        }
    }

    /// The process's domain.
    #[cfg(not(any(loom, shuttle)))]
    pub fn global() -> &'static Self {
        use core::{ptr, sync::atomic::AtomicPtr};
        static GLOBAL: AtomicPtr<Domain> = AtomicPtr::new(ptr::null_mut());

        // Acquire pairs with the Release of the exchange below: the domain is seen whole.
        let mut found = GLOBAL.load(Ordering::Acquire);
        if found.is_null() {
            let made = Box::into_raw(Box::new(Self::new()));
            match GLOBAL.compare_exchange(
                ptr::null_mut(),
                made,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => found = made,
                Err(first) => {
                    // SAFETY: `made` came from `Box::into_raw` above and lost the race, so nobody else has it.
                    drop(unsafe { Box::from_raw(made) });
                    found = first;
                }
            }
        }
        // SAFETY: a non-null pointer in GLOBAL was leaked from a box by the winner and is never freed.
        unsafe { &*found }
    }

    /// Registers the calling thread, or whichever thread the reader is moved to. Takes a lock: once per thread.
    pub fn register(&self) -> Reader {
        let slot = Arc::new(CachePadded(AtomicU64::new(UNPINNED)));
        self.inner.slots.lock().push(Arc::clone(&slot));
        Reader::new(Arc::clone(&self.inner), slot)
    }

    /// Frees what no reader can see any more; returns how many values that were. Writers call it after publishing.
    ///
    /// Costs one process-wide barrier (microseconds) and a look at each reader's slot; nothing when nothing is retired.
    pub fn collect(&self) -> usize {
        self.inner.collect()
    }

    /// Values that are retired and not yet freed.
    pub fn pending(&self) -> usize {
        self.inner.retired.lock().len()
    }

    /// True when both are the same domain.
    pub(super) fn is(&self, inner: &Arc<Inner>) -> bool {
        Arc::ptr_eq(&self.inner, inner)
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    /// Takes a value that readers pinned now may still see. The caller has already unlinked it.
    pub(super) fn retire(&self, value: Box<dyn Any + Send>) {
        // Release: a reader that acquires the epoch after this one also sees the unlinking, so cannot find the value.
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel);
        self.retired.lock().push(Retired { epoch, value });
    }

    pub(super) fn collect(&self) -> usize {
        let mut candidates = core::mem::take(&mut *self.retired.lock());
        if candidates.is_empty() {
            return 0;
        }
        // After this fence, for each reader: either its announcement is visible below, or it sees every value in
        // `candidates` unlinked, because they were unlinked before they were retired.
        self.fence.heavy();
        let mut oldest = u64::MAX;
        for slot in self.slots.lock().iter() {
            // Acquire pairs with the Release stores in `Reader`: the accesses of the reader's earlier sections
            // happened before we free.
            let pinned = slot.load(Ordering::Acquire);
            if pinned != UNPINNED {
                oldest = oldest.min(pinned);
            }
        }
        // A reader pinned at an epoch later than a value's acquired the epoch after the unlinking.
        let free: Vec<Retired> = candidates
            .extract_if(.., |retired| retired.epoch < oldest)
            .collect();
        if !candidates.is_empty() {
            self.retired.lock().append(&mut candidates);
        }
        let freed = free.len();
        // Outside every lock: dropping a value may retire others.
        for retired in free {
            drop(retired.value);
        }
        freed
    }

    pub(super) fn unregister(&self, slot: &Arc<Slot>) {
        self.slots.lock().retain(|other| !Arc::ptr_eq(other, slot));
    }
}
