//! What a grant allows once it was verified: the checks of every operation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{AccessError, Region, Rights, check_range};
use crate::compress::Compression;

/// A verified grant, ready to be checked by each operation: region, slice, rights, epoch, expiry.
///
/// Made once when a peer presents its grant (the signature and the node identity are checked there); kept in the
/// peer's handle table. Offsets of operations count from the start of the slice.
#[derive(Clone, Debug)]
pub struct Access {
    /// The memory.
    pub region: Arc<dyn Region>,
    /// [`Region::epoch`] that the grant was made for.
    pub epoch: u64,
    /// First byte of the slice inside the region. Atomics need one that is a multiple of 8: offsets in the slice and in the region
    /// must both be aligned.
    pub base: u64,
    /// Bytes of the slice. A slice may be longer than the region is now: the region checks its own length.
    pub length: u64,
    /// What the holder may do.
    pub rights: Rights,
    /// When the grant ends; `None` lasts as long as the region.
    pub expires: Option<Instant>,
    /// Set by whoever revokes this one grant; shared by all copies.
    pub revoked: Arc<AtomicBool>,
    /// What bulk transfers out of this memory may do; the region's owner says so.
    pub compression: Compression,
}

impl Access {
    /// All of `region` with all rights: the owner's own.
    pub fn whole(region: Arc<dyn Region>) -> Self {
        Self {
            epoch: region.epoch(),
            base: 0,
            length: region.len(),
            rights: Rights::ALL,
            expires: None,
            revoked: Arc::new(AtomicBool::new(false)),
            compression: Compression::None,
            region,
        }
    }

    /// Checks rights, range, revocation, epoch and expiry for `length` bytes at `offset` of the slice; returns the
    /// offset in the region. Costs a few nanoseconds.
    ///
    /// # Errors
    /// In the order of the checks: [`AccessError::Revoked`], [`AccessError::Expired`], [`AccessError::Rights`],
    /// [`AccessError::OutOfRange`] (of the slice; the region checks itself again).
    #[inline]
    pub fn check(
        &self,
        needed: Rights,
        offset: u64,
        length: u64,
        now: Instant,
    ) -> Result<u64, AccessError> {
        // Relaxed: whoever revokes a grant orders it for himself by `Region::revoke`; a lone grant ends at the next
        // operation that sees the flag.
        if self.revoked.load(Ordering::Relaxed) || self.epoch != self.region.epoch() {
            return Err(AccessError::Revoked);
        }
        if self.expires.is_some_and(|at| now >= at) {
            return Err(AccessError::Expired);
        }
        if !self.rights.contains(needed) {
            return Err(AccessError::Rights);
        }
        check_range(offset, length, self.length)?;
        // `base + length` of the slice was checked when the access was made, but this costs nothing.
        self.base
            .checked_add(offset)
            .ok_or(AccessError::OutOfRange {
                offset,
                length,
                available: self.length,
            })
    }
}
