//! The ledger of idempotency keys: what the first request with a key was answered, so that a repeat is answered alike.
//!
//! It is kept by the process that serves, for all of its threads together: a repeat that is picked to another instance
//! of the same process finds it. Results are bytes; what they mean is the caller's. Deliberately absent: disks. What a
//! process remembered goes with it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkmesh_registry::{RegistryError, Status};
use linkmesh_tables::epoch::Guard;

use crate::key_order::{check_key, granted};
use crate::policy::IdempotencyPolicy;
use crate::router::Router;

/// Repeats that may wait for one first request.
const MAX_JOINED: usize = 1_024;
/// What an entry costs beyond its key and result, about; counted, so that empty results are bounded, too.
const ENTRY_BYTES: usize = 128;

/// What a request with an idempotency key has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It is the first: run it, then [`Router::ledger_settle`] or [`Router::ledger_forget`] with this id.
    First(u32),
    /// The first is under way: a grant with this id and ticket 0 says that it has ended, then begin again.
    Joined(u32),
    /// The result is there: [`Router::ledger_result`].
    Settled,
}

#[derive(Debug)]
enum State {
    Running {
        id: u32,
        thread: u32,
        /// (id, thread) of each repeat that waits.
        joined: Vec<(u32, u32)>,
    },
    Settled(Arc<[u8]>),
}

#[derive(Debug)]
struct Entry {
    /// Which entry of `ServiceLedger::ages` is about this one as it is now.
    age: u64,
    state: State,
}

/// What is remembered of one service.
#[derive(Debug, Default)]
struct ServiceLedger {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// Oldest first: (number, since when, key). One whose number the entry does not have is over.
    ages: VecDeque<(u64, u64, Arc<[u8]>)>,
    last: u64,
    bytes: usize,
    running: usize,
    ttl_us: u64,
    figures: LedgerFigures,
}

/// Counts of one service.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LedgerFigures {
    /// Repeats that were answered from the ledger.
    pub(crate) hits: u64,
    /// Repeats that waited for a first request under way.
    pub(crate) joins: u64,
    /// Results that made room for others before their time was over.
    pub(crate) evictions: u64,
    /// Keys that are remembered now.
    pub(crate) entries: usize,
    /// What they take, bytes.
    pub(crate) bytes: usize,
}

/// By service.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<HashMap<u32, ServiceLedger>>);

type Waiters = Vec<(u32, u32)>;

impl ServiceLedger {
    fn note_age(&mut self, key: &Arc<[u8]>, now_us: u64) -> u64 {
        self.last += 1;
        self.ages.push_back((self.last, now_us, Arc::clone(key)));
        self.last
    }

    /// The oldest entry's number and time, after those that are over were dropped.
    fn oldest(&mut self) -> Option<(u64, Arc<[u8]>)> {
        loop {
            let (age, since_us, key) = self.ages.front()?;
            if self.entries.get(key).is_some_and(|entry| entry.age == *age) {
                return Some((*since_us, Arc::clone(key)));
            }
            self.ages.pop_front();
        }
    }

    fn remove(&mut self, key: &[u8]) -> Waiters {
        let Some((key, entry)) = self.entries.remove_entry(key) else {
            return Vec::new();
        };
        self.bytes -= ENTRY_BYTES + key.len();
        match entry.state {
            State::Running { joined, .. } => {
                self.running -= 1;
                joined
            }
            State::Settled(result) => {
                self.bytes -= result.len();
                Vec::new()
            }
        }
    }

    /// Forgets what is older than `ttl_us`. Repeats that waited for something so old begin again.
    fn expire(&mut self, now_us: u64, woken: &mut Waiters) {
        while let Some((since_us, key)) = self.oldest() {
            if now_us.saturating_sub(since_us) < self.ttl_us {
                return;
            }
            woken.extend(self.remove(&key));
        }
    }

    /// Removes the oldest results until there is room for `bytes` and `entries` more. Those that run stay: to forget them
    /// would be to run them twice.
    fn make_room(&mut self, policy: &IdempotencyPolicy, entries: usize, bytes: usize) -> bool {
        let fits = |ledger: &Self| {
            ledger.entries.len() + entries <= policy.max_entries as usize
                && ledger.bytes + bytes <= policy.max_bytes as usize
        };
        let mut passed = Vec::new();
        while !fits(self) && self.running < self.entries.len() {
            let Some((_, key)) = self.oldest() else { break };
            if matches!(
                self.entries.get(&key),
                Some(Entry {
                    state: State::Running { .. },
                    ..
                })
            ) {
                passed.extend(self.ages.pop_front());
                continue;
            }
            self.remove(&key);
            self.figures.evictions += 1;
        }
        // Oldest first, as they were.
        for age in passed.into_iter().rev() {
            self.ages.push_front(age);
        }
        fits(self)
    }

    /// `ages` keeps entries that are over until they are the oldest: bounded by looking through them now and then.
    fn compact(&mut self) {
        if self.ages.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.ages
                .retain(|(age, _, key)| entries.get(key).is_some_and(|entry| entry.age == *age));
        }
    }

    fn figures(&self) -> LedgerFigures {
        LedgerFigures {
            entries: self.entries.len(),
            bytes: self.bytes,
            ..self.figures
        }
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, ServiceLedger>> {
        // A panic in the middle may leave counts wrong, never a result: those are replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn figures(&self, service: u32) -> Option<LedgerFigures> {
        self.lock().get(&service).map(ServiceLedger::figures)
    }
}

impl Router {
    /// Asks what a request with an idempotency key has to do, in the name of `thread`. What is over by now is forgotten;
    /// the oldest result makes room.
    ///
    /// # Errors
    /// `StaleHandle`; `LimitExceeded` for a key of more than 4,096 bytes, or when all that is remembered is still under way; `QueueFull` when 1,024 repeats wait
    /// for the first.
    pub fn ledger_begin(
        &self,
        guard: &Guard<'_>,
        service: u32,
        key: &[u8],
        thread: u32,
        now_us: u64,
    ) -> Result<Begun, RegistryError> {
        let policy = self
            .membership(guard, service)
            .ok_or_else(|| RegistryError::stale("service"))?
            .policy
            .idempotency;
        check_key("idempotencyKey", key)?;
        let mut woken = Vec::new();
        let begun = {
            let mut ledgers = self.ledger.lock();
            let ledger = ledgers.entry(service).or_default();
            ledger.ttl_us = u64::from(policy.ttl_ms) * 1_000;
            ledger.expire(now_us, &mut woken);
            self.begin(ledger, &policy, key, thread, now_us)
        };
        self.wake_joined(woken);
        begun
    }

    fn begin(
        &self,
        ledger: &mut ServiceLedger,
        policy: &IdempotencyPolicy,
        key: &[u8],
        thread: u32,
        now_us: u64,
    ) -> Result<Begun, RegistryError> {
        match ledger.entries.get_mut(key).map(|entry| &mut entry.state) {
            Some(State::Settled(_)) => {
                ledger.figures.hits += 1;
                return Ok(Begun::Settled);
            }
            Some(State::Running { joined, .. }) => {
                if joined.len() >= MAX_JOINED {
                    return Err(RegistryError {
                        field: Some("idempotencyKey".to_owned()),
                        limit: Some(MAX_JOINED as f64),
                        ..RegistryError::new(
                            Status::QueueFull,
                            format!("{MAX_JOINED} repeats of this request wait for it already"),
                        )
                    });
                }
                let id = self.next_parked_id();
                joined.push((id, thread));
                ledger.figures.joins += 1;
                return Ok(Begun::Joined(id));
            }
            None => {}
        }
        let bytes = ENTRY_BYTES + key.len();
        if !ledger.make_room(policy, 1, bytes) {
            let full = ledger.entries.len() >= policy.max_entries as usize;
            let (field, limit, what) = if full {
                (
                    "policy.idempotency.maxEntries",
                    policy.max_entries,
                    "requests with idempotency keys under way",
                )
            } else {
                (
                    "policy.idempotency.maxBytes",
                    policy.max_bytes,
                    "bytes of idempotency keys under way",
                )
            };
            return Err(RegistryError::limit(field, limit as usize, what));
        }
        let id = self.next_parked_id();
        let key: Arc<[u8]> = Arc::from(key);
        let age = ledger.note_age(&key, now_us);
        let state = State::Running {
            id,
            thread,
            joined: Vec::new(),
        };
        ledger.entries.insert(key, Entry { age, state });
        ledger.bytes += bytes;
        ledger.running += 1;
        ledger.compact();
        Ok(Begun::First(id))
    }

    /// What the first request with this key was answered, while it is remembered.
    pub fn ledger_result(&self, service: u32, key: &[u8]) -> Option<Arc<[u8]>> {
        match &self.ledger.lock().get(&service)?.entries.get(key)?.state {
            State::Settled(result) => Some(Arc::clone(result)),
            State::Running { .. } => None,
        }
    }

    /// The first request has its answer; repeats that wait are told. The threads to wake. Does nothing for an entry that is
    /// not this request's any more.
    ///
    /// # Errors
    /// `LimitExceeded` when the result alone is larger than the ledger may be: settle with something smaller.
    pub fn ledger_settle(
        &self,
        guard: &Guard<'_>,
        service: u32,
        key: &[u8],
        id: u32,
        result: &[u8],
        now_us: u64,
    ) -> Result<Vec<u32>, RegistryError> {
        let policy = self
            .membership(guard, service)
            .map_or_else(IdempotencyPolicy::default, |membership| {
                membership.policy.idempotency
            });
        let mut ledgers = self.ledger.lock();
        let Some(ledger) = ledgers.get_mut(&service) else {
            return Ok(Vec::new());
        };
        let Some((key, entry)) = ledger.entries.get_key_value(key) else {
            return Ok(Vec::new());
        };
        if !matches!(entry.state, State::Running { id: running, .. } if running == id) {
            return Ok(Vec::new());
        }
        let key = Arc::clone(key);
        if result.len() + key.len() + ENTRY_BYTES > policy.max_bytes as usize
            || !ledger.make_room(&policy, 0, result.len())
        {
            return Err(too_large(&policy));
        }
        let age = ledger.note_age(&key, now_us);
        ledger.running -= 1;
        ledger.bytes += result.len();
        let Some(entry) = ledger.entries.get_mut(&key) else {
            return Ok(Vec::new());
        };
        entry.age = age;
        let state = std::mem::replace(&mut entry.state, State::Settled(Arc::from(result)));
        ledger.compact();
        drop(ledgers);
        Ok(match state {
            State::Running { joined, .. } => self.wake_joined(joined),
            State::Settled(_) => Vec::new(),
        })
    }

    /// The first request has no answer that should be remembered: the next with its key is a first again. The threads to
    /// wake.
    pub fn ledger_forget(&self, service: u32, key: &[u8], id: u32) -> Vec<u32> {
        let mut ledgers = self.ledger.lock();
        let Some(ledger) = ledgers.get_mut(&service) else {
            return Vec::new();
        };
        let mine = ledger.entries.get(key).is_some_and(
            |entry| matches!(entry.state, State::Running { id: running, .. } if running == id),
        );
        let joined = if mine { ledger.remove(key) } else { Vec::new() };
        drop(ledgers);
        self.wake_joined(joined)
    }

    /// What the threads of an ended thread had begun is forgotten: nobody knows how far it came, and nobody will say.
    pub(crate) fn forget_begun(&self, thread: u32) {
        let mut woken = Vec::new();
        {
            let mut ledgers = self.ledger.lock();
            for ledger in ledgers.values_mut() {
                let mut begun = Vec::new();
                for (key, entry) in &mut ledger.entries {
                    if let State::Running {
                        thread: runs_in,
                        joined,
                        ..
                    } = &mut entry.state
                    {
                        joined.retain(|(_, waits_in)| *waits_in != thread);
                        if *runs_in == thread {
                            begun.push(Arc::clone(key));
                        }
                    }
                }
                for key in begun {
                    woken.extend(ledger.remove(&key));
                }
            }
        }
        self.wake_joined(woken);
    }

    /// Forgets what is over, of services that nobody asks, too.
    pub(crate) fn expire_ledgers(&self, now_us: u64) {
        let mut woken = Vec::new();
        self.ledger.lock().retain(|_, ledger| {
            ledger.expire(now_us, &mut woken);
            ledger.compact();
            true
        });
        self.wake_joined(woken);
    }

    /// Forgets all of a service.
    pub(crate) fn drop_ledger(&self, service: u32) {
        let dropped = self.ledger.lock().remove(&service);
        let joined = dropped
            .into_iter()
            .flat_map(|ledger| ledger.entries.into_values())
            .flat_map(|entry| match entry.state {
                State::Running { joined, .. } => joined,
                State::Settled(_) => Vec::new(),
            });
        self.wake_joined(joined.collect());
    }

    /// In the order in which they came: ids grow.
    fn wake_joined(&self, mut joined: Waiters) -> Vec<u32> {
        if joined.is_empty() {
            return Vec::new();
        }
        joined.sort_unstable();
        let mut threads = Vec::new();
        let mut queue = self.queue();
        for (id, thread) in joined {
            queue.answer(thread, granted(id, 0));
            queue.wake_later(thread);
            if !threads.contains(&thread) {
                threads.push(thread);
            }
        }
        threads
    }
}

fn too_large(policy: &IdempotencyPolicy) -> RegistryError {
    RegistryError::limit(
        "policy.idempotency.maxBytes",
        policy.max_bytes as usize,
        "bytes of results",
    )
}
