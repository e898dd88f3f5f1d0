//! Work for the helper threads: making and checking proofs, which takes far longer than a turn may.

use super::authenticator::{AuthError, Authenticator, Channel, PeerIdentity};
use super::peer::PeerSlot;

#[derive(Debug)]
pub(super) enum Task {
    Prove(Channel),
    Verify(Channel, Vec<u8>),
    Join(Channel, Vec<u8>),
    Notice(Vec<u8>),
}

/// One piece of work that the core wants done off its thread.
#[derive(Debug)]
pub struct AuthJob {
    pub(super) peer: PeerSlot,
    pub(super) task: Task,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Proved(Result<Vec<u8>, AuthError>),
    Verified(Result<PeerIdentity, AuthError>),
    Joined(Result<Vec<u8>, AuthError>),
    /// With the length of the notice.
    Noticed(usize, Result<bool, AuthError>),
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
            Task::Prove(channel) => Outcome::Proved(authenticator.prove(&channel)),
            Task::Verify(channel, proof) => {
                Outcome::Verified(authenticator.verify(&channel, &proof))
            }
            Task::Join(channel, request) => {
                Outcome::Joined(authenticator.join_reply(&channel, &request))
            }
            Task::Notice(bytes) => Outcome::Noticed(bytes.len(), authenticator.notice(&bytes)),
        };
        AuthDone {
            peer: self.peer,
            outcome,
        }
    }
}
