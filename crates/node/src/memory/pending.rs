//! Operations of one thread that are on their way, by the number that comes back with their completion.

use crate::memory::page::Name;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) remote: u32,
    /// The endpoint's number for it, to cancel it by.
    pub(super) number: u64,
}

/// A slab. How many may be in it is limited by the endpoint's own limit per node.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }

    #[inline]
    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        if let Some(at) = self.free.pop() {
            self.entries[at as usize] = Some(entry);
            return at;
        }
        self.entries.push(Some(entry));
        self.entries.len() as u32 - 1
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<Entry> {
        self.entries.get(at as usize).copied().flatten()
    }

    #[inline]
    pub(super) fn set_number(&mut self, at: u32, number: u64) {
        if let Some(Some(entry)) = self.entries.get_mut(at as usize) {
            entry.number = number;
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, at: u32) {
        if let Some(Some(_)) = self.entries.get(at as usize) {
            self.entries[at as usize] = None;
            self.free.push(at);
        }
    }

    /// Those that match. Looks at all of them: for what is given up.
    pub(super) fn filter(&self, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let entries = self.entries.iter().copied().flatten();
        entries.filter(|entry| which(entry)).collect()
    }
}
