//! The bytes: what a segment and a record look like. All numbers little-endian. No I/O.

mod digest;
mod record;
mod segment;

pub(crate) use digest::Digester;
pub use record::{CHAIN_START, Hash, Kind, RECORD_HEADER, RecordHeader, padded};
pub(crate) use record::{Encoder, Found, decode, hash_of, peek};
pub use segment::SEGMENT_HEADER;
pub(crate) use segment::{SegmentHeader, file_name, number_of, other_format};
