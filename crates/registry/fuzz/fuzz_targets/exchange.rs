//! What nodes tell each other of their instances: any bytes are messages or refused, however they are cut; what is decoded
//! says the same when it is encoded again. A subscriber that hears any messages in any order stays within its limits, and
//! the changes it reports are what it knows. Two honest ends agree whatever is lost between them.
//!
//! `npm run fuzz -- exchange --minutes 10`.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use linkmesh_registry::{
    Handle,
    exchange::{Change, MAX_OFFERS, Message, Offer, Publisher, Subscriber},
};

/// Of a message: kind, version, and per instance handle, weight and whether it left.
type Said = (u8, u64, Vec<(u8, u8, bool)>);

fuzz_target!(|input: (&[u8], Vec<(u16, u8)>, Vec<Said>, Vec<(u8, u8, u8)>)| {
    let (raw, edits, said, steps) = input;
    hear(raw.to_vec(), 7);
    let mut bytes = Vec::new();
    for one in &said {
        message(one).encode(&mut bytes);
    }
    // As it is, then spoilt here and there.
    hear(bytes.clone(), 64);
    for (at, byte) in edits {
        let length = bytes.len().max(1);
        if let Some(place) = bytes.get_mut(usize::from(at) % length) {
            *place = byte;
        }
    }
    hear(bytes, 33);
    honest_ends(&steps);
});

fn message((kind, version, instances): &Said) -> Message {
    let (gone, there): (Vec<_>, Vec<_>) = instances.iter().partition(|(.., is_gone)| *is_gone);
    let offers = there.iter().map(|(handle, weight, _)| offer(*handle, *weight)).collect();
    let gone = gone.iter().map(|(handle, ..)| Handle::from(*handle)).collect();
    match kind % 8 {
        0 => Message::Resync {},
        1 | 2 => Message::Full { version: *version, offers },
        _ => Message::Delta { version: *version, offers, gone },
    }
}

fn offer(handle: u8, weight: u8) -> Offer {
    Offer {
        instance: Handle::from(handle),
        service: format!("service-{}", handle % 3),
        policy: if weight % 2 == 0 { String::new() } else { "{\"balancer\":\"maglev\"}".to_owned() },
        weight: u32::from(weight),
        priority: u32::from(weight % 4),
        zone: "z\u{e9}ro\"\\".repeat(usize::from(weight % 3)),
        tags: (0..weight % 3).map(|tag| format!("tag-{tag}")).collect(),
        version: "1.2.3".to_owned(),
        metadata: (0..weight % 2).map(|key| (format!("key-{key}"), "\u{0}\n".to_owned())).collect(),
        concurrency: (weight > 9).then_some(u32::from(weight)),
        health: "healthy".to_owned(),
    }
}

/// A stream of `bytes`, which comes `piece` bytes at a time, up to the first thing that is refused.
fn hear(bytes: Vec<u8>, piece: usize) {
    let mut subscriber = Subscriber::new();
    let mut world = BTreeMap::new();
    let mut come = Vec::new();
    for piece in bytes.chunks(piece) {
        come.extend_from_slice(piece);
        loop {
            let before = come.len();
            let message = match Message::decode(&mut come) {
                Ok(Some(message)) => message,
                Ok(None) => {
                    assert_eq!(come.len(), before, "what is not whole stays");
                    break;
                }
                Err(_) => return,
            };
            assert!(come.len() < before);
            let mut again = Vec::new();
            message.encode(&mut again);
            assert_eq!(Message::decode(&mut again), Ok(Some(message.clone())));
            assert!(again.is_empty());
            let known = subscriber.len();
            let Ok((changes, is_lost)) = subscriber.receive(message) else { return };
            assert!(!is_lost || (changes.is_empty() && subscriber.len() == known));
            apply(&mut world, changes);
            assert!(world.values().eq(subscriber.offers()), "changes are not what is known");
            assert!(subscriber.len() <= MAX_OFFERS);
        }
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

/// Steps: a handle, what becomes of it, and which messages are lost. At the end nothing is lost any more.
fn honest_ends(steps: &[(u8, u8, u8)]) {
    let (mut publisher, mut subscriber) = (Publisher::new(), Subscriber::new());
    let (mut offered, mut world) = (BTreeMap::new(), BTreeMap::new());
    let last = [(255, 254, 0), (255, 255, 0)];
    for (handle, weight, lost) in steps.iter().chain(&last) {
        let number = Handle::from(*handle);
        if *weight % 4 == 0 {
            offered.remove(&number);
        } else {
            offered.insert(number, offer(*handle, *weight));
        }
        let mut messages = publisher.publish(offered.values().cloned());
        while !messages.is_empty() {
            let mut ask = false;
            for (at, message) in messages.drain(..).enumerate() {
                if lost >> (at % 8) & 1 == 0 {
                    let (changes, again) = subscriber.receive(message).unwrap();
                    apply(&mut world, changes);
                    ask |= again;
                }
            }
            if ask {
                publisher.resync();
                messages = publisher.publish(offered.values().cloned());
            }
        }
    }
    assert_eq!(world, offered, "the ends do not agree");
}
