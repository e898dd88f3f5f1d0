//! A thread that reads: pins while it looks at snapshots.

use core::{cell::Cell, marker::PhantomData};

use super::domain::{Inner, Slot, UNPINNED};
use crate::sync::{Arc, Ordering};

/// A registered reader. One per thread; may move between threads while it is not pinned, cannot be shared.
///
/// Dropping it unregisters the thread.
#[derive(Debug)]
pub struct Reader {
    pub(super) domain: Arc<Inner>,
    slot: Arc<Slot>,
    depth: Cell<u32>,
}

/// While it lives, nothing that was loaded through it is freed. Pins nest; the outermost one counts.
///
/// Keep it short: what writers retire meanwhile stays in memory.
#[derive(Debug)]
#[must_use = "the section ends when the guard is dropped"]
pub struct Guard<'r> {
    pub(super) reader: &'r Reader,
    /// A section belongs to the thread that opened it.
    not_send: PhantomData<*const ()>,
}

impl Reader {
    pub(super) fn new(domain: Arc<Inner>, slot: Arc<Slot>) -> Self {
        Self {
            domain,
            slot,
            depth: Cell::new(0),
        }
    }

    /// Opens a read section. About 1 ns where the writer carries the fence, 5 ns elsewhere; wait-free.
    ///
    /// # Panics
    /// When more than 2^32 guards of this reader were leaked.
    #[inline]
    pub fn pin(&self) -> Guard<'_> {
        let depth = self.depth.get();
        self.depth
            .set(depth.checked_add(1).expect("fewer than 2^32 nested pins"));
        if depth == 0 {
            // Acquire: whoever retired at an earlier epoch unlinked before, and we must not find the old value.
            let epoch = self.domain.epoch.load(Ordering::Acquire);
            // Release, not Relaxed: a collector that reads this announcement must also know our previous section ended.
            self.slot.store(epoch, Ordering::Release);
            self.domain.fence.light();
        }
        Guard {
            reader: self,
            not_send: PhantomData,
        }
    }

    /// True between the first [`pin`](Self::pin) and the drop of the last guard.
    pub fn is_pinned(&self) -> bool {
        self.depth.get() != 0
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let depth = self.reader.depth.get() - 1;
        self.reader.depth.set(depth);
        if depth == 0 {
            // Release: every access of the section happens before a collector sees us gone.
            self.reader.slot.store(UNPINNED, Ordering::Release);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A guard borrows the reader, so it is unpinned, unless a guard was leaked: then its references have ended
        // with the borrow, and leaving the slot behind would only stop collection for ever.
        self.domain.unregister(&self.slot);
    }
}
