//! The grants of one session, under the numbers that its client gave them.

use crate::region::Access;

/// Grants that one session may hold; handles are smaller than this.
pub const MAX_HANDLES: u16 = 4096;

/// The client named a handle that is not smaller than [`MAX_HANDLES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyHandles;

/// From a client's own 16-bit number to what the grant allows.
///
/// The numbers are the client's, in its own session: there is nothing in them to guess. Memory: 80 bytes a handle up to the
/// highest one in use.
#[derive(Debug, Default)]
pub struct HandleTable {
    entries: Vec<Option<Access>>,
}

impl HandleTable {
    /// What `handle` stands for.
    #[inline]
    pub fn get(&self, handle: u16) -> Option<&Access> {
        self.entries.get(usize::from(handle))?.as_ref()
    }

    /// `handle` stands for `access` from now on.
    ///
    /// # Errors
    /// [`TooManyHandles`].
    pub fn insert(&mut self, handle: u16, access: Access) -> Result<(), TooManyHandles> {
        if handle >= MAX_HANDLES {
            return Err(TooManyHandles);
        }
        let index = usize::from(handle);
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        self.entries[index] = Some(access);
        Ok(())
    }

    /// `handle` stands for nothing any more.
    pub fn remove(&mut self, handle: u16) {
        if let Some(entry) = self.entries.get_mut(usize::from(handle)) {
            *entry = None;
        }
        while self.entries.last().is_some_and(Option::is_none) {
            self.entries.pop();
        }
    }

    /// Handles and what they stand for.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Access)> {
        self.entries
            .iter()
            .zip(0..)
            .filter_map(|(entry, handle)| entry.as_ref().map(|access| (handle, access)))
    }
}
