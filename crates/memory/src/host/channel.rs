//! Requests and answers between two processes: a ring each way, and a bell for the side that sleeps.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    layout::{Direction, MappedRing},
    mapping::Mapping,
    ring::{Consumer, Corruption, Producer, PushError, RingMemory},
    socket::Socket,
};

/// Why a channel carries nothing any more, or not this frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelError {
    /// No room now: the peer has to read first. Nothing was written.
    Full,
    /// The frame would not fit an empty ring. Nothing was written.
    TooLong {
        /// Its length, bytes.
        length: usize,
        /// The longest that the ring takes, bytes.
        limit: usize,
    },
    /// The peer's process has ended or closed the channel. What it had published before can still be polled.
    PeerGone,
    /// The peer wrote what no honest peer writes. The channel is of no use any more.
    Broken(Corruption),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => PushError::Full.fmt(f),
            Self::TooLong { length, limit } => PushError::TooLong {
                length: *length,
                limit: *limit,
            }
            .fmt(f),
            Self::PeerGone => f.write_str("the peer's process is gone"),
            Self::Broken(what) => what.fmt(f),
        }
    }
}

impl std::error::Error for ChannelError {}

impl From<PushError> for ChannelError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full => Self::Full,
            PushError::TooLong { length, limit } => Self::TooLong { length, limit },
            PushError::Broken(what) => Self::Broken(what),
        }
    }
}

impl From<Corruption> for ChannelError {
    fn from(what: Corruption) -> Self {
        Self::Broken(what)
    }
}

/// What both halves and the watching thread share of one channel.
#[derive(Debug)]
pub(super) struct Bell {
    /// Our end; a message on it is a wake, its hang-up is the peer's end.
    pub(super) socket: Socket,
    /// Set by whoever notices first that the peer is gone.
    pub(super) peer_gone: Arc<AtomicBool>,
}

impl Bell {
    fn ring(&self) -> Result<(), ChannelError> {
        match self.socket.send(&[0], &[]) {
            Ok(()) => Ok(()),
            // Full of wakes: one more would change nothing.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(self.gone()),
        }
    }

    /// Takes the wakes that have come; false when the peer is gone. A peer that keeps ringing does not keep us here.
    pub(super) fn answer(&self) -> bool {
        let mut byte = [0; 16];
        for _ in 0..64 {
            match self.socket.receive(&mut byte) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(_) => {
                    self.gone();
                    return false;
                }
            }
        }
        true
    }

    fn gone(&self) -> ChannelError {
        // Relaxed: the word says only that the process is gone.
        self.peer_gone.store(true, Ordering::Relaxed);
        ChannelError::PeerGone
    }

    fn is_gone(&self) -> bool {
        self.peer_gone.load(Ordering::Relaxed)
    }
}

/// Both halves of a channel; each may go to a thread of its own.
#[derive(Debug)]
pub struct Channel {
    /// To the peer.
    pub sender: Sender,
    /// From the peer.
    pub receiver: Receiver,
}

impl Channel {
    pub(super) fn new(
        memory: Mapping,
        ring_bytes: u32,
        outgoing: Direction,
        bell: Arc<Bell>,
    ) -> Self {
        let memory = Arc::new(memory);
        let incoming = match outgoing {
            Direction::FromAcceptor => Direction::FromConnector,
            Direction::FromConnector => Direction::FromAcceptor,
        };
        let ring = |direction| MappedRing::new(Arc::clone(&memory), direction, ring_bytes);
        Self {
            sender: Sender {
                ring: Producer::new(ring(outgoing)),
                bell: Arc::clone(&bell),
            },
            receiver: Receiver {
                ring: Consumer::new(ring(incoming)),
                bell,
            },
        }
    }
}

/// The sending half.
#[derive(Debug)]
pub struct Sender {
    ring: Producer<MappedRing>,
    bell: Arc<Bell>,
}

impl Sender {
    /// Appends a frame; the peer sees it after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was written then.
    #[inline]
    pub fn push(&mut self, frame: &[u8]) -> Result<(), ChannelError> {
        if self.bell.is_gone() {
            return Err(ChannelError::PeerGone);
        }
        Ok(self.ring.push(frame)?)
    }

    /// Publishes all pushed frames at once and wakes the peer if it sleeps. About 6 ns, or one system call.
    ///
    /// # Errors
    /// [`ChannelError::PeerGone`]: whether the peer had read them is not known.
    #[inline]
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        if self.ring.publish() {
            return self.bell.ring();
        }
        Ok(())
    }

    /// [`push`](Self::push) and [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`ChannelError`].
    #[inline]
    pub fn send(&mut self, frame: &[u8]) -> Result<(), ChannelError> {
        self.push(frame)?;
        self.flush()
    }

    /// Publishes bytes that were written straight into [`memory`](Self::memory), up to `tail`, and answers the peer's
    /// position. For frames of another language; do not mix with [`push`](Self::push).
    ///
    /// # Errors
    /// [`ChannelError`]; [`ChannelError::Full`] when `tail` is not within the room.
    #[inline]
    pub fn commit(&mut self, tail: u32) -> Result<u32, ChannelError> {
        let (head, asleep) = self.ring.commit(tail)?;
        if asleep {
            self.bell.ring()?;
        }
        Ok(head)
    }

    /// The ring's bytes, valid while this half lives: address and length.
    pub fn memory(&self) -> (*mut u8, u32) {
        memory(self.ring.memory())
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver {
    ring: Consumer<MappedRing>,
    bell: Arc<Bell>,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There is something to poll.
    Frames,
    /// The time is over.
    TimedOut,
}

/// Empty looks between two `sched_yield`s: about half a microsecond. Without the yield three spinning threads on two
/// cores stand in each other's way; with one at each look a round trip costs twice as much.
const LOOKS_PER_YIELD: u32 = 32;

impl Receiver {
    /// How long to look for frames before sleeping, unless told otherwise. A wake costs 25–50 µs on either side, so a peer
    /// that answers within this never pays it.
    pub const SPIN: Duration = Duration::from_micros(200);

    /// Shows up to `limit` frames in order, each copied out of shared memory, and answers how many.
    ///
    /// # Errors
    /// [`ChannelError::Broken`]. Never `PeerGone`: what a peer published before its end is still shown.
    #[inline]
    pub fn poll(&mut self, limit: usize, show: impl FnMut(&[u8])) -> Result<usize, ChannelError> {
        Ok(self.ring.poll(limit, show)?)
    }

    /// Waits until there is something to poll, at most until `deadline`: looks for `spin`, then sleeps.
    ///
    /// # Errors
    /// [`ChannelError::PeerGone`] when the peer is gone and everything it published was polled; [`ChannelError::Broken`].
    pub fn wait(
        &mut self,
        spin: Duration,
        deadline: Option<Instant>,
    ) -> Result<Woken, ChannelError> {
        if self.ring.has_frames()? {
            return Ok(Woken::Frames);
        }
        let start = Instant::now();
        let sleep_at = start + spin;
        let mut now = start;
        while now < sleep_at {
            for _ in 0..LOOKS_PER_YIELD {
                if self.ring.has_frames()? {
                    return Ok(Woken::Frames);
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
            now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(Woken::TimedOut);
            }
        }
        loop {
            if !self.ring.arm()? {
                return Ok(Woken::Frames);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let rung = sleep(&self.bell.socket, left);
            self.ring.disarm();
            let alive = !rung || self.bell.answer();
            if self.ring.has_frames()? {
                return Ok(Woken::Frames);
            }
            if !alive || self.bell.is_gone() {
                return Err(ChannelError::PeerGone);
            }
            // Else a wake for frames that an earlier poll had taken, or a signal.
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Woken::TimedOut);
            }
        }
    }

    /// Says that this side will sleep and be woken by the host's thread. False: there are frames, poll first.
    ///
    /// # Errors
    /// [`ChannelError::Broken`].
    pub fn arm(&mut self) -> Result<bool, ChannelError> {
        Ok(self.ring.arm()?)
    }

    /// Says that this side is awake again.
    pub fn disarm(&mut self) {
        self.ring.disarm();
    }

    /// True once the peer's end was noticed, by any part of this process.
    pub fn is_peer_gone(&self) -> bool {
        self.bell.is_gone()
    }

    /// Where frames of another language lie: first unreleased position and the one after the last published byte. Do not
    /// mix with [`poll`](Self::poll).
    ///
    /// # Errors
    /// [`ChannelError::Broken`].
    #[inline]
    pub fn published(&mut self) -> Result<(u32, u32), ChannelError> {
        let tail = self.ring.published()?;
        Ok((self.ring.released(), tail))
    }

    /// Gives the bytes before `head` back; false, and nothing happens, unless they are published ones.
    #[inline]
    pub fn release(&mut self, head: u32) -> bool {
        self.ring.release(head)
    }

    /// The ring's bytes, valid while this half lives: address and length. The peer may change them at any time.
    pub fn memory(&self) -> (*mut u8, u32) {
        memory(self.ring.memory())
    }
}

fn memory(ring: &MappedRing) -> (*mut u8, u32) {
    (ring.as_ptr(), ring.capacity())
}

/// Sleeps until the bell rings or hangs up; false when the time is over or a signal came.
fn sleep(bell: &Socket, left: Option<Duration>) -> bool {
    let mut poll = libc::pollfd {
        fd: bell.raw(),
        events: libc::POLLIN,
        revents: 0,
    };
    let left = left.map(|left| libc::timespec {
        tv_sec: left.as_secs() as libc::time_t,
        tv_nsec: left.subsec_nanos().into(),
    });
    let timeout = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one entry that lives, a timeout that lives or none, the signal mask unchanged.
    (unsafe { libc::ppoll(&raw mut poll, 1, timeout, std::ptr::null()) }) > 0
}
