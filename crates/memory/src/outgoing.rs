//! Bytes waiting for a stream to take them.

/// Encoded frames in order; the front goes as the stream has room.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    taken: usize,
}

/// What a burst leaves allocated is kept up to here.
const KEEP: usize = 64 * 1024;

impl Outgoing {
    /// What waits, oldest first.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stream took `count` bytes of [`as_slice`](Self::as_slice).
    pub fn consume(&mut self, count: usize) {
        self.taken += count;
        debug_assert!(self.taken <= self.bytes.len());
        if self.taken == self.bytes.len() {
            self.clear();
        } else if self.taken > KEEP {
            // A stream that takes pieces of a long queue: move the rest down once per 64 KiB.
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Forgets everything: the stream is gone.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
    }

    /// Where encoders append.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}
