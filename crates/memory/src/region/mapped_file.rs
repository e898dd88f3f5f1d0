//! A file as memory: shared with its pages in the page cache, growing in place, flushed when asked.

use std::{
    fs::{File, OpenOptions, TryLockError},
    ops::Range,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Backing, RegionError,
    pages::{MAX_REGION_BYTES, check},
    reservation::{Reservation, page_bytes},
};

/// A file mapped as a region: what is written survives the process, and after [`flush`](Self::flush) the machine.
///
/// The file is locked (`flock`, exclusive) while it is mapped, so that two processes of ours do not count in it at the same
/// time, and its blocks are allocated before they are mapped: a full disk is an error of [`open`](Self::open) or
/// [`grow`](Self::grow), not a signal in the middle of an access. The lock is advisory: a program that ignores it and
/// truncates the file ends this process by `SIGBUS`, as with every mapping. Keep the file in a folder of your own.
#[derive(Debug)]
pub struct MappedFile {
    reservation: Reservation,
    length: AtomicU64,
    file: File,
    /// One grower at a time; holds the end of the mapped pages.
    mapped: Mutex<usize>,
}

impl MappedFile {
    /// Opens or makes the file at `path` with at least `length` bytes (a longer file stays as it is, new bytes are zero), able
    /// to grow to `capacity`. A new file is readable by its owner only. Blocks while the disk allocates.
    ///
    /// # Errors
    /// [`RegionError::Empty`], [`RegionError::TooLong`] (the file too, when it is longer than the capacity),
    /// [`RegionError::Busy`], [`RegionError::System`].
    pub fn open(path: &Path, length: u64, capacity: u64) -> Result<Self, RegionError> {
        use std::os::unix::fs::OpenOptionsExt;
        check("capacity", capacity, MAX_REGION_BYTES)?;
        check("length", length, capacity)?;
        let system = |call| move |source| RegionError::System { call, source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(system("open"))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => RegionError::Busy,
            TryLockError::Error(source) => RegionError::System {
                call: "flock",
                source,
            },
        })?;
        let there = file.metadata().map_err(system("fstat"))?.len();
        check("file", there, capacity)?;
        let length = length.max(there);
        if length == 0 {
            return Err(RegionError::Empty);
        }
        // From the start: a file that was made sparse has holes below its length too.
        allocate(&file, 0..length)?;
        let page = page_bytes();
        let reservation = Reservation::new((capacity as usize).next_multiple_of(page))?;
        let mapped = (length as usize).next_multiple_of(page);
        reservation.map_file(file.as_fd(), 0..mapped)?;
        Ok(Self {
            reservation,
            length: AtomicU64::new(length),
            file,
            mapped: Mutex::new(mapped),
        })
    }

    /// Bytes that it may grow to.
    pub fn capacity(&self) -> u64 {
        self.reservation.length() as u64
    }

    /// Grows the file to `length` bytes; the new ones are zero. Accesses run on meanwhile. Blocks while the disk allocates.
    ///
    /// # Errors
    /// [`RegionError::Shrinks`], [`RegionError::TooLong`] beyond the capacity, [`RegionError::System`] (a full disk); the
    /// length stays.
    pub fn grow(&self, length: u64) -> Result<(), RegionError> {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.length();
        if length < now {
            return Err(RegionError::Shrinks {
                asked: length,
                length: now,
            });
        }
        check("length", length, self.capacity())?;
        allocate(&self.file, now..length)?;
        let end = (length as usize).next_multiple_of(page_bytes());
        if end > *mapped {
            self.reservation.map_file(self.file.as_fd(), *mapped..end)?;
            *mapped = end;
        }
        // Release pairs with the Acquire of `length()`: who sees the length sees the pages.
        self.length.store(length, Ordering::Release);
        Ok(())
    }

    /// Returns when the bytes of `range` are on the disk. What is written meanwhile may be or may not be. Blocks: not for
    /// the thread that answers peers.
    ///
    /// # Errors
    /// [`RegionError::TooLong`] if the range ends beyond the length, [`RegionError::System`].
    pub fn flush(&self, range: Range<u64>) -> Result<(), RegionError> {
        check("range", range.end, self.length())?;
        let start = range.start.min(range.end) as usize / page_bytes() * page_bytes();
        // SAFETY: pages of our own mapping below its length; writing them back changes no content.
        let result = unsafe {
            libc::msync(
                self.reservation.base().add(start).cast(),
                range.end as usize - start,
                libc::MS_SYNC,
            )
        };
        if result != 0 {
            return Err(RegionError::system("msync"));
        }
        // The length of a file that grew is metadata, which msync does not promise.
        self.file.sync_data().map_err(|source| RegionError::System {
            call: "fdatasync",
            source,
        })
    }
}

/// Gives the bytes of `range` real blocks and the file at least that length.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn allocate(file: &File, range: Range<u64>) -> Result<(), RegionError> {
    if range.is_empty() {
        return Ok(());
    }
    loop {
        // SAFETY: a call on an open descriptor with plain numbers.
        let result = unsafe {
            libc::posix_fallocate(
                file.as_raw_fd(),
                range.start as libc::off_t,
                (range.end - range.start) as libc::off_t,
            )
        };
        match result {
            0 => return Ok(()),
            libc::EINTR => {}
            code => {
                return Err(RegionError::System {
                    call: "posix_fallocate",
                    source: std::io::Error::from_raw_os_error(code),
                });
            }
        }
    }
}

/// Gives the bytes of `range` real blocks and the file at least that length: by writing the last byte of each block
/// beyond the old end, where the platform has no call for it.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn allocate(file: &File, range: Range<u64>) -> Result<(), RegionError> {
    use std::os::unix::fs::FileExt;
    let system = |call| move |source| RegionError::System { call, source };
    let end = file.metadata().map_err(system("fstat"))?.len();
    let _ = file.as_raw_fd();
    let zeros = [0; 4096];
    let mut at = end.max(range.start);
    while at < range.end {
        let count = (range.end - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..count as usize], at)
            .map_err(system("pwrite"))?;
        at += count;
    }
    Ok(())
}

// SAFETY: the reservation stays where it is; `length` only grows and is stored after the pages below it were mapped on
// allocated blocks of a locked file.
unsafe impl Backing for MappedFile {
    const KIND: &'static str = "mapped file";

    fn base(&self) -> *mut u8 {
        self.reservation.base()
    }

    fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }
}
