//! The digest of a record: BLAKE3 of its header and payload, with the fields that are only known when it is chained
//! (checksum and previous hash) as zeros, and zeros up to a whole block.
//!
//! It depends on no other record. So the digests of many records of one length are made at once, one in each lane of
//! the vector unit, where a single record of less than a kilobyte would use one lane: on a processor with 16 lanes a
//! record of 512 bytes takes a sixth of the time.
//!
//! # Source
//! BLAKE3 paper, section 2.4 and 5.3: a message of at most 1,024 bytes is one chunk, its blocks are compressed one after
//! the other, the first marked as the start, the last as the end and the root. `blake3` offers that for many messages by
//! [`Platform::hash_many`] only, which it does not promise to keep: the version is pinned, and a test here compares
//! every length with [`blake3::hash`].

use blake3::IncrementCounter;
use blake3::platform::{MAX_SIMD_DEGREE, Platform};

use super::record::{Hash, RECORD_HEADER, padded};

/// What BLAKE3 compresses as one, bytes.
pub(crate) const BLOCK: usize = 64;
/// Longest message of one chunk, in blocks.
const CHUNK_BLOCKS: usize = 16;

const IV: [u32; 8] = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;

/// Digest of a record, sealed or not: header and payload, without the padding.
pub(crate) fn digest_of(record: &[u8]) -> Hash {
    let mut header = [0; RECORD_HEADER];
    header[..4].copy_from_slice(&record[..4]);
    header[8..32].copy_from_slice(&record[8..32]);
    let padding = padded(record.len() - RECORD_HEADER) - record.len();
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&header)
        .update(&record[RECORD_HEADER..])
        .update(&[0; BLOCK][..padding]);
    *hasher.finalize().as_bytes()
}

/// Makes digests of many records at once.
#[derive(Debug)]
pub(crate) struct Digester {
    platform: Platform,
    /// Indices of the records of each number of blocks.
    classes: [Vec<u32>; CHUNK_BLOCKS],
    pub(crate) digests: Vec<Hash>,
}

impl Default for Digester {
    fn default() -> Self {
        Self {
            platform: Platform::detect(),
            classes: Default::default(),
            digests: Vec::new(),
        }
    }
}

impl Digester {
    /// Digests of the records in `bytes` that are still to be sealed, given as where each starts and the length of its
    /// payload; in that order, in `digests`.
    pub(crate) fn digest(&mut self, bytes: &[u8], records: &[(usize, usize)]) {
        self.digests.clear();
        self.digests.resize(records.len(), [0; 32]);
        for (index, (start, length)) in records.iter().enumerate() {
            let blocks = padded(*length) / BLOCK;
            if let Some(class) = self.classes.get_mut(blocks - 1) {
                class.push(index as u32);
            } else {
                // Several chunks: it fills the lanes alone.
                let whole = &bytes[*start..start + padded(*length)];
                self.digests[index] = *blake3::hash(whole).as_bytes();
            }
        }
        macro_rules! lanes {
            ($($blocks:literal)*) => {
                $(self.lanes::<{ $blocks * BLOCK }>(bytes, records);)*
            };
        }
        lanes!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    }

    /// Those of `N` bytes.
    fn lanes<const N: usize>(&mut self, bytes: &[u8], records: &[(usize, usize)]) {
        let class = &mut self.classes[N / BLOCK - 1];
        for indices in class.chunks(MAX_SIMD_DEGREE) {
            let mut inputs = [&[0; N]; MAX_SIMD_DEGREE];
            for (input, index) in inputs.iter_mut().zip(indices) {
                if let Some(whole) = bytes[records[*index as usize].0..].first_chunk() {
                    *input = whole;
                }
            }
            let mut out = [0; MAX_SIMD_DEGREE * 32];
            self.platform.hash_many(
                &inputs[..indices.len()],
                &IV,
                0,
                IncrementCounter::No,
                0,
                CHUNK_START,
                CHUNK_END | ROOT,
                &mut out,
            );
            for (digest, index) in out.as_chunks().0.iter().zip(indices) {
                self.digests[*index as usize] = *digest;
            }
        }
        class.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{CHAIN_START, Encoder, Kind};
    use super::*;

    #[test]
    fn many_at_once_are_what_each_is_alone() {
        let mut encoder = Encoder {
            seed: 1,
            sequence: 1,
            previous: CHAIN_START,
        };
        let mut bytes = vec![7; 5];
        let mut records = Vec::new();
        // Every length of one chunk, some of several, more of some lengths than there are lanes, in no order.
        let lengths = (0..1_100).chain([4_000, 70_000]).chain([448; 37]);
        for length in lengths.map(|length| (length * 7_919) % 1_101 + length / 2_000 * length) {
            let payload: Vec<u8> = (0..length).map(|at| (at * 31 + length) as u8).collect();
            records.push((bytes.len(), length));
            encoder.push(&mut bytes, 1, Kind(9), 3, &payload);
        }
        let mut digester = Digester::default();
        for _ in 0..2 {
            digester.digest(&bytes, &records);
            for ((start, length), digest) in records.iter().zip(&digester.digests) {
                let whole = &bytes[*start..start + padded(*length)];
                assert_eq!(*digest, *blake3::hash(whole).as_bytes(), "{length} bytes");
                assert_eq!(
                    *digest,
                    digest_of(&bytes[*start..start + RECORD_HEADER + length])
                );
            }
        }
    }
}
