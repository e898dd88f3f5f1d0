//! The writing side of a ring.

use std::sync::atomic::Ordering;

use super::{ASLEEP, AWAKE, Corruption, HEADER_BYTES, PushError, RingMemory, Word, footprint};

/// Writes frames and publishes them in batches.
///
/// Cost: a frame of 64 bytes is 9 word stores; [`publish`](Self::publish) is one store and one fence for all of them.
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    /// After the last byte written. Never read back from shared memory.
    tail: u32,
    /// After the last byte that the consumer may see.
    published: u32,
    /// The consumer's position as last seen and checked.
    head: u32,
    broken: Option<Corruption>,
}

impl<M: RingMemory> Producer<M> {
    /// Over fresh memory: all its words are 0.
    pub fn new(memory: M) -> Self {
        Self {
            memory,
            tail: 0,
            published: 0,
            head: 0,
            broken: None,
        }
    }

    /// Begins at another position than 0, so that a test reaches where positions wrap.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, position: u32) {
        self.memory.store(Word::Tail, position, Ordering::Relaxed);
        (self.tail, self.published, self.head) = (position, position, position);
    }

    /// The memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Longest frame that an empty ring takes, bytes.
    pub fn frame_limit(&self) -> u32 {
        self.memory.capacity() - HEADER_BYTES
    }

    /// Appends a frame that the consumer sees after the next [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`PushError::Full`], [`PushError::TooLong`], [`PushError::Broken`].
    #[inline]
    pub fn push(&mut self, frame: &[u8]) -> Result<(), PushError> {
        let limit = self.frame_limit() as usize;
        if frame.len() > limit {
            return Err(PushError::TooLong {
                length: frame.len(),
                limit,
            });
        }
        let needed = footprint(frame.len() as u32);
        if needed > self.room() {
            self.look_for_room()?;
            if needed > self.room() {
                return Err(PushError::Full);
            }
        }
        let header = u64::from(frame.len() as u32).to_le_bytes();
        self.write(self.tail, &header);
        self.write(self.tail.wrapping_add(HEADER_BYTES), frame);
        self.tail = self.tail.wrapping_add(needed);
        Ok(())
    }

    /// Shows all pushed frames to the consumer. True: it sleeps and the caller must wake it; true once per sleep.
    #[inline]
    #[must_use = "when it is true nobody else wakes the consumer"]
    pub fn publish(&mut self) -> bool {
        if self.tail == self.published {
            return false;
        }
        self.published = self.tail;
        // Release: the frames are whole before the consumer sees the tail.
        self.memory.store(Word::Tail, self.tail, Ordering::Release);
        // Dekker: we store the tail and then look at the flag, the consumer stores the flag and then looks at the
        // tail, both with this fence in between. One of the two sees the other.
        self.memory.fence();
        self.memory.load(Word::Asleep, Ordering::Relaxed) == ASLEEP
            && self.memory.swap(Word::Asleep, AWAKE, Ordering::AcqRel) == ASLEEP
    }

    /// Publishes bytes that somebody else wrote into the ring's memory, up to `tail`. For writers in another language that
    /// have frames of their own; do not mix with [`push`](Self::push). Answers the consumer's position and whether the consumer
    /// must be woken.
    ///
    /// # Errors
    /// [`PushError::Full`] when `tail` is not within the room, [`PushError::Broken`].
    #[inline]
    pub fn commit(&mut self, tail: u32) -> Result<(u32, bool), PushError> {
        self.look_for_room()?;
        if tail.wrapping_sub(self.tail) > self.room() {
            return Err(PushError::Full);
        }
        self.tail = tail;
        Ok((self.head, self.publish()))
    }

    /// Bytes that may be written before the consumer has to release some, as last seen.
    fn room(&self) -> u32 {
        // No underflow: `head` was checked to lie within a capacity before `published`, and pushes checked the room.
        self.memory.capacity() - self.tail.wrapping_sub(self.head)
    }

    fn look_for_room(&mut self) -> Result<(), Corruption> {
        if let Some(what) = self.broken {
            return Err(what);
        }
        // Acquire: the consumer's reads of the bytes that we now may overwrite are over.
        let found = self.memory.load(Word::Head, Ordering::Acquire);
        if found.wrapping_sub(self.head) > self.published.wrapping_sub(self.head) {
            let what = Corruption::Head {
                found,
                last: self.head,
                limit: self.published,
            };
            self.broken = Some(what);
            return Err(what);
        }
        self.head = found;
        Ok(())
    }

    #[inline]
    fn write(&self, position: u32, bytes: &[u8]) {
        let capacity = self.memory.capacity();
        let at = position & (capacity - 1);
        let first = bytes.len().min((capacity - at) as usize);
        self.memory.write(at, &bytes[..first]);
        if first < bytes.len() {
            self.memory.write(0, &bytes[first..]);
        }
    }
}
