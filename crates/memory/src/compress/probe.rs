//! A look at a few bytes: is it worth trying?

/// Pieces and bytes of each that are looked at: 4 KiB in all, spread over the block.
const PIECES: usize = 16;
const PIECE_BYTES: usize = 256;
/// More bits a byte than this and nothing useful can be saved (random bytes have 7.95 in a sample of 4 KiB).
const MAX_ENTROPY_BITS: f32 = 7.2;
/// More different bytes than this look like compressed or encrypted data.
const MAX_SYMBOLS: usize = 200;

/// False for what will not shrink: compressed, encrypted, random. About 3 µs, whatever the length.
pub fn looks_compressible(block: &[u8]) -> bool {
    let mut counts = [0u16; 256];
    let mut seen = 0u32;
    let stride = (block.len() / PIECES).max(PIECE_BYTES);
    for piece in block.chunks(stride).take(PIECES) {
        for byte in piece.iter().take(PIECE_BYTES) {
            counts[usize::from(*byte)] += 1;
            seen += 1;
        }
    }
    let symbols = counts.iter().filter(|count| **count > 0).count();
    symbols <= MAX_SYMBOLS && entropy_bits(&counts, seen) <= MAX_ENTROPY_BITS
}

/// Shannon's entropy in bits a byte.
fn entropy_bits(counts: &[u16; 256], total: u32) -> f32 {
    let total = total as f32;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f32::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_worth_it_and_noise_is_not() {
        let text = "GET /users/4711/orders?page=2 HTTP/1.1\r\n".repeat(2000);
        assert!(looks_compressible(text.as_bytes()));
        assert!(looks_compressible(&[0; 10_000]));
        assert!(looks_compressible(&[]));
        let mut state = 1u64;
        let noise: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert!(!looks_compressible(&noise));
        // Noise inside of text is not overlooked when it is most of the block.
        let mut mixed = text.into_bytes();
        mixed.truncate(5_000);
        mixed.extend_from_slice(&noise);
        assert!(!looks_compressible(&mixed));
    }
}
