//! A link that does not stand yet: three messages, and who may send which.

use std::{
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use super::{
    channel::{Bell, Channel},
    control::{ControlPage, ControlView},
    folder::{random, user},
    handover::{InvitationId, Message, Proof, Secret},
    layout::{Direction, channel_bytes, is_ring_size},
    link::Link,
    mapping::{MemoryFile, Seals},
    service::Session,
    socket::{Credentials, MAX_MESSAGE, Socket},
};

/// Why two processes did not link up. Nothing is lost: QUIC carries on.
#[derive(Debug)]
pub enum Refusal {
    /// The other side did not answer, or did not come, in time.
    TimedOut,
    /// The other side runs as another user.
    OtherUser {
        /// That user.
        user: u32,
    },
    /// The other side does not hold the secret, or is another process than the one that holds it.
    Proof,
    /// The other side sent what the handover does not have.
    Protocol,
    /// A system call failed: no such socket (another container?), out of memory or descriptors.
    Io(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the other process did not answer in time"),
            Self::OtherUser { user } => write!(f, "the other process runs as user {user}"),
            Self::Proof => f.write_str("the other process has not proved that it is the peer"),
            Self::Protocol => f.write_str("the other process does not speak the handover"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A finished handover.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) link: Arc<Link>,
    pub(super) channel: Channel,
    pub(super) bell: Arc<Bell>,
}

/// A connection on its way to be a link.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) socket: Socket,
    pub(super) deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// Somebody has connected.
    Accepted,
    /// We have proved that we were invited.
    Joining {
        session: Session,
        id: InvitationId,
        nonce: [u8; 16],
        secret: Secret,
    },
    /// We have handed over our part.
    HandedOver {
        session: Session,
        own: ControlPage,
        memory: MemoryFile,
        ring_bytes: u32,
        bell: Socket,
    },
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No secrets.
        f.write_str(match self {
            Self::Accepted => "Accepted",
            Self::Joining { .. } => "Joining",
            Self::HandedOver { .. } => "HandedOver",
        })
    }
}

/// The invitations of this process. Taken out when a proof fits.
pub(super) trait Invitations {
    /// The secret of an invitation.
    fn secret(&self, id: &InvitationId) -> Option<Secret>;
    /// Ends an invitation because it was used; `None` when another connection was faster.
    fn take(&self, id: &InvitationId) -> Option<Session>;
}

impl Pending {
    /// The side that invited: somebody has connected.
    pub(super) fn accepted(socket: Socket, deadline: Instant) -> Self {
        Self {
            socket,
            deadline,
            stage: Stage::Accepted,
        }
    }

    /// The side that was invited: says so.
    pub(super) fn connected(
        socket: Socket,
        deadline: Instant,
        session: Session,
        id: InvitationId,
        secret: Secret,
    ) -> Result<Self, Refusal> {
        let nonce = random()?;
        let proof = Proof::of_connector(&secret, &id, &nonce, std::process::id());
        same_user(&socket)?;
        let message = Message::Connect { id, nonce, proof };
        socket.send(&message.to_bytes(), &[])?;
        let stage = Stage::Joining {
            session,
            id,
            nonce,
            secret,
        };
        Ok(Self {
            socket,
            deadline,
            stage,
        })
    }

    /// Whose link this is to be, once it is known.
    pub(super) fn session(&self) -> Option<Session> {
        match self.stage {
            Stage::Accepted => None,
            Stage::Joining { session, .. } | Stage::HandedOver { session, .. } => Some(session),
        }
    }

    /// Takes the next message, if it is there.
    pub(super) fn advance(
        mut self,
        invitations: &impl Invitations,
        ring_bytes: u32,
    ) -> Result<Progress, Refusal> {
        let mut bytes = [0; MAX_MESSAGE];
        let received = match self.socket.receive(&mut bytes) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Progress::Waiting(self));
            }
            Err(error) => return Err(error.into()),
        };
        let message = Message::from_bytes(&bytes[..received.length]).ok_or(Refusal::Protocol)?;
        match (self.stage, message) {
            (Stage::Accepted, Message::Connect { id, nonce, proof }) => {
                let peer = same_user(&self.socket)?;
                let secret = invitations.secret(&id).ok_or(Refusal::Proof)?;
                if !proof.is(&Proof::of_connector(&secret, &id, &nonce, peer.process)) {
                    return Err(Refusal::Proof);
                }
                let session = invitations.take(&id).ok_or(Refusal::Proof)?;
                let proof =
                    Proof::of_acceptor(&secret, &id, &nonce, std::process::id(), ring_bytes);
                self.stage = hand_over(&self.socket, session, ring_bytes, proof)?;
                Ok(Progress::Waiting(self))
            }
            (
                Stage::Joining {
                    session,
                    id,
                    nonce,
                    secret,
                },
                Message::Accept { ring_bytes, proof },
            ) => {
                let peer = same_user(&self.socket)?;
                let expected = Proof::of_acceptor(&secret, &id, &nonce, peer.process, ring_bytes);
                // Before any descriptor is used.
                if !proof.is(&expected) {
                    return Err(Refusal::Proof);
                }
                let [memory, bell, theirs]: [OwnedFd; 3] = received
                    .descriptors
                    .try_into()
                    .map_err(|_| Refusal::Protocol)?;
                if !is_ring_size(ring_bytes) {
                    return Err(Refusal::Protocol);
                }
                let memory = MemoryFile::received(memory, channel_bytes(ring_bytes))?;
                let own = ControlPage::create()?;
                self.socket
                    .send(&Message::Confirm.to_bytes(), &[own.as_fd()])?;
                establish(Parts {
                    session,
                    peer,
                    socket: self.socket,
                    own,
                    theirs,
                    memory,
                    ring_bytes,
                    outgoing: Direction::FromConnector,
                    bell: Socket::received(bell),
                })
            }
            (
                Stage::HandedOver {
                    session,
                    own,
                    memory,
                    ring_bytes,
                    bell,
                },
                Message::Confirm,
            ) => {
                let [theirs]: [OwnedFd; 1] = received
                    .descriptors
                    .try_into()
                    .map_err(|_| Refusal::Protocol)?;
                establish(Parts {
                    session,
                    peer: same_user(&self.socket)?,
                    socket: self.socket,
                    own,
                    theirs,
                    memory,
                    ring_bytes,
                    outgoing: Direction::FromAcceptor,
                    bell,
                })
            }
            _ => Err(Refusal::Protocol),
        }
    }
}

/// What a message led to.
#[derive(Debug)]
pub(super) enum Progress {
    Waiting(Pending),
    Linked(Established),
}

/// Makes the shared memory and gives the connector its part.
fn hand_over(
    socket: &Socket,
    session: Session,
    ring_bytes: u32,
    proof: Proof,
) -> Result<Stage, Refusal> {
    let memory = MemoryFile::create(c"linkmesh-channel", channel_bytes(ring_bytes))?;
    memory.seal(Seals::SIZE)?;
    let own = ControlPage::create()?;
    let (bell, other_end) = Socket::pair()?;
    socket.send(
        &Message::Accept { ring_bytes, proof }.to_bytes(),
        &[memory.as_fd(), other_end.as_fd(), own.as_fd()],
    )?;
    Ok(Stage::HandedOver {
        session,
        own,
        memory,
        ring_bytes,
        bell,
    })
}

struct Parts {
    session: Session,
    peer: Credentials,
    socket: Socket,
    own: ControlPage,
    theirs: OwnedFd,
    memory: MemoryFile,
    ring_bytes: u32,
    outgoing: Direction,
    bell: Socket,
}

fn establish(parts: Parts) -> Result<Progress, Refusal> {
    let peer_gone = Arc::new(AtomicBool::new(false));
    let bell = Arc::new(Bell {
        socket: parts.bell,
        peer_gone: Arc::clone(&peer_gone),
    });
    let channel = Channel::new(
        parts.memory.map(true)?,
        parts.ring_bytes,
        parts.outgoing,
        Arc::clone(&bell),
    );
    let link = Arc::new(Link {
        session: parts.session,
        socket: parts.socket,
        peer_process: parts.peer.process,
        peer_gone,
        own: parts.own,
        theirs: Arc::new(ControlView::received(parts.theirs)?),
    });
    Ok(Progress::Linked(Established {
        link,
        channel,
        bell,
    }))
}

/// Who is there, if it is this user.
fn same_user(socket: &Socket) -> Result<Credentials, Refusal> {
    let peer = socket.peer()?;
    if peer.user == user() {
        Ok(peer)
    } else {
        Err(Refusal::OtherUser { user: peer.user })
    }
}
