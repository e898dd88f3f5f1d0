//! A range of addresses, reserved at once and backed by memory piece by piece, so that what grows never moves.

use std::ptr::NonNull;

use super::RegionError;

/// Addresses that are ours until dropped. Unix: no memory stands behind them before it is committed or mapped.
/// Elsewhere: zeroed memory of the allocator, which commits lazily too.
#[derive(Debug)]
pub(super) struct Reservation {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the range is owned like a `Box`'s memory; who uses it is the owner's matter.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    pub(super) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }
}

#[cfg(all(unix, not(miri)))]
mod platform {
    use std::{ffi::c_int, ops::Range, os::fd::BorrowedFd, ptr};

    use super::{NonNull, RegionError, Reservation};

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
    const NO_RESERVE: c_int = libc::MAP_NORESERVE;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
    const NO_RESERVE: c_int = 0;

    /// Size of the platform's small pages.
    pub(in super::super) fn page_bytes() -> usize {
        // SAFETY: asks for a number.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size).unwrap_or(4096)
    }

    impl Reservation {
        fn map(length: usize, protection: c_int, flags: c_int) -> Result<Self, RegionError> {
            // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
            let base = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    length,
                    protection,
                    flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            if base == libc::MAP_FAILED {
                return Err(RegionError::system("mmap"));
            }
            let base = NonNull::new(base.cast()).ok_or(RegionError::Unsupported {
                what: "address for it",
            })?;
            Ok(Self { base, length })
        }

        /// Addresses without memory. `length` is a multiple of the page size.
        pub(in super::super) fn new(length: usize) -> Result<Self, RegionError> {
            Self::map(length, libc::PROT_NONE, NO_RESERVE)
        }

        /// Zeroed memory of the kernel's huge pages (2 MiB), set aside at once: it fails here when the pool is too small,
        /// and not by a signal at the first touch. `length` is a multiple of 2 MiB.
        #[cfg(target_os = "linux")]
        pub(in super::super) fn huge(length: usize) -> Result<Self, RegionError> {
            Self::map(
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_HUGETLB | libc::MAP_HUGE_2MB,
            )
        }

        /// Makes the pages of `range` (offsets, whole pages) readable and writable; they are zero.
        pub(in super::super) fn commit(&self, range: Range<usize>) -> Result<(), RegionError> {
            assert!(range.end <= self.length);
            // SAFETY: pages of our own range, which lose no content by getting more rights.
            let result = unsafe {
                libc::mprotect(
                    self.base().add(range.start).cast(),
                    range.len(),
                    libc::PROT_READ | libc::PROT_WRITE,
                )
            };
            if result == 0 {
                Ok(())
            } else {
                Err(RegionError::system("mprotect"))
            }
        }

        /// Asks for huge pages behind the whole range as it is filled; true if the kernel agreed.
        #[cfg(target_os = "linux")]
        pub(in super::super) fn advise_huge(&self) -> bool {
            // SAFETY: advice about our own range changes no content.
            unsafe { libc::madvise(self.base().cast(), self.length, libc::MADV_HUGEPAGE) == 0 }
        }

        /// Puts the same offsets of `file` behind the pages of `range` (offsets, whole pages), shared.
        ///
        /// Touching a page beyond the end of the file raises a signal: the caller keeps accesses below it.
        pub(in super::super) fn map_file(
            &self,
            file: BorrowedFd<'_>,
            range: Range<usize>,
        ) -> Result<(), RegionError> {
            use std::os::fd::AsRawFd;
            assert!(range.end <= self.length);
            // SAFETY: replaces pages of our own range that were never handed out.
            let result = unsafe {
                libc::mmap(
                    self.base().add(range.start).cast(),
                    range.len(),
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_FIXED,
                    file.as_raw_fd(),
                    range.start as libc::off_t,
                )
            };
            if result == libc::MAP_FAILED {
                Err(RegionError::system("mmap"))
            } else {
                Ok(())
            }
        }
    }

    impl Drop for Reservation {
        fn drop(&mut self) {
            // SAFETY: our own range; whoever used it borrowed from the owner of this value.
            unsafe { libc::munmap(self.base().cast(), self.length) };
        }
    }
}

#[cfg(any(not(unix), miri))]
mod platform {
    use std::{
        alloc::{Layout, alloc_zeroed, dealloc},
        ops::Range,
    };

    use super::{NonNull, RegionError, Reservation};

    const PAGE_BYTES: usize = 4096;

    /// Granularity of commits; the allocator has none of its own.
    pub(in super::super) fn page_bytes() -> usize {
        PAGE_BYTES
    }

    fn layout(length: usize) -> Option<Layout> {
        Layout::from_size_align(length, PAGE_BYTES).ok()
    }

    impl Reservation {
        /// Zeroed memory. `length` is a multiple of the page size and not 0.
        pub(in super::super) fn new(length: usize) -> Result<Self, RegionError> {
            assert_ne!(length, 0);
            let refused = || RegionError::System {
                call: "alloc",
                source: std::io::ErrorKind::OutOfMemory.into(),
            };
            let layout = layout(length).ok_or_else(refused)?;
            // SAFETY: the layout is not empty.
            let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
            Ok(Self { base, length })
        }

        /// Nothing to do: all of it is there.
        pub(in super::super) fn commit(&self, range: Range<usize>) -> Result<(), RegionError> {
            assert!(range.end <= self.length);
            Ok(())
        }
    }

    impl Drop for Reservation {
        fn drop(&mut self) {
            if let Some(layout) = layout(self.length) {
                // SAFETY: allocated by `new` with this layout.
                unsafe { dealloc(self.base.as_ptr(), layout) };
            }
        }
    }
}

pub(super) use platform::page_bytes;
