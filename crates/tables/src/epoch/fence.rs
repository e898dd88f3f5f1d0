//! The asymmetric fence: free for readers, paid by writers.
//!
//! The pair gives what two `SeqCst` fences give: if a reader's accesses after [`Fence::light`] do not see a writer's
//! stores before [`Fence::heavy`], then the writer's loads after `heavy` see the reader's stores before `light`.

use core::sync::atomic::{Ordering as CompilerOrdering, compiler_fence};

use crate::sync::{Ordering, fence};

/// Which pair of fences a domain uses. Chosen once, when the domain is made, so both sides always agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fence {
    /// `membarrier(2)` on the writer's side, a compiler fence on the reader's.
    #[cfg_attr(
        not(all(target_os = "linux", not(loom), not(shuttle), not(miri))),
        allow(dead_code, reason = "Linux only")
    )]
    Asymmetric,
    /// `SeqCst` fences on both sides.
    Symmetric,
}

impl Fence {
    /// The cheapest pair this process can have.
    pub(crate) fn detect() -> Self {
        #[cfg(all(target_os = "linux", not(loom), not(shuttle), not(miri)))]
        if membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
            return Self::Asymmetric;
        }
        Self::Symmetric
    }

    /// The reader's side: between announcing itself and its first load.
    #[inline(always)]
    pub(crate) fn light(self) {
        match self {
            // The processor may still reorder; the writer's `membarrier` interrupts it at some point, and whatever side
            // of this line that point is on, one of the two threads sees the other. Only the compiler must not reorder.
            Self::Asymmetric => compiler_fence(CompilerOrdering::SeqCst),
            Self::Symmetric => fence(Ordering::SeqCst),
        }
    }

    /// The writer's side: between unlinking a value and looking at the readers' announcements.
    pub(crate) fn heavy(self) {
        match self {
            #[cfg(all(target_os = "linux", not(loom), not(shuttle), not(miri)))]
            Self::Asymmetric => {
                let done = membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
                // The kernel documents no way for it to fail once registered. Freeing without it would be unsound.
                assert!(
                    done,
                    "membarrier(PRIVATE_EXPEDITED) failed after it was registered"
                );
            }
            _ => fence(Ordering::SeqCst),
        }
    }
}

#[cfg(all(target_os = "linux", not(loom), not(shuttle), not(miri)))]
fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: membarrier takes three integers and touches no memory of the caller.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
