//! The registry here and what another node offers, brought together.

use linkmesh_registry::exchange::{Change, Message};

use crate::remote::link::Link;
use crate::remote::local::{Local, is_here};
use linkmesh_requests::Malformed;

impl Local {
    /// Writes down what the other node has not been told of the instances here.
    pub(super) fn publish(&self, link: &mut Link) {
        let offers = self.engine.router.offers(is_here);
        for message in link.publisher.publish(offers) {
            message.encode(link.registry.bytes());
        }
    }

    /// Takes what the other node tells. A gap is asked about, a question answered.
    ///
    /// # Errors
    /// [`Malformed`]: no message of the exchange.
    pub(super) fn learn(&self, link: &mut Link, bytes: &[u8]) -> Result<(), Malformed> {
        link.registry_in.extend_from_slice(bytes);
        let mut resync = false;
        while let Some(message) = Message::decode(&mut link.registry_in).map_err(|_| Malformed)? {
            if message == (Message::Resync {}) {
                link.publisher.resync();
                resync = true;
                continue;
            }
            let (changes, ask) = link.subscriber.receive(message).map_err(|_| Malformed)?;
            if ask {
                Message::Resync {}.encode(link.registry.bytes());
            }
            if link.active {
                self.apply(link, changes);
            }
        }
        if resync {
            self.publish(link);
        }
        Ok(())
    }

    /// This connection speaks for its node from here on: what it offers comes into the registry.
    pub(super) fn activate(&self, link: &mut Link) {
        link.active = true;
        let changes = link.subscriber.offers().cloned().map(Change::Put).collect();
        self.apply(link, changes);
    }

    fn apply(&self, link: &mut Link, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let engine = &self.engine;
        let now = engine.now();
        for change in changes {
            match change {
                Change::Put(offer) => {
                    let known = link.near.get(&offer.instance).copied();
                    let put = |known| {
                        engine
                            .router
                            .put_remote(known, &offer, &link.node, link.peer.id, now)
                    };
                    // Somebody here may have removed it: then it comes anew. What the other node offers beyond our limits
                    // is not there for us.
                    let added = put(known).or_else(|error| match known {
                        Some(_) => put(None),
                        None => Err(error),
                    });
                    if let Ok(near) = added {
                        link.near.insert(offer.instance, near);
                        link.far.insert(near, offer.instance);
                    }
                }
                Change::Gone(far) => {
                    if let Some(near) = link.near.remove(&far) {
                        link.far.remove(&near);
                        // Gone already: removed here.
                        drop(engine.router.remove_instance(near, now));
                    }
                }
            }
        }
        engine.deadline_moved();
        engine.wake_all();
    }
}
