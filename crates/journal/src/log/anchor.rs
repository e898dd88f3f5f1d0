//! The anchor: a small file that says how far the log is known to reach.
//!
//! Written lazily, always after the records it speaks of are durable. A log that ends before its anchor has lost
//! acknowledged records, whatever else looks right; without it a tail cut off at a record's edge could not be told
//! from one that was never written.

use crate::error::JournalError;
use crate::format::Hash;
use crate::storage::Storage;

pub(crate) const FILE: &str = "anchor";
const MAGIC: &[u8; 8] = b"LMANCH01";
const BYTES: usize = 72;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) journal: [u8; 16],
    /// 0: nothing yet.
    pub(crate) sequence: u64,
    pub(crate) hash: Hash,
}

impl Anchor {
    /// `None` when there is none, or none that can be read: it is a witness, never a condition.
    pub(crate) fn read(storage: &dyn Storage) -> Option<Self> {
        let mut bytes = [0; BYTES];
        if storage.open(FILE).ok()?.read_at(0, &mut bytes).ok()? < BYTES {
            return None;
        }
        let crc = crc32c::crc32c(&bytes[..68]);
        if bytes[..8] != *MAGIC || bytes[68..] != crc.to_le_bytes() {
            return None;
        }
        Some(Self {
            journal: bytes[8..24].try_into().ok()?,
            sequence: u64::from_le_bytes(bytes[24..32].try_into().ok()?),
            hash: bytes[32..64].try_into().ok()?,
        })
    }

    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<(), JournalError> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].copy_from_slice(&self.journal);
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.hash);
        let crc = crc32c::crc32c(&bytes[..68]);
        bytes[68..].copy_from_slice(&crc.to_le_bytes());
        storage
            .replace(FILE, &bytes)
            .map_err(|error| JournalError::from_io(&error, "writing the anchor"))
    }
}
