//! A buffer whose first byte lies where a device can read it without a copy in between.

/// What direct writes ask for: a page, and the block of every storage of ours.
const ALIGNMENT: usize = 4_096;
/// What is reserved at once; pages that are never touched cost nothing.
const STEP: usize = 256 << 10;

/// Bytes that begin at a multiple of a page in memory, however far they grow.
#[derive(Debug, Default)]
pub(crate) struct PageBuffer {
    bytes: Vec<u8>,
    /// Bytes before the first page.
    skip: usize,
}

impl PageBuffer {
    /// Makes room for `more` bytes: pushing so many moves nothing.
    pub(crate) fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() >= more && self.bytes.capacity() > 0 {
            return;
        }
        let wanted = (self.len() + more)
            .next_multiple_of(STEP)
            .max(self.len() * 2);
        let mut bytes: Vec<u8> = Vec::with_capacity(wanted + ALIGNMENT);
        // Where no alignment can be told the bytes are written by way of the cache, which is slower and as good.
        let skip = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        bytes.resize(skip, 0);
        bytes.extend_from_slice(self.as_slice());
        *self = Self { bytes, skip };
    }

    /// To append to, after [`reserve`](Self::reserve).
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.skip
    }

    /// Cut, or filled with zeros.
    pub(crate) fn resize(&mut self, length: usize) {
        self.reserve(length.saturating_sub(self.len()));
        self.bytes.resize(self.skip + length, 0);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.skip..]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.skip..]
    }

    /// Empties it; what more than `keep` bytes needed is given back.
    pub(crate) fn clear(&mut self, keep: usize) {
        if self.bytes.capacity() > keep + STEP + ALIGNMENT {
            *self = Self::default();
        } else {
            self.bytes.truncate(self.skip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_at_a_page_however_far_it_grows() {
        let mut buffer = PageBuffer::default();
        let mut expected = Vec::new();
        for round in 0..200_u8 {
            let piece = [round; 7_001];
            buffer.reserve(piece.len());
            buffer.tail().extend_from_slice(&piece);
            expected.extend_from_slice(&piece);
            assert_eq!(buffer.as_slice().as_ptr().align_offset(ALIGNMENT), 0);
        }
        assert_eq!(buffer.as_slice(), expected);
        buffer.resize(expected.len() + 5);
        assert_eq!(buffer.as_slice()[expected.len()..], [0; 5]);
        buffer.clear(4 << 20);
        assert_eq!(buffer.len(), 0);
        buffer.resize(4_096);
        assert_eq!(buffer.as_slice().as_ptr().align_offset(ALIGNMENT), 0);
    }
}
