//! Memory that peers reach: what a region promises, whichever kind of memory it is made of.
//!
//! A region is shared memory in the full sense: JavaScript, other threads and other processes change it while an
//! operation runs. So nobody outside this room holds a reference into it; every access copies through atomics and is
//! checked against the length of that moment.
//!
//! What may enter: kinds of memory behind [`Region`], and the checks that stand before them ([`Access`]). What is
//! deliberately absent: frames, sessions, peers, clocks.

mod access;
mod backing;
mod borrowed;
pub(crate) mod copy;
mod create_error;
mod error;
mod heap;
#[cfg(unix)]
mod mapped_file;
mod pages;
mod range_rights;
mod reservation;
mod rights;
mod shared;

pub use access::Access;
pub use backing::Backing;
pub use borrowed::Borrowed;
pub use create_error::RegionError;
pub use error::AccessError;
pub use heap::HeapRegion;
#[cfg(unix)]
pub use mapped_file::MappedFile;
pub use pages::{MAX_REGION_BYTES, PageKind, Pages, PagesOptions};
pub use range_rights::{MAX_RANGES, RangeRefused, RangeRights};
pub use rights::Rights;
pub use shared::SharedRegion;

use std::{fmt::Debug, sync::atomic::Ordering};

/// Shared memory that operations of peers may touch.
///
/// # What every kind promises
///
/// - **Bounds.** `offset + length <= len()` is checked by each call, without overflow. Nothing is touched when a call fails.
/// - **Atomics.** [`fetch_add`](Self::fetch_add), [`compare_swap`](Self::compare_swap) and [`load`](Self::load) are
///   sequentially consistent operations on an aligned 8-byte word in native byte order, the same that JavaScript's
///   `Atomics` does on a `BigInt64Array` or `BigUint64Array` over that memory.
/// - **Copies.** [`read`](Self::read) and [`write`](Self::write) move aligned 8-byte words by one relaxed atomic access
///   each, and the odd bytes at both ends by byte atomics. So an aligned word is never torn, and longer copies may interleave with
///   others at word granularity. A call of `write` is ordered after what the thread did before it and before what it
///   does next (a release fence at both ends); a call of `read` likewise (an acquire fence at both ends).
/// - **Revocation.** After [`revoke`](Self::revoke) returned, no access of an earlier call is still running and every later one
///   fails with [`AccessError::Revoked`]. The memory itself goes when the last owner drops the region.
/// - **Growth.** [`len`](Self::len) may grow while operations run. It never shrinks and the memory never moves.
///
/// `Debug` shows the kind, the length and the epoch, never content.
pub trait Region: Send + Sync + Debug {
    /// Bytes that may be accessed now.
    fn len(&self) -> u64;

    /// True if nothing can be accessed yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of this export: constant for the life of the object and never used again by this process for the same name. A grant
    /// carries it, so a grant for an earlier export opens nothing.
    fn epoch(&self) -> u64;

    /// True once [`revoke`](Self::revoke) was called.
    fn is_revoked(&self) -> bool;

    /// Ends all access for good. Returns when no access is running any more; calling it again changes nothing.
    fn revoke(&self);

    /// Copies `target.len()` bytes from `offset`.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::Revoked`]; `target` is then unchanged.
    fn read(&self, offset: u64, target: &mut [u8]) -> Result<(), AccessError>;

    /// Copies `source` to `offset`.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::Revoked`]; nothing is written then.
    fn write(&self, offset: u64, source: &[u8]) -> Result<(), AccessError>;

    /// Adds to the word at `offset`, wrapping, and returns what it was.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn fetch_add(&self, offset: u64, operand: u64) -> Result<u64, AccessError>;

    /// Sets the word at `offset` to `desired` if it is `expected`; returns what it was, which is `expected` exactly when it was set.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn compare_swap(&self, offset: u64, expected: u64, desired: u64) -> Result<u64, AccessError>;

    /// Reads the word at `offset`.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`], [`AccessError::Misaligned`] unless `offset` is a multiple of 8, [`AccessError::Revoked`].
    fn load(&self, offset: u64) -> Result<u64, AccessError>;

    /// The memory object under this region, if it lies in one and so can be handed to a process of this host.
    #[cfg(target_os = "linux")]
    fn shared_object(&self) -> Option<&std::sync::Arc<crate::host::SharedObject>> {
        None
    }

    /// A read that shows whether it was torn: the version word before, the bytes, the version word after.
    ///
    /// The version word is the application's own, anywhere in the region (a seqlock): a writer makes it odd by an atomic,
    /// writes, and makes it even by another. The bytes are of one write if both versions are the same even number. Returns
    /// `(before, after)`.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`read`](Self::read).
    fn read_versioned(
        &self,
        offset: u64,
        target: &mut [u8],
        version: u64,
    ) -> Result<(u64, u64), AccessError> {
        // The first load is SeqCst and so acquires what the writer of that version published. `read` has an acquire fence
        // at its end, so the second load cannot be satisfied before the bytes were: a byte of a later write implies that
        // its odd version, which was stored before (release fence at the start of `write`), is seen.
        let before = self.load(version)?;
        self.read(offset, target)?;
        let after = self.load(version)?;
        Ok((before, after))
    }
}

/// The order of every 8-byte atomic on a region.
pub const ATOMIC_ORDERING: Ordering = Ordering::SeqCst;

/// Checks `offset + length <= available` without overflow.
///
/// # Errors
/// [`AccessError::OutOfRange`] with what was asked and what there is.
#[inline]
pub fn check_range(offset: u64, length: u64, available: u64) -> Result<(), AccessError> {
    match offset.checked_add(length) {
        Some(end) if end <= available => Ok(()),
        _ => Err(AccessError::OutOfRange {
            offset,
            length,
            available,
        }),
    }
}

/// Checks that `offset` names an aligned 8-byte word inside `available` bytes.
///
/// # Errors
/// [`AccessError::Misaligned`], [`AccessError::OutOfRange`].
#[inline]
pub fn check_word(offset: u64, available: u64) -> Result<(), AccessError> {
    if !offset.is_multiple_of(8) {
        return Err(AccessError::Misaligned { offset });
    }
    check_range(offset, 8, available)
}
