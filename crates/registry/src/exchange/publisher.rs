//! The end that tells.

use std::collections::BTreeMap;

use crate::Handle;

use super::{Message, Offer};

/// Instances that one process may offer to another.
pub const MAX_OFFERS: usize = 65_536;
/// Instances in one message: keeps it well below the limit of bytes.
pub const OFFERS_PER_MESSAGE: usize = 512;

/// Remembers what the other side was told.
#[derive(Debug, Default)]
pub struct Publisher {
    version: u64,
    told: BTreeMap<Handle, Offer>,
    /// Nothing was told yet, or the other side asked for everything again.
    afresh: bool,
    started: bool,
}

impl Publisher {
    /// A publisher that has told nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The other side has lost the thread: the next [`publish`](Self::publish) tells everything.
    pub fn resync(&mut self) {
        self.afresh = true;
    }

    /// The messages that bring the other side to `offers`: none when it is there. Of more than [`MAX_OFFERS`] the rest is
    /// not told.
    pub fn publish(&mut self, offers: impl IntoIterator<Item = Offer>) -> Vec<Message> {
        let now: BTreeMap<Handle, Offer> = offers
            .into_iter()
            .take(MAX_OFFERS)
            .map(|offer| (offer.instance, offer))
            .collect();
        let full = self.afresh || !self.started;
        if full {
            self.told.clear();
        }
        let mut changed: Vec<Offer> = now
            .iter()
            .filter(|(handle, offer)| self.told.get(handle) != Some(offer))
            .map(|(_, offer)| offer.clone())
            .collect();
        let mut gone: Vec<Handle> = self
            .told
            .keys()
            .filter(|handle| !now.contains_key(handle))
            .copied()
            .collect();
        self.told = now;
        let mut messages = Vec::new();
        if full {
            self.afresh = false;
            self.started = true;
            self.version += 1;
            let rest = changed.split_off(changed.len().min(OFFERS_PER_MESSAGE));
            messages.push(Message::Full {
                version: self.version,
                offers: std::mem::replace(&mut changed, rest),
            });
        }
        while !changed.is_empty() || !gone.is_empty() {
            self.version += 1;
            let rest = changed.split_off(changed.len().min(OFFERS_PER_MESSAGE));
            messages.push(Message::Delta {
                version: self.version,
                offers: std::mem::replace(&mut changed, rest),
                gone: std::mem::take(&mut gone),
            });
        }
        messages
    }
}
