//! Waking a reader exactly once, and never losing a wake.

use crate::sync::{AtomicU32, CachePadded, Ordering, fence};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// A flag that a reader sets before it sleeps and a writer takes when there is something to read.
///
/// Reader: [`arm`](Self::arm), look once more for work, then sleep, or [`disarm`](Self::disarm) when there is some.
/// Writer: publish the work, then [`ring`](Self::ring), and wake the reader when it returns true.
///
/// # Why no wake is lost
///
/// The reader stores the flag and then loads the work; the writer stores the work and then loads the flag. Both sides
/// have a `SeqCst` fence in between (Dekker's pattern), so at least one of the two sees the other's store: either the
/// reader finds the work, or the writer finds the flag.
#[derive(Debug, Default)]
pub struct Doorbell {
    state: CachePadded<AtomicU32>,
}

impl Doorbell {
    /// A doorbell whose reader is awake.
    pub fn new() -> Self {
        Self {
            state: CachePadded(AtomicU32::new(AWAKE)),
        }
    }

    /// Says that the reader is about to sleep. It must look for work once more after this and before it sleeps.
    #[inline]
    pub fn arm(&self) {
        // An exchange, as in `ring`: when both happen at once, one of them comes first and the other one sees it.
        self.state.swap(ASLEEP, Ordering::AcqRel);
        // Orders the exchange above before the reader's next look; pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    /// Says that the reader stays awake. False when a writer has rung meanwhile: then one wake is on its way.
    #[inline]
    pub fn disarm(&self) -> bool {
        // Acquire: what was published before the ring is visible.
        self.state.swap(AWAKE, Ordering::Acquire) == ASLEEP
    }

    /// Whether the reader has armed and nobody has rung since. Only the reader can rely on it: others may ring meanwhile.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ASLEEP
    }

    /// To be called after work was published. True: the caller must wake the reader; true once per `arm`.
    ///
    /// Costs one fence, 5 ns, while the reader is awake: call it once per batch.
    #[inline]
    #[must_use = "when it is true nobody else wakes the reader"]
    pub fn ring(&self) -> bool {
        // Orders the published work before the look at the flag; pairs with the fence in `arm`.
        fence(Ordering::SeqCst);
        // The plain load first: while the reader is awake the line stays shared.
        self.state.load(Ordering::Relaxed) == ASLEEP
            && self.state.swap(AWAKE, Ordering::AcqRel) == ASLEEP
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn rings_once_per_arm() {
        let bell = Doorbell::new();
        assert!(!bell.ring());
        bell.arm();
        assert!(bell.ring());
        assert!(!bell.ring());
        assert!(!bell.disarm(), "the ring came first");
        bell.arm();
        assert!(bell.is_armed());
        assert!(bell.disarm());
        assert!(!bell.is_armed());
        assert!(!bell.ring());
    }
}
