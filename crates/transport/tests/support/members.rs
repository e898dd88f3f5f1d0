//! A network of real identities on a temporary disk, under a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use linkmesh_transport::core::Authenticator;
use linkmesh_transport::identity::{Clock, IdentityOptions, Joining, NodeIdentity};
use tempfile::TempDir;

use super::channels::connect;

pub struct Members {
    place: TempDir,
    time: Arc<AtomicU64>,
    pub issuer: Arc<NodeIdentity>,
}

fn options(place: &TempDir, time: &Arc<AtomicU64>, name: &str) -> IdentityOptions {
    let time = time.clone();
    IdentityOptions {
        name: name.to_owned(),
        clock: Clock::new(move || time.load(Ordering::SeqCst)),
        ..IdentityOptions::new(place.path().join(name))
    }
}

impl Members {
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(1_800_000_000));
        let issuer =
            NodeIdentity::open_or_create(options(&place, &time, "issuer"), "test").unwrap();
        Self {
            place,
            time,
            issuer,
        }
    }

    /// Lets seconds pass on the wall clock.
    pub fn pass(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    /// One more member.
    pub fn join(&self, name: &str) -> Arc<NodeIdentity> {
        let token = self.issuer.invite("", 60).unwrap().to_text();
        let joining = Joining::new(&token, options(&self.place, &self.time, name)).unwrap();
        let [there, here] = connect(joining.tls_client(), self.issuer.tls_server());
        let answer = self.issuer.answer(&here, &joining.request(&there)).unwrap();
        joining.accept(&there, &answer, "127.0.0.1:1").unwrap()
    }
}
