//! What a region is made of: bytes at an address that never changes.

/// Memory that stays where it is for as long as the value lives.
///
/// # Safety
/// For the whole life of the value: [`base`](Self::base) returns the same pointer, aligned to 8; the first
/// [`length`](Self::length) bytes from it are valid for reads and writes through atomics by any thread; `length` never shrinks, and
/// a thread that reads a length also sees the bytes below it as valid. Nobody in Rust holds a reference into them.
pub unsafe trait Backing: Send + Sync {
    /// What `Debug` and metrics call this kind.
    const KIND: &'static str;

    /// Address of the first byte.
    fn base(&self) -> *mut u8;

    /// Bytes that may be accessed now.
    fn length(&self) -> u64;

    /// The memory object that these bytes are all of, if they lie in one.
    #[cfg(target_os = "linux")]
    fn shared_object(&self) -> Option<&std::sync::Arc<crate::host::SharedObject>> {
        None
    }
}
