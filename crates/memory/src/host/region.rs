//! A peer's region, mapped into this process.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
};

use super::{control::ControlView, mapping::Mapping};
use crate::region::{
    ATOMIC_ORDERING, AccessError, Rights, check_range, check_word,
    copy::{copy_in, copy_out},
};

/// Why an access to a [`MappedRegion`] did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappedError {
    /// As over the network: range, alignment, rights, expiry, revocation.
    Access(AccessError),
    /// The process that exported the memory is gone. Nothing was touched.
    PeerGone,
}

impl fmt::Display for MappedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(error) => error.fmt(f),
            Self::PeerGone => f.write_str("the process that exported the region is gone"),
        }
    }
}

impl std::error::Error for MappedError {}

impl From<AccessError> for MappedError {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

/// A granted region of another process of this host: a read is a load, an atomic one instruction.
///
/// The same promises as [`Region`](crate::region::Region): aligned words are never torn, 8-byte atomics are sequentially
/// consistent on the very words that the exporter and its JavaScript use. An atomic that answered was applied once: there is
/// nothing to resend.
///
/// # Revocation
/// Each access looks at the exporter's control word first, and a read looks again after it: a read never returns bytes of
/// after the revocation. A write or atomic that began before the revocation may land after it, later by no more than itself
/// takes; over the network the exporter would have waited for it. What a process does that has left these checks out:
/// see [the room's notes](super).
pub struct MappedRegion {
    memory: Mapping,
    control: Arc<ControlView>,
    slot: u16,
    /// What the slot says while the grant holds.
    word: u64,
    peer_gone: Arc<AtomicBool>,
    len: u64,
    rights: Rights,
    /// On the clock of [`coarse_ns`].
    expires_ns: u64,
    grant: [u8; 16],
}

/// What [`MappedRegion`] is made of.
pub(super) struct Parts {
    pub(super) memory: Mapping,
    pub(super) control: Arc<ControlView>,
    pub(super) slot: u16,
    pub(super) word: u64,
    pub(super) peer_gone: Arc<AtomicBool>,
    pub(super) len: u64,
    pub(super) rights: Rights,
    pub(super) lifetime_ns: Option<u64>,
    pub(super) grant: [u8; 16],
}

impl MappedRegion {
    pub(super) fn new(parts: Parts) -> Self {
        debug_assert!(parts.len <= parts.memory.len() as u64);
        Self {
            len: parts.len.min(parts.memory.len() as u64),
            memory: parts.memory,
            control: parts.control,
            slot: parts.slot,
            word: parts.word,
            peer_gone: parts.peer_gone,
            rights: parts.rights,
            expires_ns: parts
                .lifetime_ns
                .map_or(u64::MAX, |lifetime| coarse_ns().saturating_add(lifetime)),
            grant: parts.grant,
        }
    }

    /// The grant that opened it.
    pub fn grant(&self) -> &[u8; 16] {
        &self.grant
    }

    /// Bytes granted.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// What the grant allows.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Copies `target.len()` bytes from `offset`. 64 bytes cost about 10 ns.
    ///
    /// # Errors
    /// [`MappedError`]. When the grant ends while the copy runs, `target` has been written and means nothing.
    #[inline]
    pub fn read(&self, offset: u64, target: &mut [u8]) -> Result<(), MappedError> {
        self.check(Rights::READ)?;
        check_range(offset, target.len() as u64, self.len)?;
        fence(Ordering::Acquire);
        // SAFETY: inside the mapping by the check above and `len <= memory.len()`; the mapping lives as long as self.
        unsafe { copy_out(self.memory.as_ptr().add(offset as usize), target) };
        // Acquire: the look below is not done before the bytes were loaded.
        fence(Ordering::Acquire);
        if self.control.holds(self.slot, self.word) {
            Ok(())
        } else {
            Err(AccessError::Revoked.into())
        }
    }

    /// Copies `source` to `offset`.
    ///
    /// # Errors
    /// [`MappedError`]; nothing is written then.
    #[inline]
    pub fn write(&self, offset: u64, source: &[u8]) -> Result<(), MappedError> {
        self.check(Rights::WRITE)?;
        check_range(offset, source.len() as u64, self.len)?;
        fence(Ordering::Release);
        // SAFETY: inside the mapping by the check above and `len <= memory.len()`; it is mapped for writing, because
        // only then `rights` holds WRITE; it lives as long as self.
        unsafe { copy_in(source, self.memory.as_ptr().add(offset as usize)) };
        fence(Ordering::Release);
        Ok(())
    }

    /// Adds to the word at `offset`, wrapping, and answers what it was.
    ///
    /// # Errors
    /// [`MappedError`]; nothing is added then.
    #[inline]
    pub fn fetch_add(&self, offset: u64, operand: u64) -> Result<u64, MappedError> {
        self.check(Rights::ATOMIC)?;
        Ok(self.word(offset)?.fetch_add(operand, ATOMIC_ORDERING))
    }

    /// Sets the word at `offset` to `desired` if it is `expected`; answers what it was.
    ///
    /// # Errors
    /// [`MappedError`]; nothing is set then.
    #[inline]
    pub fn compare_swap(
        &self,
        offset: u64,
        expected: u64,
        desired: u64,
    ) -> Result<u64, MappedError> {
        self.check(Rights::ATOMIC)?;
        let word = self.word(offset)?;
        Ok(word
            .compare_exchange(expected, desired, ATOMIC_ORDERING, ATOMIC_ORDERING)
            .unwrap_or_else(|found| found))
    }

    /// Reads the word at `offset`.
    ///
    /// # Errors
    /// [`MappedError`].
    #[inline]
    pub fn load(&self, offset: u64) -> Result<u64, MappedError> {
        self.check(Rights::READ)?;
        Ok(self.word(offset)?.load(ATOMIC_ORDERING))
    }

    /// A read between two looks at an application's version word; see
    /// [`Region::read_versioned`](crate::region::Region::read_versioned).
    ///
    /// # Errors
    /// [`MappedError`].
    pub fn read_versioned(
        &self,
        offset: u64,
        target: &mut [u8],
        version: u64,
    ) -> Result<(u64, u64), MappedError> {
        let before = self.load(version)?;
        self.read(offset, target)?;
        Ok((before, self.load(version)?))
    }

    /// Rights, life of the grant and of the peer, in the order of [`Access::check`](crate::region::Access::check).
    #[inline]
    fn check(&self, needed: Rights) -> Result<(), MappedError> {
        if !self.control.holds(self.slot, self.word) {
            return Err(AccessError::Revoked.into());
        }
        if self.expires_ns != u64::MAX && coarse_ns() >= self.expires_ns {
            return Err(AccessError::Expired.into());
        }
        // Relaxed: says only that the process is gone; nothing is read on the strength of it.
        if self.peer_gone.load(Ordering::Relaxed) {
            return Err(MappedError::PeerGone);
        }
        if self.rights.contains(needed) {
            Ok(())
        } else {
            Err(AccessError::Rights.into())
        }
    }

    #[inline]
    fn word(&self, offset: u64) -> Result<&AtomicU64, AccessError> {
        check_word(offset, self.len)?;
        // SAFETY: an aligned word inside the mapping by the check above (the mapping itself is page-aligned); accessed
        // by atomics everywhere. Read-only mappings are only loaded from: see the rights before each use.
        Ok(unsafe { AtomicU64::from_ptr(self.memory.as_ptr().add(offset as usize).cast()) })
    }
}

impl fmt::Debug for MappedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedRegion")
            .field("len", &self.len)
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

/// Nanoseconds on a clock that only grows, in steps of a timer tick (1–10 ms): a few nanoseconds to read.
#[inline]
fn coarse_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is ours to be written. This clock exists on every Linux; on failure 0 stays.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
