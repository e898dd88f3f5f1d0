//! Bodies too large for a lane, handed from thread to thread by id.

use std::collections::HashMap;
use std::sync::Mutex;

use linkmesh_registry::Status;

use crate::engine::lock;
use crate::state::Failure;

/// One body.
const MAX_BLOB_BYTES: usize = 1 << 30;
/// All bodies under way.
const MAX_TOTAL_BYTES: usize = 2 << 30;

#[derive(Debug, Default)]
pub(crate) struct Blobs(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    next: u32,
    bytes: usize,
    held: HashMap<u32, Box<[u8]>>,
}

impl Blobs {
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<u32, Failure> {
        if bytes.len() > MAX_BLOB_BYTES {
            return Err(Failure::new(Status::LimitExceeded, "the body is too large")
                .field("body")
                .limit(MAX_BLOB_BYTES as f64));
        }
        let mut shelf = lock(&self.0);
        if shelf.bytes + bytes.len() > MAX_TOTAL_BYTES {
            return Err(Failure::new(
                Status::Saturated,
                "too many large bodies are under way between threads",
            )
            .field("body")
            .limit(MAX_TOTAL_BYTES as f64));
        }
        // Ids wrap after 2^31; one that is still held is passed over.
        loop {
            shelf.next = (shelf.next + 1) & (i32::MAX as u32);
            if !shelf.held.contains_key(&shelf.next) {
                break;
            }
        }
        let id = shelf.next;
        shelf.bytes += bytes.len();
        shelf.held.insert(id, bytes.into());
        Ok(id)
    }

    pub(crate) fn take(&self, id: u32) -> Option<Box<[u8]>> {
        let mut shelf = lock(&self.0);
        let bytes = shelf.held.remove(&id)?;
        shelf.bytes -= bytes.len();
        Some(bytes)
    }
}
