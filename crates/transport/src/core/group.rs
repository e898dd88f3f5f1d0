//! Several engine threads under one application: a core for each, and the way from one to another.
//!
//! Packets are taken apart and put together by each thread on its own core, side by side. The application, with all it knows
//! (sessions, exports, lanes), is one: whichever core tells it of a peer, it is told alone, and through [`Io`](super::Io) it
//! reaches the peers of every core. So it does not matter on which thread a connection lands.
//!
//! # Locks
//! Whoever calls the application has locked it first, then the core that it speaks for, then for the length of a call the
//! core of another thread. Whoever drives its own core alone takes no second lock. So nobody waits in a circle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use super::authenticator::NodeId;
use super::limits::Limits;
use super::{Core, CoreOptions};

/// Attempts at a lock before the thread sleeps on it. Its holder lets go within a turn.
const ATTEMPTS: u32 = 2000;

/// Connections of each proved node, over all engine threads.
#[derive(Debug, Default)]
pub(super) struct PerNode(Mutex<HashMap<NodeId, u32>>);

impl PerNode {
    /// Counts one more, unless there are `most`.
    pub(super) fn enter(&self, node: NodeId, most: u32) -> bool {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = nodes.entry(node).or_default();
        let fits = *count < most;
        if fits {
            *count += 1;
        }
        fits
    }

    pub(super) fn leave(&self, node: &NodeId) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(node);
            }
        }
    }
}

/// The cores of one process that share an application.
pub struct Group {
    cores: Box<[Mutex<Core>]>,
    /// Ends the sleep of the thread with this number.
    wake: OnceLock<Box<dyn Fn(u8) + Send + Sync>>,
    /// Whose turn it is to dial.
    next_dial: AtomicU32,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Group")
            .field("cores", &self.cores.len())
            .finish_non_exhaustive()
    }
}

/// What one of several shards may hold of that which is limited for the whole process.
fn share(limits: &Limits, shards: u8) -> Limits {
    let part = |whole: usize| whole.div_ceil(shards.into());
    Limits {
        connections: part(limits.connections),
        handshakes: part(limits.handshakes),
        handshakes_per_second: limits.handshakes_per_second.div_ceil(shards.into()),
        dials: part(limits.dials),
        targets: part(limits.targets),
        ..limits.clone()
    }
}

impl Group {
    /// `shards` cores as `options` say, but for their number. Each has its share of the limits on connections, handshakes, dials
    /// and targets; those of one node are counted together.
    ///
    /// # Errors
    /// As [`Core::new`].
    pub fn new(options: &CoreOptions, shards: u8) -> Result<Arc<Self>, String> {
        options.limits.check().map_err(|error| error.to_string())?;
        let limits = share(&options.limits, shards);
        let cores: Result<Vec<Core>, String> = (0..shards)
            .map(|shard| {
                Core::new(&CoreOptions {
                    limits: limits.clone(),
                    shard: (shard, shards),
                    ..options.clone()
                })
            })
            .collect();
        let cores = cores?;
        let per_node = Arc::default();
        Ok(Arc::new_cyclic(|group| Self {
            cores: cores
                .into_iter()
                .map(|mut core| {
                    core.group = group.clone();
                    core.per_node = Arc::clone(&per_node);
                    Mutex::new(core)
                })
                .collect(),
            wake: OnceLock::new(),
            next_dial: AtomicU32::new(0),
        }))
    }

    /// What to call for a thread that sleeps while another one has left something for it. Once; until then nobody is woken.
    pub fn on_wake(&self, wake: impl Fn(u8) + Send + Sync + 'static) {
        // A second one would be a mistake of the engine's that changes nothing.
        let _ = self.wake.set(Box::new(wake));
    }

    /// The core of the thread `shard`, for as long as the guard lives. Not to be held while waiting for the application.
    ///
    /// # Panics
    /// When there is no such thread, or one panicked in the core: its state is not to be trusted any more.
    pub fn core(&self, shard: u8) -> MutexGuard<'_, Core> {
        patiently(&self.cores[usize::from(shard)])
    }

    /// Acts on the core of another thread than the one that has the application now, and has it look at what came of it.
    pub(super) fn elsewhere<R>(&self, shard: u8, act: impl FnOnce(&mut Core) -> R) -> Option<R> {
        let mut core = patiently(self.cores.get(usize::from(shard))?);
        let answer = act(&mut core);
        let asleep = std::mem::take(&mut core.asleep);
        drop(core);
        if asleep && let Some(wake) = self.wake.get() {
            wake(shard);
        }
        Some(answer)
    }

    /// Looks at the core of another thread.
    pub(super) fn look<R>(&self, shard: u8, look: impl FnOnce(&Core) -> R) -> Option<R> {
        Some(look(&patiently(self.cores.get(usize::from(shard))?)))
    }

    pub(super) fn shards(&self) -> u8 {
        self.cores.len() as u8
    }

    /// The thread that the next target belongs to: each in turn.
    pub(super) fn next_dial(&self) -> u8 {
        // Relaxed: any thread is as good.
        (self.next_dial.fetch_add(1, Ordering::Relaxed) % self.cores.len() as u32) as u8
    }
}

/// Takes a lock whose holders let go within a turn: by trying first, which costs no wake.
///
/// # Panics
/// When a thread has panicked with it.
pub(crate) fn patiently<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for attempt in 1..=ATTEMPTS {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(_)) => panic!("the application panicked on the engine"),
            Err(TryLockError::WouldBlock) if attempt % 16 == 0 => std::thread::yield_now(),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
    mutex
        .lock()
        .expect("the application panicked on the engine")
}
