//! Where the bytes go: a folder of files that are written in place and made durable on request.
//!
//! [`Disk`] is the real one, [`Memory`] is for journals without a folder. Tests bring one of their own that loses,
//! reorders and damages whatever was not synced.

mod disk;
mod memory;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use disk::Disk;
pub use memory::Memory;

/// A flat folder of files.
///
/// What an implementation promises: bytes are durable when [`StorageFile::sync`] has returned; a file that
/// [`create`](Self::create) or [`replace`](Self::replace) made is there after a crash once the call has returned.
/// Everything else may or may not be there, in any order.
pub trait Storage: Debug + Send + Sync + 'static {
    /// Names of all files.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Makes a file of `bytes` zeros whose blocks are all reserved, and makes its name durable. A file of that name
    /// is replaced.
    ///
    /// # Errors
    /// As the operating system says; `StorageFull` when there is no room for all of it.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>>;

    /// Puts a small file in the place of the one of that name, all or nothing.
    ///
    /// # Errors
    /// As the operating system says.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Removes a file; fine when there is none.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// What the device writes as one: a crash may spoil the whole of a block that was being written. A power of two,
    /// 8 to 4,096. What was acknowledged is never in a block that is written again.
    fn block(&self) -> u32;

    /// False when nothing outlives the process.
    fn durable(&self) -> bool;
}

/// An open file. Offsets are bytes from its start.
pub trait StorageFile: Debug + Send + Sync {
    /// Bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads until `into` is full or the file ends; how many bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As the operating system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything written before is durable.
    ///
    /// # Errors
    /// As the operating system says. Nothing may be concluded about any byte written since the last success.
    fn sync(&self) -> io::Result<()>;

    /// Nothing more will be written for now: what only writing needs is let go.
    fn rest(&self) {}
}
