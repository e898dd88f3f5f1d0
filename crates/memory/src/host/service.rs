//! The thread that links this process with others of its host.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    channel::Channel,
    folder::{Listener, default_base, kernel_id, random},
    handover::{Invitation, InvitationId, KernelId, Secret},
    layout::{MAX_RING_BYTES, MIN_RING_BYTES, is_ring_size},
    link::Link,
    pending::Invitations,
    region::MappedRegion,
    socket::Socket,
    watch::Watch,
};

pub use super::pending::Refusal;

/// The caller's number of an authenticated session with one peer. Chosen by the caller, the same in all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session(pub u64);

/// What happens to links. Called on the host's thread, one at a time, without locks held; should return soon.
pub trait HostEvents: Send + Sync + 'static {
    /// Two processes are linked.
    fn linked(&self, link: &Arc<Link>, channel: Channel);
    /// The peer has offered a region. Drop it when nobody asked for its grant.
    fn offered(&self, link: &Arc<Link>, region: MappedRegion);
    /// The peer has offered a region that could not be mapped: its grant stays on QUIC.
    fn unmappable(&self, link: &Arc<Link>, grant: [u8; 16], error: io::Error);
    /// The peer has rung the bell of a receiver that slept (with [`HostOptions::answer_bells`]).
    fn woken(&self, link: &Arc<Link>);
    /// The peer's process has ended or unlinked. What it had published can still be polled.
    fn gone(&self, link: &Arc<Link>);
    /// A session will have no link: its peer stays on QUIC.
    fn refused(&self, session: Session, why: Refusal);
}

/// How a [`Host`] is set up.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Where the socket's folder is made; by default `$XDG_RUNTIME_DIR`, else the folder for temporary files.
    pub base: PathBuf,
    /// Bytes of each ring of a channel: a power of two, 4 KiB..=64 MiB. 1 MiB by default.
    pub ring_bytes: u32,
    /// Most links at a time. 256 by default; a link costs two descriptors and the pages of its rings that were touched.
    pub max_links: usize,
    /// How long the other side may take for its part. 2 s by default.
    pub handover_timeout: Duration,
    /// The host's thread answers the bells and reports [`HostEvents::woken`]: for receivers whose thread sleeps elsewhere
    /// than in [`Receiver::wait`](super::Receiver::wait), which must not be used then. Off by default.
    pub answer_bells: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            base: default_base(),
            ring_bytes: 1 << 20,
            max_links: 256,
            handover_timeout: Duration::from_secs(2),
            answer_bells: false,
        }
    }
}

/// Why this process cannot link with others, or not with this one.
#[derive(Debug)]
pub enum HostError {
    /// An option is out of its limits.
    Option {
        /// Its name.
        field: &'static str,
        /// What it may be.
        allowed: String,
    },
    /// The invitation was made under another kernel: the peer is on another host. Not a failure.
    OtherHost,
    /// The invitation is none.
    Malformed,
    /// Too many invitations are open.
    TooMany {
        /// How many may be.
        limit: usize,
    },
    /// A system call failed.
    Io(io::Error),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { field, allowed } => write!(f, "{field} must be {allowed}"),
            Self::OtherHost => f.write_str("the peer runs on another host"),
            Self::Malformed => f.write_str("that is no invitation"),
            Self::TooMany { limit } => write!(f, "{limit} invitations are open already"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for HostError {}

impl From<io::Error> for HostError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Invitations that may be open at a time.
const MAX_INVITATIONS: usize = 1024;

/// This process as others of its host can reach it. One per mesh; its thread ends with it.
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    kernel: KernelId,
    thread: Option<JoinHandle<()>>,
}

/// What the caller's threads and the host's share.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    pub(super) options: HostOptions,
    invitations: Mutex<HashMap<InvitationId, Open>>,
    commands: Mutex<Vec<Command>>,
    /// A message on it makes the thread look at the commands.
    bell: Socket,
}

struct Open {
    session: Session,
    secret: Secret,
    deadline: Instant,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No secrets.
        self.session.fmt(f)
    }
}

/// What the thread is asked to do.
pub(super) enum Command {
    Join {
        session: Session,
        invitation: Invitation,
        secret: Secret,
    },
    Unlink(Session),
    Stop,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join { session, .. } => write!(f, "Join({session:?})"),
            Self::Unlink(session) => write!(f, "Unlink({session:?})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

impl Host {
    /// Makes the owner-only folder with the socket, and the thread.
    ///
    /// # Errors
    /// [`HostError::Option`], [`HostError::Io`].
    pub fn open(options: HostOptions, events: Arc<dyn HostEvents>) -> Result<Self, HostError> {
        if !is_ring_size(options.ring_bytes) {
            return Err(HostError::Option {
                field: "ring_bytes",
                allowed: format!("a power of two in {MIN_RING_BYTES}..={MAX_RING_BYTES}"),
            });
        }
        if !(1..=4096).contains(&options.max_links) {
            return Err(HostError::Option {
                field: "max_links",
                allowed: "in 1..=4096".to_owned(),
            });
        }
        let kernel = kernel_id()?;
        let listener = Listener::open(&options.base)?;
        let (bell, other_end) = Socket::pair()?;
        let shared = Arc::new(Shared {
            path: listener.path().to_owned(),
            options,
            invitations: Mutex::default(),
            commands: Mutex::default(),
            bell,
        });
        let watch = Watch::new(Arc::clone(&shared), events, listener, other_end);
        let thread = std::thread::Builder::new()
            .name("linkmesh-host".to_owned())
            .spawn(move || watch.run())?;
        Ok(Self {
            shared,
            kernel,
            thread: Some(thread),
        })
    }

    /// Invites the peer of an authenticated session; the answer is for it alone, over that session. `secret`: 32 bytes that
    /// the two know and nobody else does, such as keying material that TLS exports. The invitation holds once and for
    /// [`HostOptions::handover_timeout`]; then [`HostEvents::refused`] says so.
    ///
    /// # Errors
    /// [`HostError::TooMany`], [`HostError::Io`].
    pub fn invite(&self, session: Session, secret: Secret) -> Result<Vec<u8>, HostError> {
        let id = random()?;
        {
            let mut invitations = lock(&self.shared.invitations);
            if invitations.len() >= MAX_INVITATIONS {
                return Err(HostError::TooMany {
                    limit: MAX_INVITATIONS,
                });
            }
            let deadline = Instant::now() + self.shared.options.handover_timeout;
            invitations.insert(
                id,
                Open {
                    session,
                    secret,
                    deadline,
                },
            );
        }
        // The thread has to know the deadline.
        self.shared.ring();
        let invitation = Invitation {
            kernel: self.kernel,
            id,
            path: self.shared.path.clone(),
        };
        Ok(invitation.to_bytes())
    }

    /// Follows an invitation that came over the session. What becomes of it, [`HostEvents`] says.
    ///
    /// # Errors
    /// [`HostError::OtherHost`], [`HostError::Malformed`]; no event follows then.
    pub fn join(
        &self,
        session: Session,
        invitation: &[u8],
        secret: Secret,
    ) -> Result<(), HostError> {
        let invitation = Invitation::from_bytes(invitation).ok_or(HostError::Malformed)?;
        if invitation.kernel != self.kernel {
            return Err(HostError::OtherHost);
        }
        self.shared.command(Command::Join {
            session,
            invitation,
            secret,
        });
        Ok(())
    }

    /// Ends the link and the open invitations of a session, and all grants that went over the link. The peer notices.
    pub fn unlink(&self, session: Session) {
        lock(&self.shared.invitations).retain(|_, open| open.session != session);
        self.shared.command(Command::Unlink(session));
    }

    /// Where this process listens.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.command(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic in an event handler was reported by its own message.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn command(&self, command: Command) {
        lock(&self.commands).push(command);
        self.ring();
    }

    fn ring(&self) {
        // Fails when the thread is gone, or is being told already.
        let _ = self.bell.send(&[0], &[]);
    }

    pub(super) fn commands(&self) -> Vec<Command> {
        std::mem::take(&mut *lock(&self.commands))
    }

    /// Removes invitations that nobody has followed; answers their sessions and when the next one is due.
    pub(super) fn expired(&self, now: Instant) -> (Vec<Session>, Option<Instant>) {
        let mut over = Vec::new();
        let mut invitations = lock(&self.invitations);
        invitations.retain(|_, open| {
            if open.deadline <= now {
                over.push(open.session);
            }
            open.deadline > now
        });
        let next = invitations.values().map(|open| open.deadline).min();
        (over, next)
    }
}

impl Invitations for Shared {
    fn secret(&self, id: &InvitationId) -> Option<Secret> {
        lock(&self.invitations).get(id).map(|open| open.secret)
    }

    fn take(&self, id: &InvitationId) -> Option<Session> {
        lock(&self.invitations).remove(id).map(|open| open.session)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after each statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
