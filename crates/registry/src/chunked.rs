//! A vector by slot that is cheap to copy: chunks are shared until one of them changes.

use std::sync::Arc;

const CHUNK: usize = 128;

/// Optional shared values by slot. `clone` costs a pointer per 128 slots, `set` copies one chunk.
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Arc<[Option<Arc<T>>; CHUNK]>>,
}

impl<T> Clone for Chunked<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
        }
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Chunked<T> {
    #[inline]
    pub(crate) fn get(&self, slot: usize) -> Option<&Arc<T>> {
        self.chunks.get(slot / CHUNK)?[slot % CHUNK].as_ref()
    }

    pub(crate) fn set(&mut self, slot: usize, value: Option<Arc<T>>) {
        while self.chunks.len() <= slot / CHUNK {
            self.chunks.push(Arc::new([const { None }; CHUNK]));
        }
        Arc::make_mut(&mut self.chunks[slot / CHUNK])[slot % CHUNK] = value;
    }

    /// In slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten())
    }
}
