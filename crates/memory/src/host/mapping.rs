//! Anonymous memory with a descriptor, its seals, and a view of it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::NonNull,
};

/// Bytes of a page: what lengths of memory objects are rounded up to.
pub(super) const PAGE: usize = 4096;

/// What nobody can do to a memory object any more, whatever descriptor they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seals(libc::c_int);

impl Seals {
    /// The size is fixed. Without it a peer could cut the memory off under us, and the next access would kill the
    /// process by `SIGBUS`.
    pub(super) const SIZE: Self = Self(libc::F_SEAL_SHRINK | libc::F_SEAL_GROW);
    /// As `SIZE`; and mappings made from now on cannot be written, nor can the descriptor, nor one opened anew through
    /// `/proc`. The mapping of the owner is made before.
    pub(super) const SIZE_AND_FUTURE_WRITES: Self = Self(Self::SIZE.0 | libc::F_SEAL_FUTURE_WRITE);
}

/// A memory object of a fixed size.
#[derive(Debug)]
pub(super) struct MemoryFile {
    descriptor: OwnedFd,
    len: usize,
}

impl MemoryFile {
    /// `len` zero bytes, rounded up to pages, committed when they are touched. `name` shows in `/proc/PID/maps`.
    pub(super) fn create(name: &std::ffi::CStr, len: usize) -> io::Result<Self> {
        let len = len.next_multiple_of(PAGE);
        // NOEXEC_SEAL, since Linux 6.3: never executable. Older kernels refuse the flag.
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: `name` is NUL-terminated; the call touches nothing else of ours.
        let create = |flags| unsafe { libc::memfd_create(name.as_ptr(), flags) };
        let mut raw = create(flags | libc::MFD_NOEXEC_SEAL);
        if raw < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
            raw = create(flags);
        }
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else has it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        let size = i64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: a descriptor of ours and a number.
        check(unsafe { libc::ftruncate(raw, size) })?;
        Ok(Self { descriptor, len })
    }

    /// Takes a descriptor that a peer sent. It must be a memory object whose size is sealed, and hold `len` bytes.
    pub(super) fn received(descriptor: OwnedFd, len: usize) -> io::Result<Self> {
        let raw = descriptor.as_raw_fd();
        // SAFETY: a descriptor of ours; fails on anything that cannot be sealed.
        let seals = check(unsafe { libc::fcntl(raw, libc::F_GET_SEALS) })?;
        if seals & Seals::SIZE.0 != Seals::SIZE.0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the size of the peer's memory object is not sealed",
            ));
        }
        // SAFETY: all zeroes is a valid `stat`.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is ours to be written.
        check(unsafe { libc::fstat(raw, &raw mut stat) })?;
        let len = len.next_multiple_of(PAGE);
        if usize::try_from(stat.st_size).is_ok_and(|size| size >= len) {
            Ok(Self { descriptor, len })
        } else {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "the peer's memory object has {} bytes of {len}",
                    stat.st_size
                ),
            ))
        }
    }

    /// Seals for good; later seals are refused.
    pub(super) fn seal(&self, seals: Seals) -> io::Result<()> {
        let raw = self.descriptor.as_raw_fd();
        // SAFETY: a descriptor of ours and a number.
        check(unsafe { libc::fcntl(raw, libc::F_ADD_SEALS, seals.0 | libc::F_SEAL_SEAL) }).map(drop)
    }

    /// Maps all of it, shared.
    pub(super) fn map(&self, writable: bool) -> io::Result<Mapping> {
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        // SAFETY: a new mapping at an address that the kernel chooses.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                self.len,
                protection,
                libc::MAP_SHARED,
                self.descriptor.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).expect("the kernel never chooses address 0");
        Ok(Mapping {
            address,
            len: self.len,
        })
    }
}

impl AsFd for MemoryFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Shared memory in this process's address space; unmapped when dropped.
///
/// Other processes change it at any time, so nobody makes a reference into it: only atomics.
#[derive(Debug)]
pub(super) struct Mapping {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: an address range that this value owns; how it is accessed is up to the holders, who use atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `MemoryFile::map` with this length, unmapped once; holders of the address borrow or share
        // the mapping, so none is left.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.len) };
    }
}

/// The answer of a system call, or the error it left.
pub(super) fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::copy::{copy_in, copy_out};

    fn errno<T>(result: io::Result<T>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn after_the_seal_nobody_writes_but_the_owner() {
        let file = MemoryFile::create(c"test", 100).unwrap();
        let owner = file.map(true).unwrap();
        assert_eq!(owner.len(), PAGE);
        file.seal(Seals::SIZE_AND_FUTURE_WRITES).unwrap();

        // What a peer holds: a descriptor of its own. And what it may try: open the object anew for writing.
        let peer = MemoryFile::received(file.descriptor.try_clone().unwrap(), 100).unwrap();
        let path = format!("/proc/self/fd/{}", peer.descriptor.as_raw_fd());
        let anew = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let anew = MemoryFile {
            descriptor: anew.into(),
            len: PAGE,
        };
        for holder in [&peer, &anew] {
            let raw = holder.descriptor.as_raw_fd();
            assert_eq!(errno(holder.map(true)), Some(libc::EPERM));
            // SAFETY: one byte that lives; a descriptor of ours.
            let written = unsafe { libc::pwrite(raw, [7u8].as_ptr().cast(), 1, 0) };
            assert_eq!(written, -1);
            // SAFETY: a descriptor of ours and numbers.
            let cut = unsafe { libc::ftruncate(raw, 0) };
            assert_eq!(errno(check(cut)), Some(libc::EPERM));
            assert_eq!(errno(holder.seal(Seals::SIZE)), Some(libc::EPERM));
        }
        let view = peer.map(false).unwrap();
        // SAFETY: a mapping of ours; only its protection would change, which the kernel refuses.
        let raised = unsafe { libc::mprotect(view.as_ptr().cast(), PAGE, libc::PROT_WRITE) };
        assert_eq!(errno(check(raised)), Some(libc::EACCES));

        // SAFETY: the owner's mapping is a page; the other view is accessed atomically too.
        unsafe { copy_in(b"seen", owner.as_ptr()) };
        let mut seen = [0; 4];
        // SAFETY: as above.
        unsafe { copy_out(view.as_ptr(), &mut seen) };
        assert_eq!(&seen, b"seen");
    }

    #[test]
    fn a_peers_object_must_be_sealed_and_long_enough() {
        let unsealed = MemoryFile::create(c"test", PAGE).unwrap();
        let copy = unsealed.descriptor.try_clone().unwrap();
        let refused = MemoryFile::received(copy, PAGE).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        unsealed.seal(Seals::SIZE).unwrap();
        let copy = unsealed.descriptor.try_clone().unwrap();
        let refused = MemoryFile::received(copy, PAGE + 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::UnexpectedEof);
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(MemoryFile::received(file.into(), PAGE).is_err());
    }
}
