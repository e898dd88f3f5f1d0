//! Any bytes decompress to exactly the agreed length or are refused; what was compressed comes back.
//!
//! `npm run fuzz -- decompress --minutes 10`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_memory::compress::{Codec, Compressor, Decompressor};

fuzz_target!(|input: (bool, u32, &[u8])| {
    let (lz4, length, bytes) = input;
    let codec = if lz4 { Codec::Lz4 } else { Codec::Zstd };
    let mut decompressor = Decompressor::new();
    let mut target = vec![0; length as usize % (256 * 1024)];
    let _ = decompressor.decompress(codec, bytes, &mut target);
    let block = bytes.repeat(9);
    let mut compressor = Compressor::new();
    if let Some(wire) = compressor.compress(codec, &block) {
        let mut back = vec![0; block.len()];
        assert_eq!(decompressor.decompress(codec, wire, &mut back), Ok(()));
        assert_eq!(back, block);
    }
});
