//! Any bytes are a message between replicas or refused; what is decoded encodes to the same bytes. A member that hears it, from
//! a client or from a member that has gone mad, neither panics nor grows beyond its limits.
//!
//! `npm run fuzz -- replica --minutes 10`.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use linkmesh_memory::{
    frame::Decoded,
    replica::{ClientId, Group, Member, Message, Outbox, Timing},
};

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (is_first, from, mut bytes) = input;
    let group = Group::new(3, 1, 64).unwrap();
    let mut now = Instant::now();
    let mut member = if is_first {
        Member::create(group, Timing::default(), vec![1; 64], 7, now)
    } else {
        Member::join(group, Timing::default(), 1, 7, now)
    };
    let mut out = Outbox::new();
    while let Ok(Decoded::Frame((id, message), length)) = Message::decode(bytes) {
        let mut again = Vec::new();
        message.encode(id, &mut again);
        assert_eq!(again, bytes[..length]);
        bytes = &bytes[length..];
        if let Message::Request { session, ack_below, ask } = message {
            member.request(ClientId(1), [from; 32], session, ack_below, ask, now, &mut out);
        } else {
            member.receive(from % 3, message, now, &mut out);
        }
        now += Duration::from_millis(20);
        if member.deadline().is_some_and(|deadline| deadline <= now) {
            member.timeout(now, &mut out);
        }
        assert!(out.len() <= 64, "one message makes a few");
        for (_, message) in out.drain(..) {
            again.clear();
            message.encode(id, &mut again);
            assert!(again.len() <= linkmesh_memory::replica::MAX_MESSAGE);
        }
        assert!(matches!(member.bytes().len(), 0 | 64));
    }
});
