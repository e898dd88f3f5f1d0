//! Finding a byte among few, and the end of a segment: SIMD where there is some.

/// Keys of a node are padded to so many bytes: one word up to four keys, then 16 at a time.
pub(super) const fn padded(count: usize) -> usize {
    if count == 0 {
        0
    } else if count <= 4 {
        4
    } else {
        count.next_multiple_of(16)
    }
}

/// Index of `byte` among the first `count` bytes of `keys`, which holds [`padded`]`(count)` bytes.
#[inline(always)]
pub(super) fn find_key(keys: &[u8], count: usize, byte: u8) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if count > 4 {
        if count > 16 && has_avx2() {
            // SAFETY: the processor has AVX2, just asked.
            return unsafe { find_avx2(keys, count, byte) };
        }
        return find_sse2(keys, count, byte);
    }
    find_scalar(&keys[..count], byte)
}

/// The same, byte by byte: for few keys, for other processors, and to test the others against.
#[inline(always)]
pub(super) fn find_scalar(keys: &[u8], byte: u8) -> Option<usize> {
    keys.iter().position(|key| *key == byte)
}

/// Offset of the first slash at or after `from`, or the length.
#[inline(always)]
pub(super) fn segment_end(path: &[u8], from: usize) -> usize {
    let mut at = from;
    #[cfg(target_arch = "x86_64")]
    while let Some(chunk) = path.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let hits = equal_mask(chunk, b'/');
        if hits != 0 {
            return at + hits.trailing_zeros() as usize;
        }
        at += 16;
    }
    while at < path.len() && path[at] != b'/' {
        at += 1;
    }
    at
}

/// A bit for each byte that equals `byte`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn equal_mask(chunk: &[u8; 16], byte: u8) -> u32 {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: SSE2 is part of x86-64; 16 bytes are read from a chunk of 16.
    unsafe {
        let bytes = _mm_loadu_si128(chunk.as_ptr().cast());
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u32
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn find_sse2(keys: &[u8], count: usize, byte: u8) -> Option<usize> {
    for (index, chunk) in keys.as_chunks::<16>().0.iter().enumerate() {
        let hits = equal_mask(chunk, byte);
        if hits != 0 {
            let found = index * 16 + hits.trailing_zeros() as usize;
            // A hit in the padding is none, and the padding comes last.
            return (found < count).then_some(found);
        }
    }
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn find_avx2(keys: &[u8], count: usize, byte: u8) -> Option<usize> {
    use core::arch::x86_64::{
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
    };
    let (chunks, rest) = keys.as_chunks::<32>();
    for (index, chunk) in chunks.iter().enumerate() {
        // SAFETY: 32 bytes are read from a chunk of 32.
        let bytes = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) };
        let hits =
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8))) as u32;
        if hits != 0 {
            let found = index * 32 + hits.trailing_zeros() as usize;
            return (found < count).then_some(found);
        }
    }
    let before = keys.len() - rest.len();
    find_sse2(rest, count - before.min(count), byte).map(|found| before + found)
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn has_avx2() -> bool {
    #[cfg(feature = "std")]
    {
        std::arch::is_x86_feature_detected!("avx2")
    }
    #[cfg(not(feature = "std"))]
    {
        cfg!(target_feature = "avx2")
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_finds_what_the_scalar_one_finds(keys in prop::collection::hash_set(any::<u8>(), 0..=256), byte: u8) {
            let mut keys: Vec<u8> = keys.into_iter().collect();
            let count = keys.len();
            let expected = find_scalar(&keys, byte);
            // Padding full of false hits.
            keys.resize(padded(count), byte);
            prop_assert_eq!(find_key(&keys, count, byte), expected);
            #[cfg(target_arch = "x86_64")]
            if count > 4 {
                prop_assert_eq!(find_sse2(&keys, count, byte), expected);
                if has_avx2() {
                    // SAFETY: the processor has AVX2, just asked.
                    prop_assert_eq!(unsafe { find_avx2(&keys, count, byte) }, expected);
                }
            }
        }

        #[test]
        fn a_segment_ends_at_its_slash(path in "[a/]{0,70}", from in 0_usize..80) {
            let expected = path.bytes().enumerate().skip(from).find(|(_, byte)| *byte == b'/').map(|(at, _)| at);
            let expected = expected.unwrap_or(path.len().max(from));
            prop_assert_eq!(segment_end(path.as_bytes(), from), expected);
        }
    }
}
