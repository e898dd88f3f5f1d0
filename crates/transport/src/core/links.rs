//! The table of connections: slots with generations, found by slot or by quinn-proto's handle.

use quinn_proto::ConnectionHandle;

use super::link::Link;
use super::peer::PeerSlot;
use super::shard::ShardBits;

#[derive(Debug, Default)]
struct Entry {
    generation: u32,
    link: Option<Box<Link>>,
}

/// All connections of an engine, and which of them have something to do at the end of this turn.
///
/// An index is the place in the table and, in its low bits, the shard: so indexes stay dense, and each names one connection
/// of all shards.
#[derive(Debug)]
pub(super) struct Links {
    shard: ShardBits,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// quinn-proto's handles are dense: an array finds their slots.
    by_handle: Vec<u32>,
    /// Indexes whose `dirty` flag is set, in order, each once.
    dirty: Vec<u32>,
    len: usize,
}

impl Links {
    pub(super) fn new(shard: ShardBits) -> Self {
        Self {
            shard,
            entries: Vec::new(),
            free: Vec::new(),
            by_handle: Vec::new(),
            dirty: Vec::new(),
            len: 0,
        }
    }

    #[inline]
    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(self.shard.place(index) as usize)
    }

    #[inline]
    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(self.shard.place(index) as usize)
    }

    /// Connections in any state.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot that the next `insert` gives.
    pub(super) fn vacant(&mut self) -> PeerSlot {
        let index = if let Some(&index) = self.free.last() {
            index
        } else {
            let index = self.shard.number(self.entries.len() as u64) as u32;
            self.entries.push(Entry::default());
            self.free.push(index);
            index
        };
        let generation = self.entry(index).map_or(0, |entry| entry.generation);
        PeerSlot { index, generation }
    }

    /// Stores a link made for the slot that `vacant` gave.
    pub(super) fn insert(&mut self, link: Box<Link>) {
        let slot = link.slot;
        let popped = self.free.pop();
        debug_assert_eq!(popped, Some(slot.index));
        let handle = link.handle.0;
        if self.by_handle.len() <= handle {
            self.by_handle.resize(handle + 1, u32::MAX);
        }
        self.by_handle[handle] = slot.index;
        if let Some(entry) = self.entry_mut(slot.index) {
            entry.link = Some(link);
            self.len += 1;
        }
        self.mark(slot.index);
    }

    /// Takes a link out. Its slot is not valid any more.
    pub(super) fn remove(&mut self, index: u32) -> Option<Box<Link>> {
        let entry = self.entry_mut(index)?;
        let link = entry.link.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        // quinn-proto frees a handle before the application is told: what it dialled then may have the handle already.
        if let Some(known) = self.by_handle.get_mut(link.handle.0)
            && *known == index
        {
            *known = u32::MAX;
        }
        self.free.push(index);
        self.len -= 1;
        Some(link)
    }

    pub(super) fn by_handle(&self, handle: ConnectionHandle) -> Option<u32> {
        self.by_handle
            .get(handle.0)
            .copied()
            .filter(|&index| index != u32::MAX)
    }

    pub(super) fn get(&self, slot: PeerSlot) -> Option<&Link> {
        if !self.shard.owns(slot.index.into()) {
            return None;
        }
        let entry = self.entry(slot.index)?;
        entry
            .link
            .as_deref()
            .filter(|_| entry.generation == slot.generation)
    }

    pub(super) fn get_mut(&mut self, slot: PeerSlot) -> Option<&mut Link> {
        if !self.shard.owns(slot.index.into()) {
            return None;
        }
        let entry = self.entry_mut(slot.index)?;
        let generation = entry.generation;
        entry
            .link
            .as_deref_mut()
            .filter(|_| generation == slot.generation)
    }

    pub(super) fn at(&mut self, index: u32) -> Option<&mut Link> {
        self.entry_mut(index)?.link.as_deref_mut()
    }

    /// As `get_mut`, and the link is served at the end of the turn.
    pub(super) fn touch(&mut self, slot: PeerSlot) -> Option<&mut Link> {
        self.get(slot)?;
        self.mark(slot.index);
        self.get_mut(slot)
    }

    /// Has a link served at the end of the turn.
    pub(super) fn mark(&mut self, index: u32) {
        if let Some(link) = self.at(index)
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(index);
        }
    }

    /// The `position`-th of the links to be served.
    pub(super) fn dirty(&self, position: usize) -> Option<u32> {
        self.dirty.get(position).copied()
    }

    /// The first link to be served.
    pub(super) fn first_dirty(&self) -> Option<u32> {
        self.dirty.first().copied()
    }

    /// The first link to be served has been: it is taken off the list.
    pub(super) fn clean_first(&mut self) {
        // The list holds one or two entries on the hot path, and thousands only when thousands have timed out at once.
        let index = self.dirty.swap_remove(0);
        if let Some(link) = self.at(index) {
            link.dirty = false;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.entries
            .iter()
            .filter_map(|entry| entry.link.as_deref())
    }

    /// The indexes of all links, for a walk that changes them.
    pub(super) fn indexes(&self) -> Vec<u32> {
        self.iter().map(|link| link.slot.index).collect()
    }
}
