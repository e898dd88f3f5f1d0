//! Memory of our own: anonymous pages, huge ones when there are any, growing in place.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Backing, RegionError,
    reservation::{Reservation, page_bytes},
};

/// Most bytes of a region of our own: 1 TiB of addresses.
pub const MAX_REGION_BYTES: u64 = 1 << 40;

#[cfg(target_os = "linux")]
const HUGE_BYTES: u64 = 2 << 20;

/// What to allocate.
#[derive(Clone, Copy, Debug)]
pub struct PagesOptions {
    /// Bytes at first.
    pub length: u64,
    /// Bytes that it may grow to; addresses are reserved at once, memory is not. At least `length`.
    pub capacity: u64,
    /// Ask for huge pages: fewer misses of the address cache where a large region is read at random. Best effort,
    /// [`Pages::page_kind`] says what came of it.
    pub huge: bool,
}

/// Which pages stand behind a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// The platform's usual size.
    Small,
    /// Small ones that the kernel merges into huge ones as it finds them.
    Transparent,
    /// Huge ones out of the kernel's pool.
    Huge,
}

/// Zeroed pages at an address that does not change while they grow. Huge pages when asked for and there (first the
/// kernel's pool, then transparent ones, else plain); no binding to a memory node of the machine.
#[derive(Debug)]
pub struct Pages {
    reservation: Reservation,
    length: AtomicU64,
    kind: PageKind,
    /// One grower at a time; holds the end of the committed pages.
    committed: Mutex<usize>,
}

impl Pages {
    /// Allocates.
    ///
    /// # Errors
    /// [`RegionError::Empty`], [`RegionError::TooLong`] (limit [`MAX_REGION_BYTES`], or a length above the capacity),
    /// [`RegionError::System`].
    pub fn new(options: PagesOptions) -> Result<Self, RegionError> {
        let PagesOptions {
            length,
            capacity,
            huge,
        } = options;
        if length == 0 {
            return Err(RegionError::Empty);
        }
        check("capacity", capacity, MAX_REGION_BYTES)?;
        check("length", length, capacity)?;
        #[cfg(target_os = "linux")]
        if huge
            && length == capacity
            && let Some(pages) = Self::from_pool(length)
        {
            return Ok(pages);
        }
        let page = page_bytes();
        let reservation = Reservation::new((capacity as usize).next_multiple_of(page))?;
        let committed = (length as usize).next_multiple_of(page);
        reservation.commit(0..committed)?;
        #[cfg(target_os = "linux")]
        let merged = huge && capacity >= HUGE_BYTES && reservation.advise_huge();
        #[cfg(not(target_os = "linux"))]
        let merged = {
            let _ = huge;
            false
        };
        Ok(Self {
            reservation,
            length: AtomicU64::new(length),
            kind: if merged {
                PageKind::Transparent
            } else {
                PageKind::Small
            },
            committed: Mutex::new(committed),
        })
    }

    /// Pages of the kernel's pool, when it has enough. Only for a fixed length: the pool is set aside as a whole.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn from_pool(length: u64) -> Option<Self> {
        let whole = length.next_multiple_of(HUGE_BYTES) as usize;
        // A pool that is too small is the usual case and no error: other pages do the same work.
        let reservation = (length >= HUGE_BYTES)
            .then(|| Reservation::huge(whole))?
            .ok()?;
        Some(Self {
            reservation,
            length: AtomicU64::new(length),
            kind: PageKind::Huge,
            committed: Mutex::new(whole),
        })
    }

    /// Which pages it got.
    pub fn page_kind(&self) -> PageKind {
        self.kind
    }

    /// Bytes that it may grow to.
    pub fn capacity(&self) -> u64 {
        self.reservation.length() as u64
    }

    /// Grows to `length` bytes; the new ones are zero. Accesses run on meanwhile.
    ///
    /// # Errors
    /// [`RegionError::Shrinks`], [`RegionError::TooLong`] beyond the capacity, [`RegionError::System`]; the length stays.
    pub fn grow(&self, length: u64) -> Result<(), RegionError> {
        let mut committed = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.length();
        if length < now {
            return Err(RegionError::Shrinks {
                asked: length,
                length: now,
            });
        }
        check("length", length, self.capacity())?;
        let end = (length as usize)
            .next_multiple_of(page_bytes())
            .min(self.reservation.length());
        if end > *committed {
            self.reservation.commit(*committed..end)?;
            *committed = end;
        }
        // Release pairs with the Acquire of `length()`: who sees the length sees the pages.
        self.length.store(length, Ordering::Release);
        Ok(())
    }
}

/// Refuses more than `limit` bytes.
pub(super) fn check(field: &'static str, asked: u64, limit: u64) -> Result<(), RegionError> {
    if asked > limit {
        return Err(RegionError::TooLong {
            field,
            asked,
            limit,
        });
    }
    Ok(())
}

// SAFETY: the reservation stays where it is; `length` only grows, is stored after the pages below it were committed, and
// they stay committed.
unsafe impl Backing for Pages {
    const KIND: &'static str = "pages";

    fn base(&self) -> *mut u8 {
        self.reservation.base()
    }

    fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }
}
