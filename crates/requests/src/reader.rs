//! Bytes of a stream, or of a ring, cut into frames.

use std::ops::ControlFlow;

use crate::frame::{HEADER_BYTES, Header, MAX_FRAME_BYTES};

/// The bytes are no frames: whoever sent them is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What of a stream has come and is not a whole frame yet.
#[derive(Debug, Default)]
pub struct FrameReader {
    partial: Vec<u8>,
}

impl FrameReader {
    /// Hands each whole frame to `take`: its header, and body with extras. Answers how many bytes were left after the frame
    /// at which `take` broke off; those are the caller's again.
    ///
    /// # Errors
    /// [`Malformed`]; the stream is of no use then.
    pub fn read(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Header, &[u8]) -> Result<ControlFlow<()>, Malformed>,
    ) -> Result<usize, Malformed> {
        while !self.partial.is_empty() {
            let wanted = match self.partial.first_chunk() {
                Some(header) => check(&Header::from_wire(header))?,
                None => HEADER_BYTES,
            };
            let missing = wanted - self.partial.len();
            let (now, later) = bytes.split_at(missing.min(bytes.len()));
            self.partial.extend_from_slice(now);
            bytes = later;
            if self.partial.len() < wanted {
                return Ok(0);
            }
            let Some(header) = self.partial.first_chunk().map(Header::from_wire) else {
                continue;
            };
            if check(&header)? > self.partial.len() {
                continue;
            }
            let flow = take(header, content(&header, &self.partial))?;
            self.partial.clear();
            if flow.is_break() {
                return Ok(bytes.len());
            }
        }
        while let Some(header) = bytes.first_chunk() {
            let header = Header::from_wire(header);
            let length = check(&header)?;
            if length > bytes.len() {
                break;
            }
            let (frame, rest) = bytes.split_at(length);
            bytes = rest;
            if take(header, content(&header, frame))?.is_break() {
                return Ok(bytes.len());
            }
        }
        // Grows as bytes come, never by what a header promises.
        self.partial.extend_from_slice(bytes);
        if self.partial.is_empty() && self.partial.capacity() > KEEP_BYTES {
            self.partial = Vec::new();
        }
        Ok(0)
    }

    /// What is not whole will not be: its sender sends it again, elsewhere.
    pub fn forget(&mut self) {
        self.partial = Vec::new();
    }
}

/// A buffer that one large frame has left behind is not kept.
const KEEP_BYTES: usize = 256 << 10;

fn check(header: &Header) -> Result<usize, Malformed> {
    let length = header.length() as usize;
    let content = u64::from(header.body()) + u64::from(header.extras());
    let fits = (HEADER_BYTES..=MAX_FRAME_BYTES).contains(&length)
        && length.is_multiple_of(8)
        && content <= (length - HEADER_BYTES) as u64;
    if fits { Ok(length) } else { Err(Malformed) }
}

fn content<'f>(header: &Header, frame: &'f [u8]) -> &'f [u8] {
    let content = header.body() as usize + header.extras() as usize;
    &frame[HEADER_BYTES..HEADER_BYTES + content]
}
