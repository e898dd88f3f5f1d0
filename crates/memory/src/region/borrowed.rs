//! Memory that belongs to somebody else: a `Buffer` or `SharedArrayBuffer` of JavaScript, a descriptor's mapping.

use std::{any::Any, fmt};

use super::{Backing, RegionError};

/// Memory kept alive by a keeper that is dropped together with the last owner of the region.
///
/// The keeper of JavaScript's memory must post the release to its own thread when it is dropped: a reference of Node-API is
/// never given back from another one.
pub struct Borrowed {
    base: *mut u8,
    length: usize,
    /// Held, never looked at.
    _keeper: Box<dyn Any + Send + Sync>,
}

// SAFETY: the pointer is only used through atomics, on memory that `Borrowed::new`'s caller vouched for on any thread.
unsafe impl Send for Borrowed {}
// SAFETY: as above.
unsafe impl Sync for Borrowed {}

impl Borrowed {
    /// The `length` bytes at `base`.
    ///
    /// # Errors
    /// [`RegionError::Empty`], [`RegionError::Misaligned`] unless `base` is a multiple of 8.
    ///
    /// # Safety
    /// Until `keeper` is dropped, or until the region over this memory was revoked (`Region::revoke` returned): the bytes
    /// stay valid at this address, and Rust code touches them through atomics only. JavaScript may touch them as it likes:
    /// it is outside of Rust's memory model, and a `SharedArrayBuffer` cannot be detached. An `ArrayBuffer` can
    /// (`transfer`, `postMessage` with a transfer list), which a reference does not prevent: the caller must.
    pub unsafe fn new(
        base: *mut u8,
        length: usize,
        keeper: Box<dyn Any + Send + Sync>,
    ) -> Result<Self, RegionError> {
        if length == 0 {
            return Err(RegionError::Empty);
        }
        if !base.addr().is_multiple_of(8) {
            return Err(RegionError::Misaligned);
        }
        Ok(Self {
            base,
            length,
            _keeper: keeper,
        })
    }
}

// SAFETY: address and length are constant; validity is the promise of `new`'s caller.
unsafe impl Backing for Borrowed {
    const KIND: &'static str = "borrowed";

    fn base(&self) -> *mut u8 {
        self.base
    }

    fn length(&self) -> u64 {
        self.length as u64
    }
}

impl fmt::Debug for Borrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
