//! Framed blocks: for transfers that are checked or compressed.
//!
//! ```text
//! raw length u32 · wire length u32 · codec u8 (0 plain, 1 LZ4, 2 zstd) · CRC32C of the raw bytes u32 · wire bytes
//! ```

use bytes::Bytes;

use super::BLOCK_BYTES;
use crate::compress::{Codec, Decompressor};

/// Bytes before each block.
pub(super) const BLOCK_HEAD_BYTES: usize = 13;

/// What stands before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub(super) raw: u32,
    pub(super) wire: u32,
    pub(super) codec: Option<Codec>,
    pub(super) crc: u32,
}

impl BlockHead {
    pub(super) fn encode(self) -> [u8; BLOCK_HEAD_BYTES] {
        let mut bytes = [0; BLOCK_HEAD_BYTES];
        bytes[..4].copy_from_slice(&self.raw.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.wire.to_le_bytes());
        bytes[8] = self.codec.map_or(0, Codec::code);
        bytes[9..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// `None` for what no correct sender says: above all, lengths beyond a block's.
    fn decode(bytes: [u8; BLOCK_HEAD_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let head = Self {
            raw: word(0),
            wire: word(4),
            codec: match bytes[8] {
                0 => None,
                code => Some(Codec::from_code(code)?),
            },
            crc: word(9),
        };
        let fits = (1..=BLOCK_BYTES as u32).contains(&head.raw);
        let shrinks = match head.codec {
            None => head.wire == head.raw,
            Some(_) => (1..head.raw).contains(&head.wire),
        };
        (fits && shrinks).then_some(head)
    }
}

/// Takes a stream of blocks apart. Holds at most one block.
#[derive(Debug, Default)]
pub(super) struct BlockReader {
    held: Vec<u8>,
    head: Option<BlockHead>,
}

/// What a stream of blocks says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// The next bytes.
    Whole(Bytes),
    /// So many bytes that did not survive.
    Damaged(u32),
}

/// No correct sender sent this.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadBlock;

impl BlockReader {
    /// Takes the next block off the front of `bytes`, if it is complete now.
    pub(super) fn next(
        &mut self,
        bytes: &mut &[u8],
        decompressor: &mut Decompressor,
    ) -> Result<Option<Block>, BadBlock> {
        let Some(head) = self.head else {
            if let Some(head) = self.take(bytes, BLOCK_HEAD_BYTES) {
                let head = head.first_chunk().copied().and_then(BlockHead::decode);
                self.head = Some(head.ok_or(BadBlock)?);
                return self.next(bytes, decompressor);
            }
            return Ok(None);
        };
        let Some(wire) = self.take(bytes, head.wire as usize) else {
            return Ok(None);
        };
        self.head = None;
        let raw = match head.codec {
            None => wire,
            Some(codec) => {
                let mut raw = vec![0; head.raw as usize];
                if decompressor.decompress(codec, &wire, &mut raw).is_err() {
                    return Ok(Some(Block::Damaged(head.raw)));
                }
                raw
            }
        };
        if crc32c::crc32c(&raw) == head.crc {
            Ok(Some(Block::Whole(raw.into())))
        } else {
            Ok(Some(Block::Damaged(head.raw)))
        }
    }

    /// Collects exactly `length` bytes; memory for them is taken as they come.
    fn take(&mut self, bytes: &mut &[u8], length: usize) -> Option<Vec<u8>> {
        let (taken, rest) = bytes.split_at(bytes.len().min(length - self.held.len()));
        self.held.extend_from_slice(taken);
        *bytes = rest;
        (self.held.len() == length).then(|| std::mem::take(&mut self.held))
    }
}
