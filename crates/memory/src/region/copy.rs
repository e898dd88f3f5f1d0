//! Copies between private and shared memory.
//!
//! Shared memory is changed by others while a copy runs (JavaScript, other threads, other processes), so `memcpy` on it
//! would be a data race. Here each aligned 8-byte word moves by one relaxed atomic access and the odd bytes at both ends
//! by byte atomics. Accesses of different sizes to one word are outside of Rust's memory model but inside that of every
//! machine this is built for: coherence is per byte, and an aligned word moves whole.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

/// Lengths of the bytes before the first aligned word, of the words, and of the bytes after the last.
#[inline]
fn parts(address: usize, length: usize) -> (usize, usize, usize) {
    let head = (address.wrapping_neg() % WORD).min(length);
    let tail = (length - head) % WORD;
    (head, length - head - tail, tail)
}

/// Copies `target.len()` bytes from shared memory at `source`.
///
/// # Safety
/// `source` is valid for reads of `target.len()` bytes for the whole call. Others may change the memory meanwhile,
/// by atomics or from outside of Rust.
#[inline]
pub(crate) unsafe fn copy_out(source: *mut u8, target: &mut [u8]) {
    let (head, middle, _) = parts(source.addr(), target.len());
    let (first, rest) = target.split_at_mut(head);
    let (words, last) = rest.split_at_mut(middle);
    // SAFETY: the caller's promise; the three parts are disjoint and together `target.len()` bytes long.
    unsafe {
        bytes_out(source, first);
        words_out(source.add(head).cast(), words);
        bytes_out(source.add(head + middle), last);
    }
}

/// Copies `source` to shared memory at `target`.
///
/// # Safety
/// `target` is valid for writes of `source.len()` bytes for the whole call. Others may use the memory meanwhile, by
/// atomics or from outside of Rust.
#[inline]
pub(crate) unsafe fn copy_in(source: &[u8], target: *mut u8) {
    let (head, middle, _) = parts(target.addr(), source.len());
    let (first, rest) = source.split_at(head);
    let (words, last) = rest.split_at(middle);
    // SAFETY: the caller's promise; the three parts are disjoint and together `source.len()` bytes long.
    unsafe {
        bytes_in(first, target);
        words_in(words, target.add(head).cast());
        bytes_in(last, target.add(head + middle));
    }
}

/// # Safety
/// As [`copy_out`].
#[inline]
unsafe fn bytes_out(source: *mut u8, target: &mut [u8]) {
    for (index, byte) in target.iter_mut().enumerate() {
        // SAFETY: inside the range that the caller vouches for; a byte has no alignment.
        *byte = unsafe { AtomicU8::from_ptr(source.add(index)) }.load(Ordering::Relaxed);
    }
}

/// # Safety
/// As [`copy_in`].
#[inline]
unsafe fn bytes_in(source: &[u8], target: *mut u8) {
    for (index, byte) in source.iter().enumerate() {
        // SAFETY: inside the range that the caller vouches for; a byte has no alignment.
        unsafe { AtomicU8::from_ptr(target.add(index)) }.store(*byte, Ordering::Relaxed);
    }
}

/// # Safety
/// As [`copy_out`], `source` is aligned to 8 and `target.len()` is a multiple of 8.
#[inline]
unsafe fn words_out(source: *mut u64, target: &mut [u8]) {
    for (index, bytes) in target.chunks_exact_mut(WORD).enumerate() {
        // SAFETY: aligned and inside the range that the caller vouches for.
        let word = unsafe { AtomicU64::from_ptr(source.add(index)) }.load(Ordering::Relaxed);
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
}

/// # Safety
/// As [`copy_in`], `target` is aligned to 8 and `source.len()` is a multiple of 8.
#[inline]
unsafe fn words_in(source: &[u8], target: *mut u64) {
    for (index, bytes) in source.chunks_exact(WORD).enumerate() {
        let mut word = [0; WORD];
        word.copy_from_slice(bytes);
        // SAFETY: aligned and inside the range that the caller vouches for.
        unsafe { AtomicU64::from_ptr(target.add(index)) }
            .store(u64::from_ne_bytes(word), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every alignment of both ends, against the slice's own copy; the bytes around stay as they were.
    #[test]
    fn each_alignment_and_length_copies_exactly() {
        let private: Vec<u8> = (1..=64).collect();
        for start in 0..9 {
            for length in 0..40 {
                let mut shared = vec![0u64; 8];
                let base = shared.as_mut_ptr().cast::<u8>();
                let mut back = vec![0; length];
                // SAFETY: `start + length` is below the 64 bytes of `shared`, which nobody else uses.
                unsafe {
                    copy_in(&private[..length], base.add(start));
                    copy_out(base.add(start), &mut back);
                }
                assert_eq!(back, private[..length]);
                let bytes: Vec<u8> = shared.iter().flat_map(|word| word.to_ne_bytes()).collect();
                let mut expected = [0; 64];
                expected[start..start + length].copy_from_slice(&private[..length]);
                assert_eq!(bytes, expected, "start {start}, length {length}");
            }
        }
    }
}
