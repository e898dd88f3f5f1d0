//! How large what may be, and how a longer transfer is cut.

use std::ops::Range;

/// Bytes of one transfer; a longer one is split.
pub const MAX_TRANSFER_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes that are copied out of a region at once: fits the processor's second cache, so that the copy is cheap beside the
/// encryption that follows.
pub const BLOCK_BYTES: usize = 128 * 1024;
/// Transfers of one session that are not done or not yet known to be done.
pub const MAX_TRANSFERS: usize = 64;
/// Streams of one transfer at a time, and so the gaps of a resumed one that are filled at once.
pub const MAX_PIECES: usize = 8;
/// How often what arrived damaged is asked for again.
pub const MAX_REPAIRS: u32 = 3;
/// Bytes that came before the head of their stream and are kept; more is dropped and asked for again.
pub(super) const MAX_EARLY_BYTES: usize = 4 * 1024 * 1024;

/// Whether a transfer can have this many bytes.
pub const fn is_length(length: u32) -> bool {
    length > 0 && length as u64 <= MAX_TRANSFER_BYTES
}

/// The transfers that `length` bytes are sent in, in order.
///
/// Each is complete on its own; a failure in the middle leaves those before it done, and the caller says so.
pub fn split(length: u64) -> impl Iterator<Item = Range<u64>> {
    let step = MAX_TRANSFER_BYTES as usize;
    (0..length)
        .step_by(step)
        .map(move |start| start..length.min(start + MAX_TRANSFER_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_whole_and_none_is_too_long() {
        for length in [
            0,
            1,
            MAX_TRANSFER_BYTES,
            MAX_TRANSFER_BYTES + 1,
            5 * MAX_TRANSFER_BYTES - 7,
        ] {
            let parts: Vec<_> = split(length).collect();
            assert!(
                parts
                    .iter()
                    .all(|part| !part.is_empty() && part.end - part.start <= MAX_TRANSFER_BYTES)
            );
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(
                parts.iter().map(|part| part.end - part.start).sum::<u64>(),
                length
            );
        }
    }
}
