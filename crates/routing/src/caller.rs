//! What one thread brings to each of its calls.

use std::sync::Arc;

use crate::explain::ExplainRing;
use crate::random::Rng;

/// One thread's way into the router: who it is, its random numbers, and the ring that its picks are remembered in.
///
/// Nothing of it is shared by writers, so a pick draws and remembers without an atomic read-modify-write. Made by
/// [`Router::caller`](crate::Router::caller); its picks are forgotten when it is dropped.
#[derive(Debug)]
pub struct Caller {
    pub(crate) thread: u32,
    pub(crate) rng: Rng,
    pub(crate) explained: Arc<ExplainRing>,
    /// Picks so far; the next one's place in the ring.
    pub(crate) picks: usize,
}

impl Caller {
    /// `None` when there is no memory for the ring.
    pub(crate) fn new(seed: u32, thread: u32) -> Option<Self> {
        Some(Self {
            thread,
            rng: Rng::new(seed, thread),
            explained: Arc::new(ExplainRing::new()?),
            picks: 0,
        })
    }

    /// Who calls.
    pub fn thread(&self) -> u32 {
        self.thread
    }
}
