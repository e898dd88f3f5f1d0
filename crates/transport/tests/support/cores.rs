//! The cores of one simulated node: one, or one for each of its engine threads, which a packet finds as the kernel would.

use std::ops::DerefMut;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use linkmesh_transport::core::{Core, CoreOptions, CoreStats, Group};

/// The cores of one node.
pub enum Cores {
    One(Box<Mutex<Core>>),
    Several(Arc<Group>, u8),
}

impl Cores {
    pub fn new(options: &CoreOptions, shards: u8) -> Self {
        if shards == 1 {
            Self::One(Box::new(Mutex::new(Core::new(options).unwrap())))
        } else {
            Self::Several(Group::new(options, shards).unwrap(), shards)
        }
    }

    pub fn shards(&self) -> u8 {
        match self {
            Self::One(_) => 1,
            Self::Several(_, shards) => *shards,
        }
    }

    pub fn shard(&self, shard: u8) -> MutexGuard<'_, Core> {
        match self {
            Self::One(core) => core.lock().unwrap(),
            Self::Several(group, _) => group.core(shard),
        }
    }

    /// Whom the kernel's filter would give a datagram to: by the first byte of the destination connection id (RFC 8999 §5).
    pub fn steer(&self, datagram: &[u8]) -> u8 {
        let long = datagram.first().is_some_and(|first| first & 0x80 != 0);
        let byte = datagram.get(if long { 6 } else { 1 });
        byte.map_or(0, |byte| byte % self.shards())
    }

    fn all(&self) -> impl Iterator<Item = impl DerefMut<Target = Core> + '_> {
        (0..self.shards()).map(|shard| self.shard(shard))
    }

    /// What they have counted together.
    pub fn stats(&self) -> CoreStats {
        self.all().fold(CoreStats::default(), |mut sum, core| {
            sum += core.stats();
            sum
        })
    }

    pub fn is_closed(&self) -> bool {
        self.all().all(|core| core.is_closed())
    }

    /// Whether one has left something to send or to do in another.
    pub fn is_dirty(&self) -> bool {
        self.all().any(|core| core.is_dirty())
    }

    /// When the next of them is due.
    pub fn deadline(&self, now: Instant, application: Option<Instant>) -> Option<Instant> {
        let due = |core: &Core| {
            let pending = core.is_pending().then_some(now);
            [core.deadline(application), pending]
                .into_iter()
                .flatten()
                .min()
        };
        self.all().filter_map(|core| due(&core)).min()
    }
}
