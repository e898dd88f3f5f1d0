//! The header of a lane frame: the twin of `ts/mesh/frame.ts`.
//!
//! In a lane numbers are in the machine's byte order, on the wire in little-endian. Of a request, word 4 names the
//! instance by the handle that it has where the frame is; of an answer, the thread that asked. On the wire a deadline is
//! what is left of it.

/// Bytes of a header.
pub const HEADER_BYTES: usize = 48;
const WORDS: usize = HEADER_BYTES / 4;

/// Largest frame that is carried to another node, bytes.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

// The kinds that are told apart here; 3, 6 and 7 (reply, item, end) are carried like errors.
/// Fills the rest of a lane.
pub const PAD: u32 = 0;
/// Asks for one answer.
pub const REQUEST: u32 = 1;
/// Asks for a stream of answers.
pub const STREAM_REQUEST: u32 = 2;
/// The answer is an error.
pub const ERROR: u32 = 4;
/// Nobody waits any more.
pub const CANCEL: u32 = 5;
/// So many more items may be sent.
pub const CREDIT: u32 = 8;
/// Between nodes of one host: what follows comes over the ring, once all streams have said so.
pub const MOVED: u32 = 9;
/// What follows comes over this stream again, after all that the ring still holds.
pub const BACK: u32 = 10;

/// The receiver has begun with it.
pub const TAKEN: u32 = 1 << 16;
/// The body is a blob's id.
pub const BLOB: u32 = 1 << 17;
/// The handler was not started.
pub const NOT_DELIVERED: u32 = 1 << 18;
/// Body kind of text, as `BodyKind.Text << 8`.
pub const TEXT_BODY: u32 = 2 << 8;

/// Bits of a source that name the thread here; the others name the thread at the node it stands for.
pub const THREAD_BITS: u32 = 20;
/// Threads of a process that others can answer to.
pub const FAR_THREADS: u32 = 1 << (32 - THREAD_BITS);

/// A header, taken out of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    words: [u32; WORDS],
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident, $set:ident = $index:literal;)*) => {
        $($(#[$doc])*
        #[inline]
        pub fn $name(&self) -> u32 {
            self.words[$index]
        }
        #[doc = concat!("Sets `", stringify!($name), "`.")]
        #[inline]
        pub fn $set(&mut self, value: u32) {
            self.words[$index] = value;
        })*
    };
}

impl Header {
    /// Bytes of the extras behind the body.
    #[inline]
    pub fn extras(&self) -> u32 {
        self.words[7]
    }

    words! {
        /// Bytes of the whole frame, a multiple of 8.
        length, set_length = 0;
        /// Kind, body kind << 8, flags << 16.
        kind_word, set_kind_word = 1;
        /// The caller's id of the request.
        id, set_id = 2;
        /// Instance of a request, far thread of an answer.
        instance, set_instance = 4;
        /// The sending thread.
        source, set_source = 5;
        /// Bytes of the body.
        body, set_body = 6;
    }

    /// From the bytes of a lane.
    #[inline]
    pub fn from_lane(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        Self { words }
    }

    /// From the wire.
    #[inline]
    pub fn from_wire(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mut header = Self { words };
        header.set_deadline(f64::from_bits(
            u64::from(words[10]) | u64::from(words[11]) << 32,
        ));
        header
    }

    /// The bytes for a lane.
    #[inline]
    pub fn to_lane(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        for (word, bytes) in self.words.iter().zip(bytes.as_chunks_mut::<4>().0) {
            *bytes = word.to_ne_bytes();
        }
        bytes
    }

    /// The bytes for the wire.
    #[inline]
    pub fn to_wire(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let deadline = self.deadline().to_bits();
        let mut words = self.words;
        words[10] = deadline as u32;
        words[11] = (deadline >> 32) as u32;
        for (word, bytes) in words.iter().zip(bytes.as_chunks_mut::<4>().0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    /// What the frame is.
    #[inline]
    pub fn kind(&self) -> u32 {
        self.kind_word() & 0xff
    }

    /// Whether a flag is set.
    #[inline]
    pub fn has(&self, flag: u32) -> bool {
        self.kind_word() & flag != 0
    }

    /// Milliseconds; infinite for none.
    #[inline]
    pub fn deadline(&self) -> f64 {
        let (low, high) = (self.words[10], self.words[11]);
        // The two words are one float64 in the machine's own order.
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&low.to_ne_bytes());
        bytes[4..].copy_from_slice(&high.to_ne_bytes());
        f64::from_ne_bytes(bytes)
    }

    /// Milliseconds; infinite for none.
    #[inline]
    pub fn set_deadline(&mut self, deadline: f64) {
        let bytes = deadline.to_ne_bytes();
        self.words[10] = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.words[11] = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    }

    /// True for what goes to an instance; the rest goes to the thread that asked.
    #[inline]
    pub fn is_to_instance(&self) -> bool {
        matches!(self.kind(), REQUEST | STREAM_REQUEST | CANCEL | CREDIT)
    }

    /// True for what must be answered, if only by a refusal.
    #[inline]
    pub fn is_request(&self) -> bool {
        matches!(self.kind(), REQUEST | STREAM_REQUEST)
    }

    /// A frame that says which way the next ones go: [`MOVED`] or [`BACK`].
    pub fn way(kind: u32) -> Self {
        let mut header = Self { words: [0; WORDS] };
        header.set_length(HEADER_BYTES as u32);
        header.set_kind_word(kind);
        header
    }

    /// An error in answer to `request`, as its own sender would get it. The body follows.
    pub fn refusal(request: &Self, body: usize) -> Self {
        let mut header = Self { words: [0; WORDS] };
        header.set_length((HEADER_BYTES + aligned(body)) as u32);
        header.set_kind_word(ERROR | TEXT_BODY | NOT_DELIVERED);
        header.set_id(request.id());
        header.set_body(body as u32);
        header
    }
}

/// Rounded up to the alignment of frames.
#[inline]
pub const fn aligned(length: usize) -> usize {
    (length + 7) & !7
}

/// The text of a refusal, in the form of `ts/mesh/error-data.ts`.
pub fn refusal_text(name: &str, code: &str, message: &str) -> String {
    // The words are our own: nothing in them needs to be escaped.
    format!(
        "{{\"name\":\"{name}\",\"message\":\"{message}\",\"linkmesh\":{{\"code\":\"{code}\",\"retryable\":true,\"outcome\":\"not-delivered\"}}}}"
    )
}
