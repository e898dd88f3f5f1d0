//! One turn of the loop: receive once, act at once, send what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::Transmit;

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

/// What drives one core: whoever holds this (behind a lock) is the engine at the time.
pub(super) struct Driver<A> {
    pub(super) core: Core,
    pub(super) application: A,
    socket: Box<dyn Datagrams>,
    proofs: Arc<Proofs>,
    received: BytesMut,
    train: Vec<u8>,
    /// A train that the kernel had no room for.
    stalled: Option<(Transmit, Vec<u8>)>,
    /// The last flush stopped before the core had nothing left.
    unsent: bool,
    empty_polls: u32,
    /// The time of the last packet in or out.
    pub(super) last_traffic: Instant,
    /// The last time that was read from the clock.
    pub(super) now: Instant,
    /// What the background thread is about.
    pub(super) sleep: Sleep,
}

impl<A: Application> Driver<A> {
    pub(super) fn new(
        core: Core,
        application: A,
        socket: Box<dyn Datagrams>,
        proofs: Arc<Proofs>,
    ) -> Self {
        let now = Instant::now();
        Self {
            core,
            application,
            socket,
            proofs,
            received: receive_buffer(),
            train: Vec::with_capacity(RECEIVE_BUFFER),
            stalled: None,
            unsent: false,
            empty_polls: 0,
            last_traffic: now,
            now,
            sleep: Sleep::Awake,
        }
    }

    #[cfg(unix)]
    pub(super) fn descriptor(&self) -> std::os::fd::RawFd {
        self.socket.descriptor()
    }

    #[cfg(not(unix))]
    pub(super) fn descriptor(&self) {}

    /// One turn. Whether a packet came.
    pub(super) fn turn(&mut self) -> bool {
        if let Some(received) = self.socket.receive(&mut self.received) {
            self.now = Instant::now();
            self.last_traffic = self.now;
            self.empty_polls = 0;
            self.hand_in(received);
            self.application.poll(&mut self.core.io(self.now));
            self.act();
            return true;
        }
        self.empty_polls = self.empty_polls.wrapping_add(1);
        self.poll();
        if self.empty_polls.is_multiple_of(POLLS_PER_CLOCK) || self.unsent || self.stalled.is_some()
        {
            self.now = Instant::now();
            self.act();
        }
        false
    }

    /// As [`turn`](Self::turn), without the socket.
    #[inline]
    pub(super) fn glance(&mut self) {
        self.empty_polls = self.empty_polls.wrapping_add(1);
        if self.empty_polls.is_multiple_of(POLLS_PER_CLOCK) {
            // Whoever drives is marked with this time.
            self.now = Instant::now();
        }
        self.poll();
    }

    /// Lets the application look at its queues, and sends what it made of them.
    #[inline]
    fn poll(&mut self) {
        self.application.poll(&mut self.core.io(self.now));
        if self.core.is_dirty() {
            self.now = Instant::now();
            self.last_traffic = self.now;
            self.act();
        }
    }

    /// Hands the datagrams of one call to the core.
    fn hand_in(&mut self, received: Received) {
        // A long train is handed on with the memory it was received into; a short one would pin all of it.
        let mut batch = if received.len > RECEIVE_BUFFER / 4 {
            let mut train = std::mem::replace(&mut self.received, receive_buffer());
            train.truncate(received.len);
            train
        } else {
            BytesMut::from(&self.received[..received.len])
        };
        while !batch.is_empty() {
            let datagram = batch.split_to(received.stride.min(batch.len()));
            self.core
                .receive(self.now, received.source, received.local_ip, None, datagram);
        }
    }

    /// What is due, what the helper threads made, what the application is to hear; then sends.
    pub(super) fn act(&mut self) {
        while let Some(done) = self.proofs.done() {
            self.core.auth_done(self.now, done);
        }
        if self
            .core
            .deadline(self.application.deadline())
            .is_some_and(|at| at <= self.now)
        {
            self.core.handle_timeout(self.now, &mut self.application);
        }
        self.core.settle(self.now, &mut self.application);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(job) = self.core.poll_auth() {
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
            let Some(transmit) = self.core.transmit(self.now, segments, &mut self.train) else {
                return;
            };
            self.last_traffic = self.now;
            if self.socket.send(&transmit, &self.train) == Sent::Blocked {
                let bytes = std::mem::replace(&mut self.train, Vec::with_capacity(RECEIVE_BUFFER));
                self.stalled = Some((transmit, bytes));
                return;
            }
        }
        self.unsent = true;
    }

    /// Calls the application from outside of a turn, and sends what it wrote.
    pub(super) fn call<R>(&mut self, call: impl FnOnce(&mut A, &mut Io<'_>) -> R) -> R {
        self.now = Instant::now();
        let answer = call(&mut self.application, &mut self.core.io(self.now));
        self.act();
        answer
    }

    /// Begins a graceful close.
    pub(super) fn close(&mut self, grace: Duration) {
        self.now = Instant::now();
        self.core.close(self.now, grace, &mut self.application);
        self.act();
    }

    /// Whether it must go on without waiting.
    pub(super) fn is_pending(&self) -> bool {
        self.unsent || self.core.is_pending() || self.proofs.is_done()
    }

    /// Whether the kernel is to be asked again soon for room to send.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.core.deadline(self.application.deadline())
    }
}
