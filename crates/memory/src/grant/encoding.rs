//! Reading the compact form front to back: little-endian, every length checked before it is used.

use super::GrantError;

/// What is left to read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], GrantError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or(GrantError::Malformed {
            reason: "it ends early",
        })?;
        self.at += length;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GrantError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, GrantError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GrantError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes with their 16-bit length in front.
    pub(super) fn block(
        &mut self,
        field: &'static str,
        limit: usize,
    ) -> Result<&'a [u8], GrantError> {
        let length = usize::from(self.array().map(u16::from_le_bytes)?);
        if length > limit {
            return Err(GrantError::TooLong { field, limit });
        }
        self.bytes(length)
    }
}

/// Appends `block` with its 16-bit length in front.
pub(super) fn push_block(
    out: &mut Vec<u8>,
    field: &'static str,
    limit: usize,
    block: &[u8],
) -> Result<(), GrantError> {
    if block.len() > limit {
        return Err(GrantError::TooLong { field, limit });
    }
    out.extend_from_slice(&(block.len() as u16).to_le_bytes());
    out.extend_from_slice(block);
    Ok(())
}
