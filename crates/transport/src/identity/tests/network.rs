//! A network on a temporary disk, under a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::pair::{Refusal, connect};
use crate::identity::{Clock, IdentityError, IdentityOptions, Joining, NodeIdentity, Passphrase};

/// A time at which tests begin, Unix seconds.
const START: u64 = 1_800_000_000;

pub(super) struct Network {
    place: TempDir,
    time: Arc<AtomicU64>,
    pub(super) issuer: Arc<NodeIdentity>,
}

impl Network {
    pub(super) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(START));
        let options = options(&place, &time, "issuer");
        let issuer = NodeIdentity::open_or_create(options, "test").unwrap();
        Self {
            place,
            time,
            issuer,
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.time.load(Ordering::SeqCst)
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) fn set(&self, seconds: u64) {
        self.time.store(seconds, Ordering::SeqCst);
    }

    pub(super) fn options(&self, name: &str) -> IdentityOptions {
        options(&self.place, &self.time, name)
    }

    pub(super) fn encrypted(&self, name: &str, passphrase: &str) -> IdentityOptions {
        IdentityOptions {
            passphrase: Some(Passphrase::new(passphrase.to_owned())),
            ..self.options(name)
        }
    }

    /// Joins a node with a fresh token.
    pub(super) fn node(&self, name: &str) -> Arc<NodeIdentity> {
        let token = self.issuer.invite("", 60).unwrap();
        self.join(&token.to_text(), name).unwrap()
    }

    pub(super) fn join(&self, token: &str, name: &str) -> Result<Arc<NodeIdentity>, Refusal> {
        let joining = Joining::new(token, self.options(name))?;
        let (client, server) = connect(joining.tls_client(), &self.issuer)?;
        let answer = self.issuer.answer(&server, &joining.request(&client))?;
        Ok(joining.accept(&client, &answer, "127.0.0.1:7443")?)
    }

    pub(super) fn renew(&self, node: &NodeIdentity) -> Result<(), Refusal> {
        let (client, server) = connect(node.tls_renewal(), &self.issuer)?;
        let answer = self
            .issuer
            .answer(&server, &node.renewal_request(&client)?)?;
        Ok(node.accept_renewal(&answer)?)
    }

    pub(super) fn reopen(&self, name: &str) -> Result<Arc<NodeIdentity>, IdentityError> {
        NodeIdentity::open(self.options(name))
    }
}

fn options(place: &TempDir, time: &Arc<AtomicU64>, name: &str) -> IdentityOptions {
    let time = Arc::clone(time);
    IdentityOptions {
        name: name.to_owned(),
        clock: Clock::new(move || time.load(Ordering::SeqCst)),
        ..IdentityOptions::new(place.path().join(name))
    }
}
