//! The end that listens.

use std::collections::BTreeMap;

use crate::Handle;

use super::{MAX_OFFERS, Message, MessageError, Offer};

/// What a message changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An instance is there, or is different from what it was.
    Put(Offer),
    /// An instance left.
    Gone(Handle),
}

/// Keeps what the other side offers.
#[derive(Debug, Default)]
pub struct Subscriber {
    version: Option<u64>,
    known: BTreeMap<Handle, Offer>,
}

impl Subscriber {
    /// A subscriber that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// True once the other side has begun to tell.
    pub fn is_started(&self) -> bool {
        self.version.is_some()
    }

    /// How many instances the other side offers.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// All that it offers, by handle.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.known.values()
    }

    /// True while it offers none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes a `Full` or a `Delta`: what changes, and whether to ask for everything again.
    ///
    /// # Errors
    /// [`MessageError::TooMany`], [`MessageError::Malformed`] for a message that is for the other end.
    pub fn receive(&mut self, message: Message) -> Result<(Vec<Change>, bool), MessageError> {
        let mut changes = Vec::new();
        match message {
            Message::Full { version, offers } => {
                self.version = Some(version);
                let mut before = std::mem::take(&mut self.known);
                for offer in offers {
                    // What stays as it was is no change: requests to it go on.
                    if before.remove(&offer.instance).as_ref() != Some(&offer) {
                        changes.push(Change::Put(offer.clone()));
                    }
                    self.known.insert(offer.instance, offer);
                }
                changes.extend(before.into_keys().map(Change::Gone));
            }
            Message::Delta {
                version,
                offers,
                gone,
            } => {
                // Nothing follows the last number there is: such a peer has to begin anew.
                let expected = self.version.and_then(|version| version.checked_add(1));
                if expected != Some(version) {
                    return Ok((changes, true));
                }
                self.version = expected;
                for handle in gone {
                    if self.known.remove(&handle).is_some() {
                        changes.push(Change::Gone(handle));
                    }
                }
                for offer in offers {
                    if self.known.get(&offer.instance) != Some(&offer) {
                        self.known.insert(offer.instance, offer.clone());
                        changes.push(Change::Put(offer));
                    }
                }
            }
            Message::Resync {} => {
                return Err(MessageError::Malformed(
                    "a request for everything is for the end that tells".to_owned(),
                ));
            }
        }
        if self.known.len() > MAX_OFFERS {
            return Err(MessageError::TooMany);
        }
        Ok((changes, false))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Publisher;
    use super::*;

    fn offer(instance: Handle, weight: u32) -> Offer {
        Offer {
            instance,
            service: "echo".to_owned(),
            policy: String::new(),
            weight,
            priority: 0,
            zone: String::new(),
            tags: Vec::new(),
            version: String::new(),
            metadata: BTreeMap::new(),
            concurrency: None,
            health: "healthy".to_owned(),
        }
    }

    fn apply(world: &mut BTreeMap<Handle, Offer>, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(offer) => drop(world.insert(offer.instance, offer)),
                Change::Gone(handle) => {
                    assert!(world.remove(&handle).is_some(), "gone, and was never there");
                }
            }
        }
    }

    /// Random registries, with messages lost on the way: the other side ends up with the same, and says so when it cannot.
    #[test]
    fn both_ends_agree_whatever_is_lost() {
        for seed in 0..300u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut random = move |bound: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % bound
            };
            let (mut publisher, mut subscriber) = (Publisher::new(), Subscriber::new());
            let mut offered: BTreeMap<Handle, Offer> = BTreeMap::new();
            let mut world = BTreeMap::new();
            for step in 0..60 {
                for _ in 0..random(5) {
                    let handle = 1 + random(2_000) as Handle;
                    if random(3) == 0 {
                        offered.remove(&handle);
                    } else {
                        offered.insert(handle, offer(handle, 1 + random(3) as u32));
                    }
                }
                let last = step == 59;
                let mut messages = publisher.publish(offered.values().cloned());
                if last {
                    // Whatever was lost before, one more difference brings the gap to light.
                    offered.insert(9_999, offer(9_999, 1));
                    messages.extend(publisher.publish(offered.values().cloned()));
                }
                while !messages.is_empty() {
                    let mut bytes = Vec::new();
                    for message in messages.drain(..) {
                        if last || random(4) != 0 {
                            message.encode(&mut bytes);
                        }
                    }
                    let mut ask = false;
                    while let Some(message) = Message::decode(&mut bytes).unwrap() {
                        let (changes, again) = subscriber.receive(message).unwrap();
                        apply(&mut world, changes);
                        ask |= again;
                    }
                    assert!(bytes.is_empty());
                    if ask {
                        publisher.resync();
                        messages = publisher.publish(offered.values().cloned());
                    }
                }
            }
            assert_eq!(world, offered, "seed {seed}");
            assert_eq!(subscriber.len(), offered.len());
        }
    }

    #[test]
    fn a_resync_changes_only_what_is_different() {
        let (mut publisher, mut subscriber) = (Publisher::new(), Subscriber::new());
        for message in publisher.publish([offer(1, 1), offer(2, 1)]) {
            subscriber.receive(message).unwrap();
        }
        publisher.resync();
        let messages = publisher.publish([offer(1, 1), offer(2, 5)]);
        let [full] = <[Message; 1]>::try_from(messages).unwrap();
        let (changes, ask) = subscriber.receive(full).unwrap();
        assert_eq!(changes, [Change::Put(offer(2, 5))]);
        assert!(!ask);
    }

    #[test]
    fn a_gap_changes_nothing_and_is_asked_about() {
        let (mut publisher, mut subscriber) = (Publisher::new(), Subscriber::new());
        for message in publisher.publish([offer(1, 1)]) {
            subscriber.receive(message).unwrap();
        }
        drop(publisher.publish([offer(2, 1)]));
        let mut messages = publisher.publish([offer(3, 1)]);
        let (changes, ask) = subscriber.receive(messages.remove(0)).unwrap();
        assert!(changes.is_empty());
        assert!(ask);
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        let mut long = u32::MAX.to_le_bytes().to_vec();
        assert!(matches!(
            Message::decode(&mut long),
            Err(MessageError::TooLong { .. })
        ));
        let mut odd = vec![2, 0, 0, 0, b'{', b'}'];
        assert!(matches!(
            Message::decode(&mut odd),
            Err(MessageError::Malformed(_))
        ));
        let mut part = vec![9, 0, 0, 0, b'{'];
        assert_eq!(Message::decode(&mut part), Ok(None));
        assert_eq!(part.len(), 5, "what is not whole stays");
        let mut many = Subscriber::new();
        let offers = (1..=MAX_OFFERS as u32 + 1)
            .map(|handle| offer(handle, 1))
            .collect();
        assert_eq!(
            many.receive(Message::Full { version: 1, offers }),
            Err(MessageError::TooMany)
        );
    }
}
