//! One implementation of [`Region`] for every kind of memory.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use linkmesh_tables::{AccessGate, AccessPass};

use super::{
    ATOMIC_ORDERING, AccessError, Backing, Region, check_range, check_word,
    copy::{copy_in, copy_out},
};

/// A region over memory of kind `B`.
///
/// An access enters the gate, checks its range against the length of that moment, copies and leaves; a revoker closes
/// the gate and waits for those inside. Overhead beside the copy: two locked instructions, about 10 ns.
pub struct SharedRegion<B> {
    gate: AccessGate,
    epoch: u64,
    backing: B,
}

impl<B: Backing> SharedRegion<B> {
    /// Exports `backing` under `epoch`, a number that this process never uses again for a region of that name (a grant
    /// for an earlier export must open nothing; 64 random bits do).
    pub fn new(backing: B, epoch: u64) -> Self {
        Self {
            gate: AccessGate::new(),
            epoch,
            backing,
        }
    }

    /// The memory, for what its kind can do beyond a region's work (grow, flush, share).
    pub fn backing(&self) -> &B {
        &self.backing
    }

    fn enter(&self) -> Result<AccessPass<'_>, AccessError> {
        self.gate.enter().ok_or(AccessError::Revoked)
    }

    /// Calls `operation` with the word at `offset`.
    #[inline]
    fn word<T>(
        &self,
        offset: u64,
        operation: impl FnOnce(&AtomicU64) -> T,
    ) -> Result<T, AccessError> {
        let _pass = self.enter()?;
        check_word(offset, self.backing.length())?;
        // SAFETY: inside the backing's length, aligned because base and offset are, and the backing lives as long as
        // `self`; borrowed memory may end after a revocation, which waits for the pass.
        let word = unsafe { AtomicU64::from_ptr(self.backing.base().add(offset as usize).cast()) };
        Ok(operation(word))
    }
}

impl<B: Backing> Region for SharedRegion<B> {
    fn len(&self) -> u64 {
        self.backing.length()
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn is_revoked(&self) -> bool {
        self.gate.is_closed()
    }

    fn revoke(&self) {
        self.gate.close();
    }

    fn read(&self, offset: u64, target: &mut [u8]) -> Result<(), AccessError> {
        let _pass = self.enter()?;
        check_range(offset, target.len() as u64, self.backing.length())?;
        fence(Ordering::Acquire);
        // SAFETY: inside the backing's length; see `word` for its life.
        unsafe { copy_out(self.backing.base().add(offset as usize), target) };
        fence(Ordering::Acquire);
        Ok(())
    }

    fn write(&self, offset: u64, source: &[u8]) -> Result<(), AccessError> {
        let _pass = self.enter()?;
        check_range(offset, source.len() as u64, self.backing.length())?;
        fence(Ordering::Release);
        // SAFETY: inside the backing's length; see `word` for its life.
        unsafe { copy_in(source, self.backing.base().add(offset as usize)) };
        fence(Ordering::Release);
        Ok(())
    }

    fn fetch_add(&self, offset: u64, operand: u64) -> Result<u64, AccessError> {
        self.word(offset, |word| word.fetch_add(operand, ATOMIC_ORDERING))
    }

    fn compare_swap(&self, offset: u64, expected: u64, desired: u64) -> Result<u64, AccessError> {
        self.word(offset, |word| {
            word.compare_exchange(expected, desired, ATOMIC_ORDERING, ATOMIC_ORDERING)
                .unwrap_or_else(|found| found)
        })
    }

    fn load(&self, offset: u64) -> Result<u64, AccessError> {
        self.word(offset, |word| word.load(ATOMIC_ORDERING))
    }

    #[cfg(target_os = "linux")]
    fn shared_object(&self) -> Option<&std::sync::Arc<crate::host::SharedObject>> {
        self.backing.shared_object()
    }
}

impl<B: Backing> fmt::Debug for SharedRegion<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRegion")
            .field("kind", &B::KIND)
            .field("len", &self.backing.length())
            .field("epoch", &self.epoch)
            .field("revoked", &self.gate.is_closed())
            .finish_non_exhaustive()
    }
}
