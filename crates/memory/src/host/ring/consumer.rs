//! The reading side of a ring.

use std::sync::atomic::Ordering;

use super::{ASLEEP, AWAKE, Corruption, HEADER_BYTES, RingMemory, Word, footprint};

/// Reads frames, each copied out of the shared memory before it is shown.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    /// First byte that was not read. Never read back from shared memory.
    head: u32,
    /// Where the producer knows us to be.
    released: u32,
    /// The producer's position as last seen and checked.
    tail: u32,
    /// The frame that is being shown. Grows to the longest seen, at most the capacity.
    frame: Vec<u8>,
    broken: Option<Corruption>,
}

impl<M: RingMemory> Consumer<M> {
    /// Over fresh memory: all its words are 0.
    pub fn new(memory: M) -> Self {
        Self {
            memory,
            head: 0,
            released: 0,
            tail: 0,
            frame: Vec::new(),
            broken: None,
        }
    }

    /// Begins at another position than 0, so that a test reaches where positions wrap.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, position: u32) {
        self.memory.store(Word::Head, position, Ordering::Relaxed);
        (self.head, self.released, self.tail) = (position, position, position);
    }

    /// The memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Shows up to `limit` frames in the order they were pushed and gives their room back; answers how many. A call ends,
    /// however fast the producer is: frames published after its start may wait for the next one.
    ///
    /// # Errors
    /// [`Corruption`]; frames shown before it was met are good.
    #[inline]
    pub fn poll(&mut self, limit: usize, mut show: impl FnMut(&[u8])) -> Result<usize, Corruption> {
        // Once: this bounds the call.
        self.look()?;
        let mut shown = 0;
        while shown < limit && self.head != self.tail {
            let length = self.next_length()?;
            let start = self.head.wrapping_add(HEADER_BYTES);
            if self.frame.len() < length as usize {
                // Bounded: `next_length` has checked it against the published bytes.
                self.frame.resize(length as usize, 0);
            }
            let mut frame = core::mem::take(&mut self.frame);
            self.read(start, &mut frame[..length as usize]);
            // Before it is shown: when that panics the frame is not shown twice.
            self.head = self.head.wrapping_add(footprint(length));
            show(&frame[..length as usize]);
            self.frame = frame;
            shown += 1;
            // Long batches give room back on the way, so that the producer does not stand still until their end.
            if self.head.wrapping_sub(self.released) >= self.memory.capacity() / 4 {
                self.release_read();
            }
        }
        self.release_read();
        Ok(shown)
    }

    /// True when there is something to read.
    ///
    /// # Errors
    /// [`Corruption`].
    #[inline]
    pub fn has_frames(&mut self) -> Result<bool, Corruption> {
        Ok(self.head != self.tail || self.look()? != self.head)
    }

    /// Says that this side is about to sleep. True: it may, and the producer's next publish wakes it. False: there is
    /// something to read and the flag is taken back.
    ///
    /// # Errors
    /// [`Corruption`].
    pub fn arm(&mut self) -> Result<bool, Corruption> {
        // An exchange, as the producer's: when both happen at once, one of them comes first and the other sees it.
        self.memory.swap(Word::Asleep, ASLEEP, Ordering::AcqRel);
        // Orders the flag before the look; pairs with the fence in `Producer::publish`.
        self.memory.fence();
        let idle = !self.has_frames()?;
        if !idle {
            self.disarm();
        }
        Ok(idle)
    }

    /// Says that this side is awake.
    pub fn disarm(&mut self) {
        self.memory.swap(Word::Asleep, AWAKE, Ordering::Acquire);
    }

    /// Position after the last published byte, for readers in another language that have frames of their own; do not mix
    /// with [`poll`](Self::poll).
    ///
    /// # Errors
    /// [`Corruption`].
    #[inline]
    pub fn published(&mut self) -> Result<u32, Corruption> {
        self.look()
    }

    /// Position of the first byte that is not released.
    pub fn released(&self) -> u32 {
        self.released
    }

    /// Gives the bytes before `head` back; false, and nothing happens, unless they are among the published ones.
    #[inline]
    pub fn release(&mut self, head: u32) -> bool {
        if head.wrapping_sub(self.head) > self.tail.wrapping_sub(self.head) {
            return false;
        }
        self.head = head;
        self.release_read();
        true
    }

    #[inline]
    fn release_read(&mut self) {
        if self.released != self.head {
            self.released = self.head;
            // Release: our reads are over before the producer overwrites.
            self.memory.store(Word::Head, self.head, Ordering::Release);
        }
    }

    /// The producer's position, checked.
    #[inline]
    fn look(&mut self) -> Result<u32, Corruption> {
        if let Some(what) = self.broken {
            return Err(what);
        }
        // Acquire pairs with the Release in `publish`: the frames before it are whole.
        let found = self.memory.load(Word::Tail, Ordering::Acquire);
        let capacity = self.memory.capacity();
        let (filled, known) = (
            found.wrapping_sub(self.released),
            self.tail.wrapping_sub(self.released),
        );
        if filled > capacity || filled < known || !found.is_multiple_of(8) {
            return Err(self.spoiled(Corruption::Tail {
                found,
                head: self.released,
                capacity,
            }));
        }
        self.tail = found;
        Ok(found)
    }

    #[inline]
    fn next_length(&mut self) -> Result<u32, Corruption> {
        // Positions are multiples of 8, so at least a whole header lies here and it does not wrap.
        let mut header = [0; HEADER_BYTES as usize];
        self.read(self.head, &mut header);
        let found = u64::from_le_bytes(header);
        let limit = self.tail.wrapping_sub(self.head) - HEADER_BYTES;
        // The upper half is zero, so one comparison checks both halves.
        if found > u64::from(limit) {
            return Err(self.spoiled(Corruption::Length {
                found: u32::try_from(found).unwrap_or(u32::MAX),
                limit,
            }));
        }
        Ok(found as u32)
    }

    #[cold]
    fn spoiled(&mut self, what: Corruption) -> Corruption {
        self.tail = self.head;
        self.broken = Some(what);
        what
    }

    #[inline]
    fn read(&self, position: u32, bytes: &mut [u8]) {
        let capacity = self.memory.capacity();
        let at = position & (capacity - 1);
        let first = bytes.len().min((capacity - at) as usize);
        let (head, rest) = bytes.split_at_mut(first);
        self.memory.read(at, head);
        if !rest.is_empty() {
            self.memory.read(0, rest);
        }
    }
}
