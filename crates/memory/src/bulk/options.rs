//! How a transfer is sent.

/// What one transfer asks for beyond its bytes. QUIC authenticates each packet already, so neither is on by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A CRC32C for each block, from region to region: covers memory and code on both sides, not only the wire.
    pub integrity: bool,
    /// The receiver takes compressed blocks. Whether and how a block is compressed, the region's owner says
    /// ([`Access::compression`](crate::region::Access::compression)) and what [`compress`](crate::compress) sees in it.
    pub compress: bool,
}

impl Options {
    /// As bits: 1 integrity, 2 compress.
    pub const fn bits(self) -> u8 {
        self.integrity as u8 | (self.compress as u8) << 1
    }

    /// The options with these bits; `None` if another bit is set.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits > 3 {
            return None;
        }
        Some(Self {
            integrity: bits & 1 != 0,
            compress: bits & 2 != 0,
        })
    }

    /// Whether the bytes go as framed blocks instead of plain.
    pub const fn is_framed(self) -> bool {
        self.integrity || self.compress
    }
}
