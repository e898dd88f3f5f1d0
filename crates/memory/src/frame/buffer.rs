//! A stream's bytes, cut into frames wherever the packets cut them.

use super::{Decoded, FrameError};

/// Keeps the beginning of a frame whose end has not arrived. Whole frames are decoded where they lie, without a copy.
///
/// Memory: nothing while frames arrive whole; otherwise at most the longest frame, given back when it was read.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    partial: Vec<u8>,
}

/// A buffer that one long frame enlarged is given back; what short frames leave behind is kept for the next one.
const KEEP: usize = 4096;

impl FrameBuffer {
    /// True if the beginning of a frame is waiting for its end.
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Bytes that are waiting.
    pub fn len(&self) -> usize {
        self.partial.len()
    }

    /// True if nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// Forgets what is waiting.
    pub fn clear(&mut self) {
        self.partial = Vec::new();
    }

    /// Takes in `bytes` and consumes whole frames off the front of all that is there. `next(rest)` consumes one frame and
    /// says how many bytes it had, or how many are needed before it can, or [`Step::Stop`]: then the rest is kept for the
    /// next call (which may bring no bytes).
    ///
    /// # Errors
    /// What `next` says.
    pub fn feed<E: From<FrameError>>(
        &mut self,
        mut bytes: &[u8],
        mut next: impl FnMut(&[u8]) -> Result<Step, E>,
    ) -> Result<(), E> {
        // Complete the waiting frame first, taking only what it needs from `bytes`.
        let mut stopped = false;
        if !self.partial.is_empty() {
            let mut at = 0;
            loop {
                match next(&self.partial[at..])? {
                    Step::Consumed(count) => at += count,
                    Step::Stop => {
                        stopped = true;
                        break;
                    }
                    Step::Needs(whole) => {
                        let missing = whole - (self.partial.len() - at);
                        if bytes.is_empty() {
                            break;
                        }
                        let taken = missing.min(bytes.len());
                        self.partial.drain(..at);
                        at = 0;
                        self.partial.extend_from_slice(&bytes[..taken]);
                        bytes = &bytes[taken..];
                        if taken < missing {
                            break;
                        }
                    }
                }
                if at == self.partial.len() {
                    break;
                }
            }
            self.partial.drain(..at);
            if self.partial.is_empty() && self.partial.capacity() > KEEP {
                self.partial = Vec::new();
            }
        }
        // Then the frames that lie whole in `bytes`.
        while !stopped && self.partial.is_empty() && !bytes.is_empty() {
            match next(bytes)? {
                Step::Consumed(count) => bytes = &bytes[count..],
                Step::Stop => stopped = true,
                Step::Needs(_) => break,
            }
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

/// What [`FrameBuffer::feed`] is told about the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame of so many bytes was consumed.
    Consumed(usize),
    /// The frame at the front has at least so many bytes.
    Needs(usize),
    /// Not now: keep what is there.
    Stop,
}

impl Step {
    /// The step for a decoded frame that `consume` takes in, or for one that is not whole.
    ///
    /// # Errors
    /// What `consume` says.
    #[inline]
    pub fn of<T, E>(
        decoded: Decoded<T>,
        consume: impl FnOnce(T) -> Result<(), E>,
    ) -> Result<Self, E> {
        match decoded {
            Decoded::Frame(frame, length) => consume(frame).map(|()| Self::Consumed(length)),
            Decoded::Needs(whole) => Ok(Self::Needs(whole)),
        }
    }
}
