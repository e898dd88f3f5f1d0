//! One page per link and direction on which an exporter says which of its grants still hold.
//!
//! The exporter writes, the importer maps the page read-only (the kernel enforces it) and looks at one word before each
//! access. So revoking is one store, and an access pays one load.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::mapping::{Mapping, MemoryFile, Seals};

/// Grants that one side of a link can have offered at a time.
pub(super) const SLOTS: usize = 1024;

/// State bits of a word; above them, the slot's generation.
const STATE_BITS: u32 = 8;
const LIVE: u64 = 0;
const REVOKED: u64 = 1;

/// The exporter's side.
#[derive(Debug)]
pub(super) struct ControlPage {
    file: MemoryFile,
    mapping: Mapping,
    /// Slots that hold no grant. Only offers and revocations come here.
    free: Mutex<Vec<u16>>,
}

impl ControlPage {
    pub(super) fn create() -> io::Result<Self> {
        let file = MemoryFile::create(c"linkmesh-grants", SLOTS * size_of::<u64>())?;
        let mapping = file.map(true)?;
        file.seal(Seals::SIZE_AND_FUTURE_WRITES)?;
        let free = Mutex::new((0..SLOTS as u16).rev().collect());
        let page = Self {
            file,
            mapping,
            free,
        };
        // 0 is no grant's word: a slot begins as revoked.
        (0..SLOTS as u16).for_each(|slot| page.word(slot).store(REVOKED, Ordering::Relaxed));
        Ok(page)
    }

    /// A slot and the word that says in it that the grant holds; `None` when all are taken.
    pub(super) fn open(&self) -> Option<(u16, u64)> {
        let slot = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()?;
        let generation = self.word(slot).load(Ordering::Relaxed) >> STATE_BITS;
        // 56 bits of generation: not used up by a revocation each nanosecond for two years.
        let word = (generation + 1) << STATE_BITS | LIVE;
        self.word(slot).store(word, Ordering::SeqCst);
        Some((slot, word))
    }

    /// Ends the grant of this slot and word. Once.
    pub(super) fn close(&self, slot: u16, word: u64) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // SeqCst: the revocation takes its place among the exporter's atomics on the memory itself.
        let closed = self.word(slot).compare_exchange(
            word,
            word | REVOKED,
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        if closed.is_ok() {
            free.push(slot);
        }
    }

    /// Ends all grants, for good: no slot is free afterwards.
    pub(super) fn close_all(&self) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.clear();
        for slot in 0..SLOTS as u16 {
            self.word(slot).fetch_or(REVOKED, Ordering::SeqCst);
        }
    }

    fn word(&self, slot: u16) -> &AtomicU64 {
        word(&self.mapping, slot).expect("slots are below SLOTS")
    }
}

impl AsFd for ControlPage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The importer's side.
#[derive(Debug)]
pub(super) struct ControlView {
    mapping: Mapping,
}

impl ControlView {
    pub(super) fn received(descriptor: OwnedFd) -> io::Result<Self> {
        let file = MemoryFile::received(descriptor, SLOTS * size_of::<u64>())?;
        Ok(Self {
            mapping: file.map(false)?,
        })
    }

    /// True for a slot that exists.
    pub(super) fn has(&self, slot: u16) -> bool {
        word(&self.mapping, slot).is_some()
    }

    /// True while the slot says `word`.
    #[inline]
    pub(super) fn holds(&self, slot: u16, expected: u64) -> bool {
        // Acquire: what the exporter did to the memory before it revoked is seen by whoever sees the revocation.
        word(&self.mapping, slot).is_some_and(|word| word.load(Ordering::Acquire) == expected)
    }
}

#[inline]
fn word(mapping: &Mapping, slot: u16) -> Option<&AtomicU64> {
    let slot = usize::from(slot);
    if slot >= SLOTS {
        return None;
    }
    // SAFETY: inside the mapping, which has at least SLOTS words (checked when it was made), is page-aligned and lives as
    // long as the reference; all processes access it by atomics, the importer by loads only.
    Some(unsafe { AtomicU64::from_ptr(mapping.as_ptr().add(slot * size_of::<u64>()).cast()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_serves_many_grants_and_each_ends_alone() {
        let page = ControlPage::create().unwrap();
        let view = ControlView::received(page.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let (slot, word) = page.open().unwrap();
        let (other, other_word) = page.open().unwrap();
        assert!(view.holds(slot, word) && view.holds(other, other_word));
        page.close(slot, word);
        page.close(slot, word);
        assert!(!view.holds(slot, word) && view.holds(other, other_word));
        let (again, next) = page.open().unwrap();
        assert_eq!(again, slot);
        assert!(view.holds(slot, next) && !view.holds(slot, word));
        page.close(slot, word);
        assert!(view.holds(slot, next), "an old grant cannot end a new one");
        assert!(!view.has(SLOTS as u16));
        let taken = (0..=SLOTS).take_while(|_| page.open().is_some()).count();
        assert_eq!(taken, SLOTS - 2);
        page.close_all();
        page.close(slot, next);
        assert!(!view.holds(slot, next) && page.open().is_none());
    }
}
