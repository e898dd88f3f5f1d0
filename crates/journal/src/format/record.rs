//! A record: a header of 64 bytes, the payload, zeros up to a multiple of 64.
//!
//! ```text
//! 0   4  length of the payload
//! 4   4  CRC-32C of header (this field as zeros) and payload, seeded by the segment
//! 8   8  sequence
//! 16  4  sequence minus the sequence of the first record of its group
//! 20  1  kind
//! 21  3  zeros
//! 24  8  time its group was written, microseconds since 1970, never less than the record before
//! 32 32  hash of the record before
//! ```
//!
//! The hash of a record is BLAKE3(hash of the record before, [digest](super::digest) of the record): whoever knows one
//! knows that nothing before it was changed. Only these 64 bytes wait for the record before; the digests of many records
//! are made at once.
//!
//! A group is what one sync made durable. Its first sequence is in each of its records because of this: whatever
//! comes before a group was durable before any byte of the group was written. So when a record cannot be read and a
//! readable one of a later group follows, what is missing had been acknowledged; when only its own group follows,
//! it had not.

use super::digest::{BLOCK, digest_of};

/// Bytes of a record before its payload.
pub const RECORD_HEADER: usize = 64;
/// A BLAKE3 hash.
pub type Hash = [u8; 32];
/// What the first record of a journal chains to.
pub const CHAIN_START: Hash = [0; 32];

/// What a record is about. 1 to 255; what the numbers mean is the business of whoever appends, but for 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// Written by the journal itself when retention removes segments.
    pub const REMOVED: Self = Self(255);
}

/// Bytes that a payload of this length takes with its header and padding.
pub const fn padded(length: usize) -> usize {
    RECORD_HEADER + length.next_multiple_of(BLOCK)
}

/// What a record says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the payload.
    pub length: u32,
    /// Position in the journal; 1 for the first record.
    pub sequence: u64,
    /// Sequence of the first record of its group.
    pub group: u64,
    /// What it is about.
    pub kind: Kind,
    /// When its group was written, microseconds since 1970.
    pub time_us: u64,
    /// Hash of the record before.
    pub previous: Hash,
}

/// What [`decode`] made of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record whose checksum fits; it takes [`padded`] bytes.
    Record(RecordHeader),
    /// Only zeros: where the log ends.
    End,
    /// Anything else.
    Damaged,
}

/// Appends records to a buffer, and seals them: a record is written in two steps, so that in between the digests of many
/// can be made at once.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub(crate) seed: u32,
    /// Of the next record.
    pub(crate) sequence: u64,
    /// Hash of the last sealed record.
    pub(crate) previous: Hash,
}

impl Encoder {
    /// Appends a record that is still to be [sealed](Self::seal).
    pub(crate) fn push(
        &mut self,
        out: &mut Vec<u8>,
        group: u64,
        kind: Kind,
        time_us: u64,
        payload: &[u8],
    ) {
        let end = out.len() + padded(payload.len());
        let mut header = [0; RECORD_HEADER];
        header[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        header[16..20].copy_from_slice(&((self.sequence - group) as u32).to_le_bytes());
        header[20] = kind.0;
        header[24..32].copy_from_slice(&time_us.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(payload);
        out.resize(end, 0);
        self.sequence += 1;
    }

    /// Chains a record (header and payload) to the one before and puts its checksum in. In the order of the sequence.
    pub(crate) fn seal(&mut self, record: &mut [u8], digest: &Hash) {
        record[32..RECORD_HEADER].copy_from_slice(&self.previous);
        let crc = crc32c::crc32c_append(self.seed, record);
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        self.previous = chained(&self.previous, digest);
    }
}

fn chained(previous: &Hash, digest: &Hash) -> Hash {
    let mut both = [0; BLOCK];
    both[..32].copy_from_slice(previous);
    both[32..].copy_from_slice(digest);
    *blake3::hash(&both).as_bytes()
}

/// Hash of a sealed record: header and payload, without the padding.
pub(crate) fn hash_of(record: &[u8]) -> Hash {
    let previous = record[32..].first_chunk().copied().unwrap_or(CHAIN_START);
    chained(&previous, &digest_of(record))
}

/// The header's fields when they are possible at all; nothing is checked against the payload yet.
pub(crate) fn peek(bytes: &[u8]) -> Option<RecordHeader> {
    let bytes = bytes.first_chunk::<RECORD_HEADER>()?;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or([0; 4]));
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or([0; 8]));
    let (sequence, delta) = (long(8), u64::from(word(16)));
    if bytes[20] == 0 || bytes[21..24] != [0; 3] || sequence == 0 || delta >= sequence {
        return None;
    }
    Some(RecordHeader {
        length: word(0),
        sequence,
        group: sequence - delta,
        kind: Kind(bytes[20]),
        time_us: long(24),
        previous: bytes[32..].try_into().ok()?,
    })
}

/// Reads the record at the start of `bytes`, which reach to the end of the segment or past the largest record.
pub(crate) fn decode(bytes: &[u8], seed: u32) -> Found {
    let Some(header) = peek(bytes) else {
        let rest = &bytes[..bytes.len().min(RECORD_HEADER)];
        return if rest.iter().all(|byte| *byte == 0) {
            Found::End
        } else {
            Found::Damaged
        };
    };
    let length = header.length as usize;
    let Some(payload) = bytes.get(RECORD_HEADER..RECORD_HEADER + length) else {
        return Found::Damaged;
    };
    let Some(padding) = bytes.get(RECORD_HEADER + length..padded(length)) else {
        return Found::Damaged;
    };
    let mut plain = [0; RECORD_HEADER];
    plain.copy_from_slice(&bytes[..RECORD_HEADER]);
    plain[4..8].fill(0);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &plain), payload);
    if bytes[4..8] != crc.to_le_bytes() || padding.iter().any(|byte| *byte != 0) {
        return Found::Damaged;
    }
    Found::Record(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(encoder: &mut Encoder, out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
        let start = out.len();
        encoder.push(out, 5, Kind(kind), 10, payload);
        let record = &mut out[start..start + RECORD_HEADER + payload.len()];
        let digest = digest_of(record);
        encoder.seal(record, &digest);
    }

    fn two() -> (Vec<u8>, Encoder) {
        let mut encoder = Encoder {
            seed: 77,
            sequence: 5,
            previous: CHAIN_START,
        };
        let mut bytes = Vec::new();
        sealed(&mut encoder, &mut bytes, 1, b"first");
        sealed(&mut encoder, &mut bytes, 2, b"");
        (bytes, encoder)
    }

    #[test]
    fn records_come_back_chained() {
        let (bytes, encoder) = two();
        let Found::Record(first) = decode(&bytes, 77) else {
            panic!("not a record")
        };
        assert_eq!(
            (first.length, first.sequence, first.group, first.kind),
            (5, 5, 5, Kind(1))
        );
        let second_at = padded(5);
        let Found::Record(second) = decode(&bytes[second_at..], 77) else {
            panic!("not a record")
        };
        assert_eq!((second.sequence, second.group, second.length), (6, 5, 0));
        assert_eq!(second.previous, hash_of(&bytes[..RECORD_HEADER + 5]));
        assert_eq!(
            encoder.previous,
            hash_of(&bytes[second_at..second_at + RECORD_HEADER])
        );
        assert_eq!(decode(&[0; 4096], 77), Found::End);
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_seen() {
        let (bytes, _) = two();
        let record = padded(5);
        for bit in 0..record * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed, 77), Found::Damaged, "bit {bit}");
        }
        for cut in 1..record {
            assert_eq!(decode(&bytes[..cut], 77), Found::Damaged, "cut at {cut}");
        }
        assert_eq!(
            decode(&bytes, 78),
            Found::Damaged,
            "a record of another segment"
        );
    }
}
