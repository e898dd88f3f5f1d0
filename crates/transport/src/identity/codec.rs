//! Reading and writing the compact encodings: little-endian, lengths before bytes, limits before allocation.

use super::error::IdentityError;

/// Reads one object front to back. Borrows; never copies, never allocates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    object: &'static str,
}

impl<'a> Reader<'a> {
    /// `object` names what is read, for the error. More than `limit` bytes are refused at once.
    pub(super) fn new(
        object: &'static str,
        bytes: &'a [u8],
        limit: usize,
    ) -> Result<Self, IdentityError> {
        if bytes.len() > limit {
            return Err(IdentityError::TooLarge { object, limit });
        }
        Ok(Self {
            rest: bytes,
            object,
        })
    }

    pub(super) const fn malformed(&self, reason: &'static str) -> IdentityError {
        IdentityError::Malformed {
            object: self.object,
            reason,
        }
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], IdentityError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.malformed("it ends early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], IdentityError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.malformed("it ends early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, IdentityError> {
        self.array::<1>().map(|[byte]| *byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, IdentityError> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, IdentityError> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// A block with its 32-bit length in front.
    pub(super) fn block(&mut self, limit: usize) -> Result<&'a [u8], IdentityError> {
        let length = self.u32()? as usize;
        if length > limit {
            return Err(IdentityError::TooLarge {
                object: self.object,
                limit,
            });
        }
        self.bytes(length)
    }

    /// A text with its 8-bit length in front.
    pub(super) fn text(&mut self, limit: usize) -> Result<&'a str, IdentityError> {
        let length = usize::from(self.u8()?);
        if length > limit {
            return Err(IdentityError::TooLarge {
                object: self.object,
                limit,
            });
        }
        let bytes = self.bytes(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a text is no UTF-8"))
    }

    /// How many bytes are left to read.
    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything was read: an object has one encoding, so nothing may follow it.
    pub(super) fn finish(self) -> Result<(), IdentityError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("bytes follow its end"))
        }
    }
}

/// Appends `bytes` with their 32-bit length in front.
pub(super) fn put_block(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a text of at most 255 bytes with its 8-bit length in front.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= 255, "checked where the text came in");
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
