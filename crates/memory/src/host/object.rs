//! Memory that an exporter may share with processes of its host.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use super::mapping::{Mapping, MemoryFile, Seals};
use crate::region::Backing;

/// What peers may do with the memory; decided when it is made, because a seal holds for everybody and for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Peers read. Only the process that made it writes; the kernel refuses everybody else.
    Read,
    /// Peers read and write.
    ReadWrite,
}

/// A memory object of fixed length, mapped for as long as this value lives.
///
/// To be exported as `SharedRegion::new(Arc<SharedObject>, epoch)`. A descriptor of it shows all of it, and nothing else.
#[derive(Debug)]
pub struct SharedObject {
    file: MemoryFile,
    mapping: Mapping,
    len: usize,
    sharing: Sharing,
}

impl SharedObject {
    /// Longest memory object, bytes.
    pub const MAX_BYTES: usize = 1 << 36;

    /// `len` zero bytes, 1..=64 GiB. Pages are committed when they are touched.
    ///
    /// # Errors
    /// `InvalidInput` for a length out of range, else what the kernel says (out of memory, too many descriptors).
    pub fn create(len: usize, sharing: Sharing) -> io::Result<Self> {
        if !(1..=Self::MAX_BYTES).contains(&len) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a memory object of {len} bytes; 1..={} are possible",
                    Self::MAX_BYTES
                ),
            ));
        }
        let file = MemoryFile::create(c"linkmesh-region", len)?;
        // Before the seal: it refuses only what comes after it.
        let mapping = file.map(true)?;
        file.seal(match sharing {
            Sharing::Read => Seals::SIZE_AND_FUTURE_WRITES,
            Sharing::ReadWrite => Seals::SIZE,
        })?;
        Ok(Self {
            file,
            mapping,
            len,
            sharing,
        })
    }

    /// First byte, page-aligned. Others write at any time: access it by atomics only.
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.as_ptr()
    }

    /// Bytes asked for. The rest of the last page is shared too, and zero unless a peer wrote there.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What peers may do.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }
}

impl AsFd for SharedObject {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

// SAFETY: a mapping of constant length at a page's start, writable in this process, which lives as long as the value; it is
// accessed through atomics or, by other processes, from outside of Rust.
unsafe impl Backing for Arc<SharedObject> {
    const KIND: &'static str = "shared object";

    fn base(&self) -> *mut u8 {
        self.as_ptr()
    }

    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn shared_object(&self) -> Option<&Self> {
        Some(self)
    }
}
