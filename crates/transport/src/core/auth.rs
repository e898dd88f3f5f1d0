//! Work for the helper threads: making and checking proofs, which takes far longer than a turn may.

use super::authenticator::{AuthError, Authenticator, Channel, PeerIdentity};
use super::peer::PeerSlot;

#[derive(Debug)]
pub(super) enum Task {
    Prove,
    Verify(Vec<u8>),
    Join(Vec<u8>),
}

/// One piece of work that the core wants done off its thread.
#[derive(Debug)]
pub struct AuthJob {
    pub(super) peer: PeerSlot,
    pub(super) channel: Channel,
    pub(super) task: Task,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Proved(Result<Vec<u8>, AuthError>),
    Verified(Result<PeerIdentity, AuthError>),
    Joined(Result<Vec<u8>, AuthError>),
}

/// What came of an [`AuthJob`]; goes back by [`Core::auth_done`](super::Core::auth_done).
#[derive(Debug)]
pub struct AuthDone {
    pub(super) peer: PeerSlot,
    pub(super) outcome: Outcome,
}

impl AuthJob {
    /// Does the work: from 0.1 to several milliseconds.
    pub fn run(self, authenticator: &dyn Authenticator) -> AuthDone {
        let outcome = match self.task {
            Task::Prove => Outcome::Proved(authenticator.prove(&self.channel)),
            Task::Verify(proof) => Outcome::Verified(authenticator.verify(&self.channel, &proof)),
            Task::Join(request) => {
                Outcome::Joined(authenticator.join_reply(&self.channel, &request))
            }
        };
        AuthDone {
            peer: self.peer,
            outcome,
        }
    }
}
