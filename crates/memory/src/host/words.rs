//! Copies from and to memory that others change at the same time.
//!
//! Word by word with relaxed atomics, because a plain copy of memory that another process writes is undefined behaviour.
//! An aligned word is never torn; words of one copy may be of different moments.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

/// Copies `target.len()` bytes from `source`.
///
/// Ordering is the caller's: all accesses are relaxed.
///
/// # Safety
/// `source` is valid for reads of `target.len()` bytes for the length of the call, and lies in memory that is accessed by
/// others only atomically, or by other processes. `target` does not overlap it.
#[inline]
pub(super) unsafe fn copy_out(source: *const u8, target: &mut [u8]) {
    let before = source.align_offset(WORD).min(target.len());
    let (head, rest) = target.split_at_mut(before);
    // SAFETY (all blocks): inside `source .. source + target.len()`, which the caller vouches for; words are aligned
    // because `before` bytes lead to the next multiple of 8.
    for (at, byte) in head.iter_mut().enumerate() {
        // SAFETY: as above.
        *byte = unsafe { AtomicU8::from_ptr(source.add(at).cast_mut()) }.load(Ordering::Relaxed);
    }
    // SAFETY: as above.
    let mut at = unsafe { source.add(before) };
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    for word in words {
        // SAFETY: as above.
        let value = unsafe { AtomicU64::from_ptr(at.cast_mut().cast()) }.load(Ordering::Relaxed);
        *word = value.to_ne_bytes();
        // SAFETY: as above; at most one past the end.
        at = unsafe { at.add(WORD) };
    }
    for (index, byte) in tail.iter_mut().enumerate() {
        // SAFETY: as above.
        *byte = unsafe { AtomicU8::from_ptr(at.add(index).cast_mut()) }.load(Ordering::Relaxed);
    }
}

/// Copies `source` to `target`.
///
/// Ordering is the caller's: all accesses are relaxed.
///
/// # Safety
/// As [`copy_out`], with `target` valid for writes.
#[inline]
pub(super) unsafe fn copy_in(target: *mut u8, source: &[u8]) {
    let before = target.align_offset(WORD).min(source.len());
    let (head, rest) = source.split_at(before);
    for (at, byte) in head.iter().enumerate() {
        // SAFETY: inside `target .. target + source.len()`, which the caller vouches for.
        unsafe { AtomicU8::from_ptr(target.add(at)) }.store(*byte, Ordering::Relaxed);
    }
    // SAFETY: as above.
    let mut at = unsafe { target.add(before) };
    let (words, tail) = rest.as_chunks::<WORD>();
    for word in words {
        // SAFETY: as above; aligned because `before` bytes lead to the next multiple of 8.
        unsafe { AtomicU64::from_ptr(at.cast()) }
            .store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        // SAFETY: as above; at most one past the end.
        at = unsafe { at.add(WORD) };
    }
    for (index, byte) in tail.iter().enumerate() {
        // SAFETY: as above.
        unsafe { AtomicU8::from_ptr(at.add(index)) }.store(*byte, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_alignment_and_length_arrives_and_nothing_else_is_touched() {
        let pattern: Vec<u8> = (1..=40).collect();
        for start in 0..16 {
            for length in 0..=40 {
                let mut words = [u64::MAX; 8];
                let base = words.as_mut_ptr().cast::<u8>();
                // SAFETY: 16 + 40 bytes fit the 64, nobody else has them.
                unsafe { copy_in(base.add(start), &pattern[..length]) };
                let mut back = vec![0; length];
                // SAFETY: as above.
                unsafe { copy_out(base.add(start), &mut back) };
                assert_eq!(back, pattern[..length]);
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
                assert!(bytes[..start].iter().all(|byte| *byte == u8::MAX));
                assert!(bytes[start + length..].iter().all(|byte| *byte == u8::MAX));
            }
        }
    }
}
