//! One turn of the loop: receive once, act at once, send what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::Transmit;

use super::home::{Held, Home};
use super::proofs::Proofs;
use super::socket::{Datagrams, RECEIVE_BUFFER, Received, Sent};
use crate::core::{Application, Core, Io};

/// Empty polls between two looks at the clock. A poll is about 0.5 µs.
const POLLS_PER_CLOCK: u32 = 32;
/// Trains sent in one turn before the socket is looked at again.
const TRAINS_PER_TURN: usize = 16;

fn receive_buffer() -> BytesMut {
    BytesMut::zeroed(RECEIVE_BUFFER)
}

/// Whether the background thread sleeps, as far as packets and wakes let it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sleep {
    Awake,
    Until(Instant),
    Forever,
}

/// What a driver has outside of its core: the socket and the helper threads.
struct Outside {
    socket: Box<dyn Datagrams>,
    proofs: Arc<Proofs>,
    train: Vec<u8>,
    /// A train that the kernel had no room for.
    stalled: Option<(Transmit, Vec<u8>)>,
    /// The last flush stopped before the core had nothing left.
    unsent: bool,
    /// The time of the last packet in or out.
    last_traffic: Instant,
}

/// What drives one core: whoever holds this (behind a lock) is the engine at the time.
pub(super) struct Driver<A> {
    home: Home<A>,
    outside: Outside,
    received: BytesMut,
    empty_polls: u32,
    /// The last time that was read from the clock.
    pub(super) now: Instant,
    /// What the background thread is about.
    pub(super) sleep: Sleep,
}

impl Outside {
    fn flush(&mut self, now: Instant, core: &mut Core) {
        while let Some(job) = core.poll_auth() {
            self.proofs.submit(job);
        }
        if let Some((transmit, bytes)) = self.stalled.take()
            && self.socket.send(&transmit, &bytes) == Sent::Blocked
        {
            self.stalled = Some((transmit, bytes));
            return;
        }
        self.unsent = false;
        let segments = self.socket.segments();
        for _ in 0..TRAINS_PER_TURN {
            let Some(transmit) = core.transmit(now, segments, &mut self.train) else {
                return;
            };
            self.last_traffic = now;
            if self.socket.send(&transmit, &self.train) == Sent::Blocked {
                let bytes = std::mem::replace(&mut self.train, Vec::with_capacity(RECEIVE_BUFFER));
                self.stalled = Some((transmit, bytes));
                return;
            }
        }
        self.unsent = true;
    }

    /// What is due, what the helper threads made, what the application is to hear; then sends, without the application.
    #[inline]
    fn act<A: Application>(
        &mut self,
        now: Instant,
        mut core: Held<'_, Core>,
        mut application: Held<'_, A>,
    ) {
        {
            let (core, application) = (&mut *core, &mut *application);
            while let Some(done) = self.proofs.done() {
                core.auth_done(now, done);
            }
            if core
                .deadline(application.deadline())
                .is_some_and(|at| at <= now)
            {
                core.handle_timeout(now, application);
            }
            core.settle(now, application);
        }
        drop(application);
        self.flush(now, &mut core);
    }
}

impl<A: Application> Driver<A> {
    pub(super) fn new(home: Home<A>, socket: Box<dyn Datagrams>, proofs: Arc<Proofs>) -> Self {
        let now = Instant::now();
        Self {
            home,
            outside: Outside {
                socket,
                proofs,
                train: Vec::with_capacity(RECEIVE_BUFFER),
                stalled: None,
                unsent: false,
                last_traffic: now,
            },
            received: receive_buffer(),
            empty_polls: 0,
            now,
            sleep: Sleep::Awake,
        }
    }

    #[cfg(unix)]
    pub(super) fn descriptor(&self) -> std::os::fd::RawFd {
        self.outside.socket.descriptor()
    }

    #[cfg(not(unix))]
    pub(super) fn descriptor(&self) {}

    /// The application, to look at: what it may do with peers needs [`call`](Self::call).
    #[inline]
    pub(super) fn application(&mut self) -> Held<'_, A> {
        self.home.application()
    }

    pub(super) fn core(&mut self) -> Held<'_, Core> {
        self.home.core()
    }

    /// Whether other drivers tell the application of things, too.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.home.is_shared()
    }

    /// One turn. Whether a packet came.
    pub(super) fn turn(&mut self) -> bool {
        if let Some(received) = self.outside.socket.receive(&mut self.received) {
            self.now = Instant::now();
            self.outside.last_traffic = self.now;
            self.empty_polls = 0;
            self.hand_in(received);
            let (mut core, mut application) = self.home.both();
            application.poll(&mut core.io(self.now));
            self.outside.act(self.now, core, application);
            return true;
        }
        self.empty_polls = self.empty_polls.wrapping_add(1);
        self.poll();
        if self.is_clock_due() || self.outside.unsent || self.outside.stalled.is_some() {
            self.now = Instant::now();
            self.act();
        }
        false
    }

    /// Whether this empty poll is one in which the clock is read.
    #[inline]
    pub(super) fn is_clock_due(&self) -> bool {
        self.empty_polls.is_multiple_of(POLLS_PER_CLOCK)
    }

    /// As [`turn`](Self::turn), without the socket.
    #[inline]
    pub(super) fn glance(&mut self) {
        self.empty_polls = self.empty_polls.wrapping_add(1);
        if self.is_clock_due() {
            // Whoever drives is marked with this time.
            self.now = Instant::now();
        }
        self.poll();
    }

    /// Lets the application look at its queues, and sends what it made of them.
    #[inline]
    fn poll(&mut self) {
        let Some((mut core, mut application)) = self.home.try_both() else {
            return;
        };
        application.poll(&mut core.io(self.now));
        if core.is_dirty() {
            self.now = Instant::now();
            self.outside.last_traffic = self.now;
            self.outside.act(self.now, core, application);
        }
    }

    /// Hands the datagrams of one call to the core.
    fn hand_in(&mut self, received: Received) {
        // A long train is handed on with the memory it was received into; of a short one copying costs less than new memory does,
        // and it would pin all of it.
        let mut batch = if received.len > RECEIVE_BUFFER / 2 {
            let mut train = std::mem::replace(&mut self.received, receive_buffer());
            train.truncate(received.len);
            train
        } else {
            BytesMut::from(&self.received[..received.len])
        };
        let mut core = self.home.core();
        while !batch.is_empty() {
            let datagram = batch.split_to(received.stride.min(batch.len()));
            core.receive(self.now, received.source, received.local_ip, None, datagram);
        }
    }

    /// What is due, what the helper threads made, what the application is to hear; then sends.
    pub(super) fn act(&mut self) {
        let (core, application) = self.home.both();
        self.outside.act(self.now, core, application);
    }

    /// Calls the application from outside of a turn, and sends what it wrote.
    pub(super) fn call<R>(&mut self, call: impl FnOnce(&mut A, &mut Io<'_>) -> R) -> R {
        self.now = Instant::now();
        let (mut core, mut application) = self.home.both();
        let answer = call(&mut application, &mut core.io(self.now));
        self.outside.act(self.now, core, application);
        answer
    }

    /// Begins a graceful close.
    pub(super) fn close(&mut self, grace: Duration) {
        self.now = Instant::now();
        let (mut core, mut application) = self.home.both();
        core.close(self.now, grace, &mut *application);
        self.outside.act(self.now, core, application);
    }

    /// How long nothing has come or gone.
    pub(super) fn quiet_for(&self) -> Duration {
        self.now
            .saturating_duration_since(self.outside.last_traffic)
    }

    /// Nobody drives from now on until something wakes: another driver that leaves something in the core says so. Whether
    /// there is something to do without waiting after all, and when something is due.
    pub(super) fn sleeps(&mut self) -> (bool, Option<Instant>) {
        let (mut core, application) = self.home.both();
        let pending = core.sleeps() || self.outside.unsent || self.outside.proofs.is_done();
        (pending, core.deadline(application.deadline()))
    }

    /// Whether it must go on without waiting.
    pub(super) fn is_pending(&mut self) -> bool {
        self.outside.unsent || self.outside.proofs.is_done() || self.home.core().is_pending()
    }

    /// Whether the kernel is to be asked again soon for room to send.
    pub(super) fn is_stalled(&self) -> bool {
        self.outside.stalled.is_some()
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let (core, application) = self.home.both();
        core.deadline(application.deadline())
    }
}
