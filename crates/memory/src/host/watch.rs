//! What the host's thread does: waits for sockets and deadlines, and acts on them.

use std::{
    io,
    os::fd::RawFd,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    channel::Bell,
    folder::Listener,
    handover::Message,
    link::Link,
    pending::{Established, Pending, Progress, Refusal},
    service::{Command, HostEvents, Session, Shared},
    socket::{MAX_MESSAGE, Socket},
};

/// Connections that have not proved anything yet; more are closed at once.
const MAX_PENDING: usize = 32;
/// Messages of one link that are taken before others have their turn.
const MESSAGES_PER_TURN: usize = 64;
/// How long the listener rests when the process is out of descriptors.
const REST: Duration = Duration::from_millis(100);

pub(super) struct Watch {
    shared: Arc<Shared>,
    events: Arc<dyn HostEvents>,
    listener: Listener,
    /// The listener is not polled until then.
    rests_until: Option<Instant>,
    bell: Socket,
    pending: Vec<Pending>,
    links: Vec<Watched>,
}

struct Watched {
    link: Arc<Link>,
    bell: Arc<Bell>,
}

impl Watch {
    pub(super) fn new(
        shared: Arc<Shared>,
        events: Arc<dyn HostEvents>,
        listener: Listener,
        bell: Socket,
    ) -> Self {
        Self {
            shared,
            events,
            listener,
            rests_until: None,
            bell,
            pending: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Until it is told to stop.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            let next = self.expire(now);
            let ready = self.sleep(next.map(|next| next.saturating_duration_since(now)));
            // Whatever woke us: taken before the commands are looked at, so that none is missed.
            while self.bell.receive(&mut [0; 8]).is_ok() {}
            for command in self.shared.commands() {
                match command {
                    Command::Join {
                        session,
                        invitation,
                        secret,
                    } => self.join(session, invitation.id, &invitation.path, secret),
                    Command::Unlink(session) => self.unlink(session),
                    Command::Stop => {
                        self.links.iter().for_each(Watched::end);
                        return;
                    }
                }
            }
            if ready.listener {
                self.accept();
            }
            if ready.pending {
                self.advance();
            }
            if ready.links {
                self.serve();
            }
        }
    }

    /// Sleeps until something is ready; says what kinds of things are.
    fn sleep(&self, timeout: Option<Duration>) -> Ready {
        let entry = |fd: RawFd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // A negative descriptor is left out by the kernel.
        let listener = if self.rests_until.is_some() {
            -1
        } else {
            self.listener.socket.raw()
        };
        let mut entries = vec![entry(self.bell.raw()), entry(listener)];
        entries.extend(
            self.pending
                .iter()
                .map(|pending| entry(pending.socket.raw())),
        );
        let links = entries.len();
        for watched in &self.links {
            entries.push(entry(watched.link.socket.raw()));
            if self.shared.options.answer_bells {
                entries.push(entry(watched.bell.socket.raw()));
            }
        }
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: entries and timeout live for the call; the signal mask stays.
        unsafe {
            libc::ppoll(
                entries.as_mut_ptr(),
                entries.len() as libc::nfds_t,
                timeout,
                std::ptr::null(),
            );
        }
        let any = |entries: &[libc::pollfd]| entries.iter().any(|entry| entry.revents != 0);
        Ready {
            listener: any(&entries[1..2]),
            pending: any(&entries[2..links]),
            links: any(&entries[links..]),
        }
    }

    /// Ends what was not done in time; answers when the next deadline is.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        self.rests_until = self.rests_until.filter(|until| *until > now);
        let (expired, mut next) = self.shared.expired(now);
        let late = self
            .pending
            .extract_if(.., |pending| pending.deadline <= now);
        let late: Vec<Session> = late.filter_map(|pending| pending.session()).collect();
        for session in expired.into_iter().chain(late) {
            self.events.refused(session, Refusal::TimedOut);
        }
        let deadlines = self.pending.iter().map(|pending| pending.deadline);
        for deadline in deadlines.chain(self.rests_until) {
            next = Some(next.map_or(deadline, |next| next.min(deadline)));
        }
        next
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared.options.handover_timeout
    }

    fn accept(&mut self) {
        loop {
            match self.listener.socket.accept() {
                Ok(socket) if self.pending.len() < MAX_PENDING => {
                    let deadline = self.deadline();
                    self.pending.push(Pending::accepted(socket, deadline));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.rests_until = Some(Instant::now() + REST);
                    return;
                }
            }
        }
    }

    fn join(&mut self, session: Session, id: [u8; 16], path: &std::path::Path, secret: [u8; 32]) {
        let begun = if self.pending.len() < MAX_PENDING {
            Socket::connect(path)
                .map_err(Refusal::Io)
                .and_then(|socket| Pending::connected(socket, self.deadline(), session, id, secret))
        } else {
            Err(Refusal::Io(io::ErrorKind::ResourceBusy.into()))
        };
        match begun {
            Ok(pending) => self.pending.push(pending),
            Err(why) => self.events.refused(session, why),
        }
    }

    fn advance(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let session = pending.session();
            match pending.advance(&*self.shared, self.shared.options.ring_bytes) {
                Ok(Progress::Waiting(pending)) => self.pending.push(pending),
                Ok(Progress::Linked(established)) => self.linked(established),
                // Of a connection without a session nobody has to know: the invitation stands.
                Err(why) => {
                    if let Some(session) = session {
                        self.events.refused(session, why);
                    }
                }
            }
        }
    }

    fn linked(&mut self, established: Established) {
        let Established {
            link,
            channel,
            bell,
        } = established;
        if self.links.len() >= self.shared.options.max_links {
            let full = io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("max_links: {} links stand", self.links.len()),
            );
            self.events.refused(link.session, Refusal::Io(full));
            return;
        }
        self.links.push(Watched {
            link: Arc::clone(&link),
            bell,
        });
        self.events.linked(&link, channel);
    }

    fn unlink(&mut self, session: Session) {
        self.pending
            .retain(|pending| pending.session() != Some(session));
        let of_session = |watched: &mut Watched| watched.link.session == session;
        let ended: Vec<Watched> = self.links.extract_if(.., of_session).collect();
        for watched in ended {
            watched.end();
            self.events.gone(&watched.link);
        }
    }

    /// Messages, wakes and hang-ups of all links.
    fn serve(&mut self) {
        let links = std::mem::take(&mut self.links);
        for watched in links {
            if self.shared.options.answer_bells && watched.answer() {
                self.events.woken(&watched.link);
            }
            if self.take_messages(&watched.link) {
                self.links.push(watched);
            } else {
                watched.end();
                self.events.gone(&watched.link);
            }
        }
    }

    /// False when the link is over.
    fn take_messages(&self, link: &Arc<Link>) -> bool {
        let mut bytes = [0; MAX_MESSAGE];
        for _ in 0..MESSAGES_PER_TURN {
            let received = match link.socket.receive(&mut bytes) {
                Ok(received) => received,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            };
            let message = Message::from_bytes(&bytes[..received.length]);
            let mut descriptors = received.descriptors.into_iter();
            let (Some(Message::Offer(offer)), Some(descriptor), None) =
                (message, descriptors.next(), descriptors.next())
            else {
                return false;
            };
            match link.accept(&offer, descriptor) {
                Ok(region) => self.events.offered(link, region),
                Err(error) => self.events.unmappable(link, offer.grant, error),
            }
        }
        true
    }
}

impl Watched {
    /// Takes the wakes; true when there was one.
    fn answer(&self) -> bool {
        self.bell.socket.is_readable() && self.bell.answer()
    }

    /// Whoever looks at this link from now on sees that it is over, in both processes.
    fn end(&self) {
        // Relaxed: says only that it is over.
        self.link.peer_gone.store(true, Ordering::Relaxed);
        self.link.own.close_all();
        self.link.socket.shut_down();
        self.bell.socket.shut_down();
    }
}

/// What `sleep` has found.
struct Ready {
    listener: bool,
    pending: bool,
    links: bool,
}
