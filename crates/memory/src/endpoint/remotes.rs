//! Numbers for imported regions that callers can hold.

/// An imported grant, as callers name it: 17 bits of slot, 14 of generation, so that a number held too long names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteId(pub u32);

const SLOT_BITS: u32 = 17;
const GENERATIONS: u32 = 1 << 14;

/// Imported grants that there may be at a time.
pub(super) const MAX_REMOTES: usize = 1 << SLOT_BITS;

#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    /// Place of the client of the exporting node.
    pub(super) client: u32,
    /// The client's number for the grant.
    pub(super) handle: u16,
}

#[derive(Debug, Default)]
pub(super) struct Remotes {
    slots: Vec<(u32, Option<Remote>)>,
    free: Vec<u32>,
}

impl Remotes {
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() == MAX_REMOTES
    }

    pub(super) fn insert(&mut self, remote: Remote) -> RemoteId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(remote);
        RemoteId(*generation << SLOT_BITS | slot)
    }

    #[inline]
    pub(super) fn get(&self, id: RemoteId) -> Option<Remote> {
        let (generation, remote) = self.slots.get((id.0 & ((1 << SLOT_BITS) - 1)) as usize)?;
        if *generation == id.0 >> SLOT_BITS {
            *remote
        } else {
            None
        }
    }

    pub(super) fn remove(&mut self, id: RemoteId) -> Option<Remote> {
        let remote = self.get(id)?;
        let slot = id.0 & ((1 << SLOT_BITS) - 1);
        let (generation, place) = &mut self.slots[slot as usize];
        *place = None;
        *generation = (*generation + 1) % GENERATIONS;
        self.free.push(slot);
        Some(remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_held_too_long_names_nothing() {
        let mut remotes = Remotes::default();
        let one = remotes.insert(Remote {
            client: 1,
            handle: 2,
        });
        assert_eq!(
            remotes
                .get(one)
                .map(|remote| (remote.client, remote.handle)),
            Some((1, 2))
        );
        assert!(remotes.remove(one).is_some() && remotes.remove(one).is_none());
        let other = remotes.insert(Remote {
            client: 3,
            handle: 4,
        });
        assert_ne!(one, other);
        assert!(remotes.get(one).is_none() && remotes.get(RemoteId(77)).is_none());
        assert!(other.0 < 1 << 31, "a small integer of V8");
    }
}
