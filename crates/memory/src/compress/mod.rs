//! Compression of bulk transfers: block by block, opt-in per region, only where it saves time.
//!
//! Encryption runs at 2.5–5 GB/s and LZ4 at a fraction of it, so on a fast path compression costs more than it saves; and a
//! block that holds a secret next to bytes of an attacker's choice leaks by its length (CRIME). Hence off unless the region asks
//! for it ([`Compression`]), and then chosen block by block: [`Advisor`] looks at the path's speed, at what earlier blocks gave and
//! at a sample.
//!
//! Blocks are independent and carry their own flag. The raw length is known before a byte is decompressed, and
//! the output is a buffer of that length: there is nothing for a bomb to fill.
//!
//! What may enter: codecs and the choice between them. What is deliberately absent: framing (in `bulk`), clocks (times are
//! passed in).

mod advisor;
mod codec;
mod policy;
mod probe;

pub use advisor::Advisor;
pub use codec::{Codec, Compressor, DecompressError, Decompressor};
pub use policy::Compression;
pub use probe::looks_compressible;

/// Fewer bytes than this are sent as they are: nothing worth saving.
pub const MIN_COMPRESSED_BYTES: usize = 1024;
/// Most bytes of one block, before compression.
pub const MAX_BLOCK_BYTES: usize = 256 * 1024;
