//! A segment: a preallocated file of one header and groups of records; what follows the last group is zeros.
//!
//! Each group begins at a multiple of the block, so that no block with acknowledged records is ever written again.
//! Within a group records lie back to back.
//!
//! ```text
//! 0   6  magic "LMJRNL"
//! 6   2  format, two digits: "02"
//! 8   8  number of the segment, as in the file name
//! 16  8  sequence of the first record
//! 24  8  time of creation, microseconds since 1970
//! 32 32  hash that the first record chains to
//! 64 16  id of the journal, random, the same in all of its segments
//! 80  4  block, bytes: what the device writes as one
//! 84 40  zeros
//! 124 4  CRC-32C of the 124 bytes before
//! ```

use super::record::Hash;

/// Bytes before the first record.
pub const SEGMENT_HEADER: usize = 128;
const MAGIC: &[u8; 6] = b"LMJRNL";
/// 01 chained each record by one hash over all of it, and padded it to 8 bytes.
const FORMAT: &[u8; 2] = b"02";
const SUFFIX: &str = ".journal";

/// What the first bytes of a segment say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    pub(crate) first_sequence: u64,
    pub(crate) created_us: u64,
    pub(crate) previous: Hash,
    pub(crate) journal: [u8; 16],
    pub(crate) block: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..6].copy_from_slice(MAGIC);
        bytes[6..8].copy_from_slice(FORMAT);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.created_us.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.previous);
        bytes[64..80].copy_from_slice(&self.journal);
        bytes[80..84].copy_from_slice(&self.block.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..124]);
        bytes[124..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are not a header of segment `number`.
    pub(crate) fn decode(bytes: &[u8], number: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<SEGMENT_HEADER>()?;
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or([0; 8]));
        if !is_header(bytes) || bytes[6..8] != *FORMAT || long(8) != number {
            return None;
        }
        let block = u32::from_le_bytes(bytes[80..84].try_into().ok()?);
        if !block.is_power_of_two() || !(8..=4_096).contains(&block) {
            return None;
        }
        Some(Self {
            number,
            first_sequence: long(16),
            created_us: long(24),
            previous: bytes[32..64].try_into().ok()?,
            journal: bytes[64..80].try_into().ok()?,
            block,
        })
    }

    /// Where the next group goes when the last record ends at `offset`; for 0, where the first one goes.
    pub(crate) fn group_start(&self, offset: u64) -> u64 {
        offset
            .max(SEGMENT_HEADER as u64)
            .next_multiple_of(u64::from(self.block))
    }

    /// Starts the CRC of every record here, so that bytes of another journal or segment, or a copy of them inside a
    /// message, never pass for a record.
    pub(crate) fn crc_seed(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.journal), &self.number.to_le_bytes())
    }
}

fn is_header(bytes: &[u8; SEGMENT_HEADER]) -> bool {
    bytes[..6] == *MAGIC && bytes[124..] == crc32c::crc32c(&bytes[..124]).to_le_bytes()
}

/// The format that an undamaged header names when it is not the one of this version: not to be read, and no damage that
/// a repair may clear away.
pub(crate) fn other_format(bytes: &[u8]) -> Option<&str> {
    let bytes = bytes.first_chunk::<SEGMENT_HEADER>()?;
    let format = std::str::from_utf8(&bytes[6..8]).ok()?;
    (is_header(bytes) && format.as_bytes() != FORMAT).then_some(format)
}

/// `00000000000000000001.journal`
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:020}{SUFFIX}")
}

/// The number in a file name of [`file_name`], else `None`.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_every_changed_bit_is_seen() {
        let header = SegmentHeader {
            number: 7,
            first_sequence: 1_000,
            created_us: 5,
            previous: [9; 32],
            journal: [3; 16],
            block: 512,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes, 7), Some(header));
        assert_eq!(
            SegmentHeader::decode(&bytes, 8),
            None,
            "a file under a wrong name"
        );
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&changed, 7), None, "bit {bit}");
        }
    }

    #[test]
    fn only_names_of_segments_are_read_as_such() {
        assert_eq!(number_of(&file_name(42)), Some(42));
        for name in [
            "1.journal",
            "0000000000000000000x.journal",
            "anchor",
            "00000000000000000042.journal.bak",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
