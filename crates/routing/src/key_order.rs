//! One after the other: of the requests to a service with one key, one at a time is with an instance or being retried.
//!
//! A *turn* is entered before the first attempt and left when its caller has an answer, whatever it is. Turns of one key
//! follow each other in the order in which they were entered, whichever threads of the process ask. A turn that ends
//! because its message was given up breaks the order: the next turn of the key is told so.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkmesh_registry::{RegistryError, Status};

use crate::hash::hash_key;
use crate::router::Router;
use crate::sync::{AtomicU64, Ordering};
use crate::waits::Grant;

/// Locks, so that threads with different keys seldom meet.
const SHARDS: usize = 16;
/// Requests that may wait for their turns, of all services.
const MAX_WAITING: usize = 65_536;
/// Keys in use in one shard.
const MAX_KEYS: usize = 16_384;
/// Keys of one shard that nobody uses and whose order is broken; the oldest is forgotten.
const MAX_BROKEN: usize = 4_096;

/// Longest key, of either kind: what callers give in characters, with room for UTF-8.
const MAX_KEY_BYTES: usize = 4_096;

/// Refuses a key before anything is kept of it.
pub(crate) fn check_key(field: &str, key: &[u8]) -> Result<(), RegistryError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(RegistryError::limit(field, MAX_KEY_BYTES, "bytes"));
    }
    Ok(())
}

/// A turn was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// Names the turn when it is left, and in its grant.
    pub id: u32,
    /// Others come first: the grant comes by [`Router::take_grants`].
    pub waits: bool,
    /// A message of the key that came before this one was given up. Of a turn that waits, the grant says it.
    pub broken: bool,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    id: u32,
    thread: u32,
    /// A message before this one was given up.
    broken: bool,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct Key {
    /// Whose turn it is.
    current: Option<Turn>,
    waiting: VecDeque<Turn>,
    /// A message after the last of `waiting` was given up: the next to come is told.
    broken: bool,
    /// Which entry of `Shard::broken` is about this key as it is now.
    unused_since: u64,
}

type Keys = HashMap<Arc<[u8]>, Key>;

#[derive(Debug, Default)]
struct Shard {
    /// By service.
    services: HashMap<u32, Keys>,
    keys: usize,
    /// Unused keys whose order is broken, oldest first; an entry whose number the key does not have is over.
    broken: VecDeque<(u64, u32, Arc<[u8]>)>,
    last: u64,
}

/// Whose turn it is, for every key.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder {
    shards: [Mutex<Shard>; SHARDS],
    waiting: AtomicUsize,
    /// Turns that ended with their message given up.
    broken: AtomicU64,
    /// Broken orders that were forgotten before the next message came.
    forgotten: AtomicU64,
}

impl Key {
    fn next(&mut self) -> Option<Turn> {
        self.current = self.waiting.pop_front();
        self.current
    }

    /// Whoever comes after `place` in the queue is told; after the last, whoever comes next.
    fn break_after(&mut self, place: usize) {
        match self.waiting.get_mut(place) {
            Some(turn) => turn.broken = true,
            None => self.broken = true,
        }
    }
}

impl Shard {
    /// The key is not used any more: forgotten, unless the next message has to be told something. How many orders were
    /// forgotten to make room.
    fn unused(&mut self, service: u32, name: &[u8]) -> u64 {
        let Some(keys) = self.services.get_mut(&service) else {
            return 0;
        };
        let Some(name) = keys.get_key_value(name).map(|(name, _)| Arc::clone(name)) else {
            return 0;
        };
        let Some(key) = keys.get_mut(&name) else {
            return 0;
        };
        if !key.broken {
            self.remove(service, &name);
            return 0;
        }
        self.last += 1;
        key.unused_since = self.last;
        self.broken.push_back((self.last, service, name));
        if self.broken.len() <= MAX_BROKEN {
            return 0;
        }
        let Some((since, service, name)) = self.broken.pop_front() else {
            return 0;
        };
        let over = self
            .services
            .get(&service)
            .and_then(|keys| keys.get(&name))
            .is_none_or(|key| key.current.is_some() || key.unused_since != since);
        if over {
            return 0;
        }
        self.remove(service, &name);
        1
    }

    fn remove(&mut self, service: u32, name: &[u8]) {
        let Some(keys) = self.services.get_mut(&service) else {
            return;
        };
        if keys.remove(name).is_some() {
            self.keys -= 1;
        }
        if keys.is_empty() {
            self.services.remove(&service);
        }
    }
}

impl KeyOrder {
    fn shard(&self, name: &[u8]) -> MutexGuard<'_, Shard> {
        // What a panic left behind is still consistent: each change is one push or one removal.
        self.shards[hash_key(name) as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        &self,
        service: u32,
        name: &[u8],
        thread: u32,
        id: u32,
        queue_limit: usize,
    ) -> Result<Entered, RegistryError> {
        let mut shard = self.shard(name);
        let shard = &mut *shard;
        let keys = shard.services.entry(service).or_default();
        if !keys.contains_key(name) {
            if shard.keys >= MAX_KEYS {
                if keys.is_empty() {
                    shard.services.remove(&service);
                }
                return Err(RegistryError::limit(
                    "key",
                    MAX_KEYS * SHARDS,
                    "different keys in use",
                ));
            }
            shard.keys += 1;
            keys.insert(Arc::from(name), Key::default());
        }
        let Some(key) = keys.get_mut(name) else {
            return Err(RegistryError::new(
                Status::Internal,
                "a key that was just added is gone",
            ));
        };
        if key.current.is_none() {
            let broken = std::mem::take(&mut key.broken);
            key.unused_since = 0;
            key.current = Some(Turn { id, thread, broken });
            return Ok(Entered {
                id,
                waits: false,
                broken,
            });
        }
        // Counted first, so that threads together do not pass the limit.
        let (limit, of) = if key.waiting.len() >= queue_limit {
            (queue_limit, "with this key")
        } else if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            (MAX_WAITING, "for their turns")
        } else {
            let broken = std::mem::take(&mut key.broken);
            key.waiting.push_back(Turn { id, thread, broken });
            return Ok(Entered {
                id,
                waits: true,
                broken: false,
            });
        };
        // This message is given up: those that come after it are told.
        key.broken = true;
        self.broken.fetch_add(1, Ordering::Relaxed);
        Err(RegistryError {
            field: Some("key".to_owned()),
            limit: Some(limit as f64),
            ..RegistryError::new(
                Status::QueueFull,
                format!("{limit} requests wait {of} already"),
            )
        })
    }

    /// The turn that begins by this, if one does. `None` also when there is no such turn: it was left before.
    fn leave(&self, service: u32, name: &[u8], id: u32, broken: bool) -> Option<Turn> {
        let mut shard = self.shard(name);
        let key = shard.services.get_mut(&service)?.get_mut(name)?;
        let next = if key.current.is_some_and(|turn| turn.id == id) {
            if broken {
                key.break_after(0);
            }
            key.next()
        } else {
            let place = key.waiting.iter().position(|turn| turn.id == id)?;
            let left = key.waiting.remove(place)?;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            if broken || left.broken {
                key.break_after(place);
            }
            if broken {
                self.broken.fetch_add(1, Ordering::Relaxed);
            }
            return None;
        };
        if broken {
            self.broken.fetch_add(1, Ordering::Relaxed);
        }
        if next.is_some() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        } else {
            let forgotten = shard.unused(service, name);
            self.forgotten.fetch_add(forgotten, Ordering::Relaxed);
        }
        next
    }

    /// The turns of a thread end, those under way as broken: nobody knows what became of their messages.
    fn thread_ended(&self, thread: u32) -> Vec<Turn> {
        let mut begun = Vec::new();
        for shard in &self.shards {
            let held: Vec<(u32, Arc<[u8]>, u32, bool)> = {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                let mut held = Vec::new();
                for (service, keys) in &shard.services {
                    for (name, key) in keys {
                        let mut note = |turn: &Turn, current| {
                            if turn.thread == thread {
                                held.push((*service, Arc::clone(name), turn.id, current));
                            }
                        };
                        // Those who wait leave first, so that none of them gets the turn.
                        key.waiting.iter().for_each(|turn| note(turn, false));
                        key.current.iter().for_each(|turn| note(turn, true));
                    }
                }
                held
            };
            for (service, name, id, current) in held {
                begun.extend(self.leave(service, &name, id, current));
            }
        }
        begun
    }

    /// Requests that wait for their turns, turns that broke an order, and breaks that were forgotten untold.
    pub(crate) fn figures(&self) -> (usize, u64, u64) {
        (
            self.waiting.load(Ordering::Relaxed),
            self.broken.load(Ordering::Relaxed),
            self.forgotten.load(Ordering::Relaxed),
        )
    }
}

impl Router {
    /// Enters the turn of `key` among the requests of one service, in the name of `thread`. At most the policy's
    /// `queue_limit` requests wait with one key, 65,536 in all; 262,144 keys are in use at once.
    ///
    /// # Errors
    /// `StaleHandle`; `QueueFull` or `LimitExceeded` with the limit; a key has at most 4,096 bytes. A request that is refused for the queue breaks the
    /// order, as one that is given up.
    pub fn order_enter(
        &self,
        guard: &linkmesh_tables::epoch::Guard<'_>,
        service: u32,
        key: &[u8],
        thread: u32,
    ) -> Result<Entered, RegistryError> {
        let membership = self
            .membership(guard, service)
            .ok_or_else(|| RegistryError::stale("service"))?;
        check_key("key", key)?;
        let limit = membership.policy.queue_limit as usize;
        self.key_order
            .enter(service, key, thread, self.next_parked_id(), limit)
    }

    /// Leaves a turn, or the queue for it. `broken`: its message was given up. The thread to wake: its turn has come, as
    /// a grant with ticket 0 says, whose instance is 1 when the order is broken. Does nothing the second time.
    pub fn order_leave(&self, service: u32, key: &[u8], id: u32, broken: bool) -> Option<u32> {
        let turn = self.key_order.leave(service, key, id, broken)?;
        self.queue()
            .answer(turn.thread, granted(turn.id, u32::from(turn.broken)));
        Some(turn.thread)
    }

    pub(crate) fn forget_turns(&self, thread: u32) {
        let begun = self.key_order.thread_ended(thread);
        let mut queue = self.queue();
        for turn in begun {
            queue.answer(turn.thread, granted(turn.id, u32::from(turn.broken)));
            queue.wake_later(turn.thread);
        }
    }

    /// Names something that waits and is no wait for a place: 31 bits, never 0.
    pub(crate) fn next_parked_id(&self) -> u32 {
        (self.parked.fetch_add(1, Ordering::Relaxed) % (i32::MAX as u64)) as u32 + 1
    }
}

/// The answer to somebody who waited for something else than a place.
pub(crate) fn granted(id: u32, note: u32) -> Grant {
    Grant {
        wait_id: id,
        result: Ok(0),
        retry_after_ms: 0,
        instance: note,
        thread: 0,
    }
}
