//! The heartbeat that does not depend on event loops: the engine's housekeeping thread looks at what each loop answered.
//! What follows from an answer, or from none, is decided in `linkmesh_routing::heartbeat`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use linkmesh_routing::{Look, Watch};
use linkmesh_tables::epoch::Domain;

use crate::engine::{Engine, lock};

/// The housekeeping thread's bell, and what it is rung for. Shared by the engine and its threads.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    /// Start of the mesh's clock; `None` when the clock is moved by hand, and nobody keeps house.
    start: Option<Instant>,
    /// The thread is to end.
    ended: Mutex<bool>,
    alarm: Condvar,
    /// A sleeping loop was woken for a request since the last look.
    stirred: AtomicBool,
    /// Looks are seldom: the first sign of traffic rings.
    calm: AtomicBool,
}

impl Housekeeper {
    pub(crate) fn new(start: Option<Instant>) -> Self {
        Self {
            start,
            ended: Mutex::new(false),
            alarm: Condvar::new(),
            stirred: AtomicBool::new(false),
            calm: AtomicBool::new(true),
        }
    }

    /// Time on the mesh's clock, microseconds, where somebody keeps house.
    pub(crate) fn now(&self) -> Option<u64> {
        self.start.map(|start| start.elapsed().as_micros() as u64)
    }

    /// A sleeping loop was woken for something. Once per sleep of a loop: cold.
    pub(crate) fn stir(&self) {
        self.stirred.store(true, Ordering::SeqCst);
        // Nobody is woken while looks are frequent anyway.
        if self.calm.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Something with a deadline was added: look again how long to sleep.
    pub(crate) fn ring(&self) {
        // Taking the lock orders this notice after the thread's decision to sleep.
        drop(lock(&self.ended));
        self.alarm.notify_all();
    }

    pub(crate) fn end(&self) {
        *lock(&self.ended) = true;
        self.alarm.notify_all();
    }

    /// Sleeps until `due` is over or somebody rings. False: the thread is to end.
    pub(crate) fn sleep(&self, due: impl FnOnce() -> Duration) -> bool {
        let ended = lock(&self.ended);
        if *ended {
            return false;
        }
        let due = due();
        let (ended, _) = self
            .alarm
            .wait_timeout(ended, due)
            .unwrap_or_else(PoisonError::into_inner);
        !*ended
    }
}

impl Engine {
    /// Looks at every event loop, when that is due. When the next look is, microseconds.
    pub(crate) fn look_at_loops(&self, watch: &mut Watch) -> u64 {
        let keeper = &*self.housekeeper;
        let now_us = self.now();
        let stirred = keeper.stirred.swap(false, Ordering::SeqCst);
        if let Some(round) = watch.begin(now_us, stirred) {
            let mut lags = Vec::new();
            let reader = Domain::global().register();
            let guard = reader.pin();
            for peer in self.peers.load(&guard).iter().flatten() {
                if !peer.has_loop() {
                    continue;
                }
                let (pulse, seen) = (&peer.pulse, peer.seen());
                watch.saw(now_us, seen, pulse.is_asked());
                match pulse.look(now_us, seen, round) {
                    Look::Fine => {}
                    Look::Wake => peer.ping(),
                    Look::Blocked => self.loop_changed(peer),
                }
                if pulse.is_asked() && !pulse.is_blocked() {
                    watch.asked(now_us);
                }
                if let Some(lag_us) = pulse.lag_to_show() {
                    lags.push((peer.id, lag_us));
                }
            }
            if !lags.is_empty() {
                self.router.show_lags(&lags);
            }
        }
        keeper.calm.store(watch.is_calm(now_us), Ordering::SeqCst);
        // One that stirred before it could see the calm is not forgotten for a second.
        if keeper.stirred.load(Ordering::SeqCst) {
            return now_us;
        }
        watch.due_us()
    }

    /// A loop was found blocked, or has answered again.
    #[cold]
    pub(crate) fn loop_changed(&self, peer: &crate::peer::Peer) {
        self.router.loop_changed(peer.id, &peer.pulse, self.now());
        self.housekeeper.ring();
        self.wake_all();
    }
}
