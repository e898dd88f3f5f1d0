//! The thread that keeps an identity fresh: files that changed, certificates past half their life.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::IdentityError;
use super::exchange::{DEFAULT_TIMEOUT, renew};
use super::node_identity::{NodeIdentity, lock};
use super::random;

/// How often it looks: a revocation on this machine is in force within this time.
const PERIOD: Duration = Duration::from_millis(250);
/// First and longest pause after a renewal that did not go well; half of it is drawn at random.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
struct Shared {
    stopped: Mutex<bool>,
    bell: Condvar,
    last_error: Mutex<Option<IdentityError>>,
}

/// Runs [`NodeIdentity::upkeep`] four times a second and renews at the issuer when that is due, until it is dropped.
#[derive(Debug)]
pub struct Upkeeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(identity: Arc<NodeIdentity>) -> Result<Self, IdentityError> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("linkmesh-identity".to_owned())
            .spawn(move || run(&identity, &theirs))
            .map_err(|error| IdentityError::Storage {
                path: "linkmesh-identity".into(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// What went wrong last, if it still does: an unreachable issuer, a file that is not believed.
    pub fn last_error(&self) -> Option<IdentityError> {
        lock(&self.shared.last_error).clone()
    }
}

impl Drop for Upkeeper {
    fn drop(&mut self) {
        *lock(&self.shared.stopped) = true;
        self.shared.bell.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panicked, if it did, with its own message.
            let _ = thread.join();
        }
    }
}

fn run(identity: &NodeIdentity, shared: &Shared) {
    let mut pause = FIRST_PAUSE;
    let mut renew_at = Instant::now();
    loop {
        let result = identity.upkeep().and_then(|upkeep| {
            if !upkeep.renewal_due || Instant::now() < renew_at {
                return Ok(upkeep.renewal_due);
            }
            // Many nodes get their certificates at the same time, when a network starts: they do not come back together.
            renew_at = Instant::now() + jittered(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            renew(identity, DEFAULT_TIMEOUT)?;
            pause = FIRST_PAUSE;
            Ok(false)
        });
        match result {
            Ok(false) => *lock(&shared.last_error) = None,
            // A renewal is due and waits for its next attempt: the last error is still the news.
            Ok(true) => {}
            Err(error) => *lock(&shared.last_error) = Some(error),
        }
        let stopped = lock(&shared.stopped);
        let (stopped, _) = shared
            .bell
            .wait_timeout_while(stopped, PERIOD, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return;
        }
    }
}

/// Between half of `pause` and all of it.
fn jittered(pause: Duration) -> Duration {
    let [draw] = random::bytes::<1>();
    pause / 2 + pause / 2 * u32::from(draw) / 255
}
