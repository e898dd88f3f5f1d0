//! A region of plain words: safe Rust, the oracle of the other kinds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use super::{ATOMIC_ORDERING, AccessError, Region, check_range, check_word};

/// A region on the heap, written without `unsafe`: what the other kinds are compared with in tests, and enough for
/// small tables. Odd bytes are merged into their word by compare-and-swap, so a neighbour's byte is never lost.
pub struct HeapRegion {
    words: Box<[AtomicU64]>,
    len: u64,
    epoch: u64,
    revoked: AtomicBool,
}

impl HeapRegion {
    /// `len` zero bytes, exported under `epoch`.
    pub fn new(len: usize, epoch: u64) -> Self {
        let words = (0..len.div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
        Self {
            words,
            len: len as u64,
            epoch,
            revoked: AtomicBool::new(false),
        }
    }

    fn check(&self) -> Result<(), AccessError> {
        // An access takes no references into memory that could go, so the flag alone is the whole protocol.
        if self.revoked.load(Ordering::SeqCst) {
            Err(AccessError::Revoked)
        } else {
            Ok(())
        }
    }

    fn word(&self, offset: u64) -> Result<&AtomicU64, AccessError> {
        self.check()?;
        check_word(offset, self.len)?;
        Ok(&self.words[offset as usize / 8])
    }

    /// Calls `each(word, byte in word, byte in copy, count)` for the words that a copy touches.
    fn pieces(
        &self,
        offset: u64,
        length: usize,
        mut each: impl FnMut(&AtomicU64, usize, usize, usize),
    ) {
        let mut done = 0;
        while done < length {
            let at = offset as usize + done;
            let count = (8 - at % 8).min(length - done);
            each(&self.words[at / 8], at % 8, done, count);
            done += count;
        }
    }
}

impl Region for HeapRegion {
    fn len(&self) -> u64 {
        self.len
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    fn read(&self, offset: u64, target: &mut [u8]) -> Result<(), AccessError> {
        self.check()?;
        check_range(offset, target.len() as u64, self.len)?;
        fence(Ordering::Acquire);
        self.pieces(offset, target.len(), |word, byte, done, count| {
            let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            target[done..done + count].copy_from_slice(&bytes[byte..byte + count]);
        });
        fence(Ordering::Acquire);
        Ok(())
    }

    fn write(&self, offset: u64, source: &[u8]) -> Result<(), AccessError> {
        self.check()?;
        check_range(offset, source.len() as u64, self.len)?;
        fence(Ordering::Release);
        self.pieces(offset, source.len(), |word, byte, done, count| {
            let piece = &source[done..done + count];
            if count == 8 {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(piece);
                word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
                return;
            }
            let merge = |old: u64| {
                let mut bytes = old.to_ne_bytes();
                bytes[byte..byte + count].copy_from_slice(piece);
                Some(u64::from_ne_bytes(bytes))
            };
            // Always merges, so it cannot fail.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, merge);
        });
        fence(Ordering::Release);
        Ok(())
    }

    fn fetch_add(&self, offset: u64, operand: u64) -> Result<u64, AccessError> {
        Ok(self.word(offset)?.fetch_add(operand, ATOMIC_ORDERING))
    }

    fn compare_swap(&self, offset: u64, expected: u64, desired: u64) -> Result<u64, AccessError> {
        let result = self.word(offset)?.compare_exchange(
            expected,
            desired,
            ATOMIC_ORDERING,
            ATOMIC_ORDERING,
        );
        Ok(result.unwrap_or_else(|found| found))
    }

    fn load(&self, offset: u64) -> Result<u64, AccessError> {
        Ok(self.word(offset)?.load(ATOMIC_ORDERING))
    }
}

impl std::fmt::Debug for HeapRegion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeapRegion")
            .field("len", &self.len)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_what_was_written(writes in prop::collection::vec((0u64..80, prop::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let region = HeapRegion::new(77, 1);
            let mut naive = vec![0; 77];
            for (offset, bytes) in &writes {
                let end = *offset as usize + bytes.len();
                let result = region.write(*offset, bytes);
                if end <= naive.len() {
                    prop_assert_eq!(result, Ok(()));
                    naive[*offset as usize..end].copy_from_slice(bytes);
                } else {
                    let wanted = AccessError::OutOfRange { offset: *offset, length: bytes.len() as u64, available: 77 };
                    prop_assert_eq!(result, Err(wanted));
                }
                let mut all = vec![0; 77];
                region.read(0, &mut all).unwrap();
                prop_assert_eq!(&all, &naive);
            }
        }
    }

    #[test]
    fn atomics_need_a_whole_aligned_word() {
        let region = HeapRegion::new(20, 1);
        assert_eq!(region.fetch_add(8, 3), Ok(0));
        assert_eq!(region.compare_swap(8, 3, 9), Ok(3));
        assert_eq!(region.compare_swap(8, 3, 1), Ok(9));
        assert_eq!(region.load(8), Ok(9));
        assert_eq!(
            region.fetch_add(4, 1),
            Err(AccessError::Misaligned { offset: 4 })
        );
        assert_eq!(
            region.fetch_add(16, 1),
            Err(AccessError::OutOfRange {
                offset: 16,
                length: 8,
                available: 20
            })
        );
        assert_eq!(
            region.load(u64::MAX - 7),
            Err(AccessError::OutOfRange {
                offset: u64::MAX - 7,
                length: 8,
                available: 20
            })
        );
        region.revoke();
        assert_eq!(region.load(8), Err(AccessError::Revoked));
        assert_eq!(region.read(0, &mut []), Err(AccessError::Revoked));
    }
}
