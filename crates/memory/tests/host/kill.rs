//! A peer that is killed at any point: noticed, nothing published lost, nothing locked.

use std::time::Duration;

use linkmesh_memory::{
    host::{ChannelError, MappedError, Receiver, Session, SharedObject, Sharing},
    region::Rights,
};

use crate::{
    child::{Other, numbered, terms, wait},
    events::{Node, options},
};

/// Rounds of each test here. `LINKMESH_KILLS=500 cargo test -p linkmesh-memory --test host kill` for the long run.
fn rounds() -> u32 {
    std::env::var("LINKMESH_KILLS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(6)
}

/// Some work of this process that lasts a different time in each round, so that the kill meets the peer elsewhere.
fn frames_before_the_kill(round: u32) -> u32 {
    round.wrapping_mul(0x9E37_79B9) % 5_000
}

#[test]
fn a_sender_killed_in_the_middle_leaves_whole_frames_in_order_and_is_noticed() {
    let node = Node::open(options());
    for round in 0..rounds() {
        let mut other = Other::start(&node, "flood");
        let (link, mut channel) = node.linked();
        let mut seen = 0;
        let mut poll = |receiver: &mut Receiver| {
            receiver.poll(64, |frame| {
                assert_eq!(frame, numbered(seen));
                seen += 1;
            })
        };
        let enough = frames_before_the_kill(round);
        let mut shown = 0;
        while shown < enough {
            wait(&mut channel.receiver, Receiver::SPIN).unwrap();
            shown += poll(&mut channel.receiver).unwrap() as u32;
        }
        other.kill();
        // What it had published is all there; then, and only then, its end is told. Asleep or awake.
        let spin = if round % 2 == 0 {
            Duration::ZERO
        } else {
            Receiver::SPIN
        };
        let end = loop {
            match wait(&mut channel.receiver, spin) {
                Ok(()) => poll(&mut channel.receiver).map(drop).unwrap(),
                Err(error) => break error,
            }
        };
        assert_eq!(end, ChannelError::PeerGone);
        node.gone();
        assert!(link.is_gone());
        assert_eq!(channel.sender.send(b"x"), Err(ChannelError::PeerGone));
        drop(other);
    }
}

#[test]
fn an_adder_killed_in_the_middle_has_added_whole_times_and_left_no_lock() {
    let node = Node::open(options());
    let object = SharedObject::create(4096, Sharing::ReadWrite).unwrap();
    let word = |at: usize| {
        // SAFETY: an aligned word inside the object; all processes access it by atomics.
        unsafe { std::sync::atomic::AtomicU64::from_ptr(object.as_ptr().add(8 * at).cast()) }
    };
    let load = |at| word(at).load(std::sync::atomic::Ordering::SeqCst);
    for _ in 0..rounds() {
        let mut other = Other::start(&node, "add");
        let (link, _channel) = node.linked();
        let offered = link.offer(&object, &terms(Rights::ALL, 4096)).unwrap();
        let (before, ours) = (load(0) - load(2), 10_000);
        assert_eq!(other.line(), "ready");
        for _ in 0..ours {
            word(0).fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            word(2).fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        other.kill();
        node.gone();
        // Word 0 has all adds, 1 those that the peer has confirmed to itself, 2 ours. The one in between was or was not
        // followed by its confirmation.
        let theirs = load(0) - load(2);
        assert!(theirs >= before);
        let unconfirmed = theirs - load(1);
        assert!(unconfirmed <= 1, "{unconfirmed}");
        word(1).fetch_add(unconfirmed, std::sync::atomic::Ordering::SeqCst);
        drop(offered);
    }
}

#[test]
fn a_region_of_a_killed_exporter_says_so() {
    let node = Node::open(options());
    let mut other = Other::start(&node, "export");
    node.linked();
    let region = node.offered();
    let mut bytes = [1; 8];
    region.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8]);
    other.kill();
    node.gone();
    assert_eq!(region.read(0, &mut bytes), Err(MappedError::PeerGone));
    // A new process with a new invitation is a new link.
    let _other = Other::start(&node, "export");
    assert_eq!(node.linked().0.session(), Session(1));
    node.offered().read(0, &mut bytes).unwrap();
}
