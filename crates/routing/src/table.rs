//! Things by slot number, at addresses that never change.

use std::sync::OnceLock;

const CHUNK: usize = 64;

/// Up to 131,072 values, made in chunks of 64 when first needed and kept for the life of the table. Reading takes no
/// lock; making a chunk does, and allocates.
#[derive(Debug)]
pub(crate) struct SlotTable<T> {
    chunks: Box<[OnceLock<Box<[T]>>]>,
}

impl<T: Default> SlotTable<T> {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            chunks: (0..slots.div_ceil(CHUNK))
                .map(|_| OnceLock::new())
                .collect(),
        }
    }

    /// The value of a slot, if its chunk was made.
    #[inline]
    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        self.chunks.get(slot / CHUNK)?.get()?.get(slot % CHUNK)
    }

    /// The value of a slot, made if it was not.
    ///
    /// # Panics
    /// When the slot is beyond the table: slots come from an allocator with the same bound.
    pub(crate) fn make(&self, slot: usize) -> &T {
        let chunk =
            self.chunks[slot / CHUNK].get_or_init(|| (0..CHUNK).map(|_| T::default()).collect());
        &chunk[slot % CHUNK]
    }
}
