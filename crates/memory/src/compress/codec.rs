//! The two codecs, each on one block.

use std::fmt;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use super::{MAX_BLOCK_BYTES, MIN_COMPRESSED_BYTES};

/// Smallest saving that is taken, as a share of the block: 1/8. (The threshold of ZFS.) Less is not worth a decompression.
const MIN_SAVING: usize = 8;

/// How a block is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// LZ4 blocks: about 0.3–1.5 GB/s in, 2–5 GB/s out.
    Lz4,
    /// zstd at level 1: about 0.4 GB/s in, 1 GB/s out, and smaller.
    Zstd,
}

impl Codec {
    /// Number on the wire; 0 is "not compressed".
    pub const fn code(self) -> u8 {
        match self {
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    /// The codec of this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Compresses blocks; keeps its tables and its buffer between them (about 0.5 MB once zstd was used).
pub struct Compressor {
    lz4: CompressTable,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    output: Vec<u8>,
}

impl Compressor {
    /// Allocates at the first block.
    pub fn new() -> Self {
        Self {
            lz4: CompressTable::large(),
            zstd: None,
            output: Vec::new(),
        }
    }

    /// The compressed form of `block`, or `None` when it saves less than an eighth, or the block is shorter than
    /// [`MIN_COMPRESSED_BYTES`] or longer than [`MAX_BLOCK_BYTES`].
    /// Then it is sent as it is.
    pub fn compress(&mut self, codec: Codec, block: &[u8]) -> Option<&[u8]> {
        if !(MIN_COMPRESSED_BYTES..=MAX_BLOCK_BYTES).contains(&block.len()) {
            return None;
        }
        let limit = block.len() - block.len() / MIN_SAVING;
        let length = match codec {
            Codec::Lz4 => {
                // The encoder wants room for the worst case.
                self.output
                    .resize(get_maximum_output_size(MAX_BLOCK_BYTES), 0);
                compress_into_with_table(block, &mut self.output, &mut self.lz4).ok()?
            }
            Codec::Zstd => {
                self.output
                    .resize(get_maximum_output_size(MAX_BLOCK_BYTES), 0);
                if self.zstd.is_none() {
                    self.zstd = zstd::bulk::Compressor::new(1).ok();
                }
                // Stops by itself when the limit does not suffice.
                self.zstd
                    .as_mut()?
                    .compress_to_buffer(block, &mut self.output[..limit])
                    .ok()?
            }
        };
        (length <= limit).then(|| &self.output[..length])
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// The bytes are not the compressed form of a block of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecompressError;

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the block does not decompress to its length")
    }
}

impl std::error::Error for DecompressError {}

/// Decompresses blocks; keeps its tables between them (about 100 KB once zstd was used).
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Decompressor {
    /// Allocates at the first zstd block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decompresses `input` into exactly `target`, whose length was agreed before. Never writes beyond it, never
    /// allocates in proportion to what the input claims.
    ///
    /// # Errors
    /// [`DecompressError`] when the input is damaged or gives another length; `target` then holds anything.
    pub fn decompress(
        &mut self,
        codec: Codec,
        input: &[u8],
        target: &mut [u8],
    ) -> Result<(), DecompressError> {
        let length = match codec {
            Codec::Lz4 => decompress_into(input, target).map_err(|_| DecompressError)?,
            Codec::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = zstd::bulk::Decompressor::new().ok();
                }
                let context = self.zstd.as_mut().ok_or(DecompressError)?;
                context
                    .decompress_to_buffer(input, target)
                    .map_err(|_| DecompressError)?
            }
        };
        if length == target.len() {
            Ok(())
        } else {
            Err(DecompressError)
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codecs() -> impl Strategy<Value = Codec> {
        prop_oneof![Just(Codec::Lz4), Just(Codec::Zstd)]
    }

    /// Blocks with repetition in them, as data has.
    fn block() -> impl Strategy<Value = Vec<u8>> {
        (
            prop::collection::vec(any::<u8>(), 1..300),
            1usize..200,
            any::<bool>(),
        )
            .prop_map(|(piece, times, noisy)| {
                let mut block = piece.repeat(times);
                if noisy {
                    block
                        .iter_mut()
                        .step_by(7)
                        .enumerate()
                        .for_each(|(at, byte)| *byte = byte.wrapping_add(at as u8));
                }
                block
            })
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(codec in codecs(), blocks in prop::collection::vec(block(), 1..4)) {
            let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
            for block in blocks {
                let Some(wire) = compressor.compress(codec, &block) else { continue };
                prop_assert!(wire.len() <= block.len() - block.len() / MIN_SAVING);
                let mut back = vec![0; block.len()];
                decompressor.decompress(codec, wire, &mut back).unwrap();
                prop_assert_eq!(back, block.clone());
                // Another length than agreed is refused, shorter or longer.
                let mut short = vec![0; block.len() - 1];
                prop_assert_eq!(decompressor.decompress(codec, wire, &mut short), Err(DecompressError));
                let mut long = vec![0; block.len() + 1];
                prop_assert_eq!(decompressor.decompress(codec, wire, &mut long), Err(DecompressError));
            }
        }

        #[test]
        fn damaged_input_never_panics(codec in codecs(), input in prop::collection::vec(any::<u8>(), 0..2000), length in 0usize..5000) {
            let mut target = vec![0; length];
            let _ = Decompressor::new().decompress(codec, &input, &mut target);
        }
    }

    #[test]
    fn a_bomb_fills_no_more_than_the_agreed_length() {
        let zeros = vec![0; 1 << 28];
        let bomb = zstd::bulk::compress(&zeros, 1).unwrap();
        drop(zeros);
        assert!(bomb.len() < 1 << 20, "256 MiB in {} bytes", bomb.len());
        let mut decompressor = Decompressor::new();
        let mut target = vec![0; MAX_BLOCK_BYTES];
        assert_eq!(
            decompressor.decompress(Codec::Zstd, &bomb, &mut target),
            Err(DecompressError)
        );
        let mut lz4_bomb = vec![0x1f, 0, 1, 0];
        lz4_bomb.resize(1 << 20, 0xff);
        assert_eq!(
            decompressor.decompress(Codec::Lz4, &lz4_bomb, &mut target),
            Err(DecompressError)
        );
    }

    #[test]
    fn what_does_not_shrink_is_left_as_it_is() {
        let mut state = 7u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(MAX_BLOCK_BYTES)
        .collect();
        let mut compressor = Compressor::new();
        for codec in [Codec::Lz4, Codec::Zstd] {
            assert!(compressor.compress(codec, &noise).is_none());
            assert!(
                compressor
                    .compress(codec, &[0; MIN_COMPRESSED_BYTES - 1])
                    .is_none()
            );
            assert!(
                compressor
                    .compress(codec, &vec![0; MAX_BLOCK_BYTES + 1])
                    .is_none()
            );
            assert!(
                compressor
                    .compress(codec, &vec![0; MAX_BLOCK_BYTES])
                    .is_some_and(|wire| wire.len() < 2000)
            );
        }
    }
}
