//! The first bytes of each transfer's stream: it says by itself where its bytes go.
//!
//! ```text
//! id u64 · offset u64 · length u32 · start u32 · handle u16 · options u8 · direction u8      28 bytes, little-endian
//! ```
//! `start` is the place in the transfer of the stream's first byte after the head; so a plain stream's offset is the transfer's offset but
//! for a constant, and the chunks of it can be placed in whatever order they come.

use super::Options;

/// Bytes of a head.
pub const HEAD_BYTES: usize = 28;

/// Which transfer a stream belongs to, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The transfer, named by the client.
    pub id: u64,
    /// Where the transfer begins in the grant's slice.
    pub offset: u64,
    /// Bytes of the whole transfer.
    pub length: u32,
    /// Where in the transfer this stream begins.
    pub start: u32,
    /// The client's number for the grant.
    pub handle: u16,
    /// How it is sent.
    pub options: Options,
    /// True if the bytes go to the client (it reads), false if to the region (it writes).
    pub to_client: bool,
}

impl Head {
    /// The bytes.
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.start.to_le_bytes());
        bytes[24..26].copy_from_slice(&self.handle.to_le_bytes());
        bytes[26] = self.options.bits();
        bytes[27] = self.to_client.into();
        bytes
    }

    /// Reads a head; `None` unless each field is possible.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let head = Self {
            id: long(0),
            offset: long(8),
            length: word(16),
            start: word(20),
            handle: u16::from_le_bytes([bytes[24], bytes[25]]),
            options: Options::from_bits(bytes[26])?,
            to_client: match bytes[27] {
                0 => false,
                1 => true,
                _ => return None,
            },
        };
        let possible = super::is_length(head.length) && head.start < head.length;
        possible.then_some(head)
    }
}
