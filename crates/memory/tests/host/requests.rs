//! Frames between two processes: all of them, whole, in order, awake or asleep, and against a liar.

use std::time::{Duration, Instant};

use linkmesh_memory::host::{ChannelError, Receiver, Woken};

use crate::{
    child::{Other, numbered, wait},
    events::{Event, Node, options},
};

#[test]
fn frames_go_there_and_back_whether_the_sides_sleep_or_not() {
    for spin in [Receiver::SPIN, Duration::ZERO] {
        let node = Node::open(options());
        let _other = Other::start(&node, "echo");
        let (_, mut channel) = node.linked();
        for number in 0..2_000 {
            let frame = numbered(number);
            channel.sender.send(&frame).unwrap();
            wait(&mut channel.receiver, spin).unwrap();
            let mut seen = Vec::new();
            let count = channel
                .receiver
                .poll(9, |frame| seen.extend_from_slice(frame));
            assert_eq!((count, seen), (Ok(1), frame));
        }
    }
}

#[test]
fn a_full_ring_says_so_and_goes_on_when_it_was_read() {
    let node = Node::open(options());
    let _other = Other::start(&node, "echo");
    let (_, mut channel) = node.linked();
    let long = channel.sender.send(&vec![0; 64 << 10]);
    assert!(
        matches!(long, Err(ChannelError::TooLong { .. })),
        "{long:?}"
    );
    let (mut sent, mut seen, mut full) = (0, 0, false);
    while seen < 20_000 {
        // Nothing is flushed before it is full, so it must become full once at least.
        while sent < 20_000 {
            match channel.sender.push(&numbered(sent)) {
                Ok(()) => sent += 1,
                Err(ChannelError::Full) => {
                    full = true;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        channel.sender.flush().unwrap();
        wait(&mut channel.receiver, Receiver::SPIN).unwrap();
        let show = |frame: &[u8]| {
            assert_eq!(frame, numbered(seen));
            seen += 1;
        };
        channel.receiver.poll(512, show).unwrap();
    }
    assert!(full);
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let node = Node::open(options());
    let _other = Other::start(&node, "echo");
    let (_, mut channel) = node.linked();
    let deadline = Some(Instant::now());
    let waited = channel.receiver.wait(Duration::ZERO, deadline);
    assert_eq!(waited, Ok(Woken::TimedOut));
}

#[test]
fn the_hosts_thread_reports_wakes_when_it_is_asked_to() {
    let mut options = options();
    options.answer_bells = true;
    let node = Node::open(options);
    let _other = Other::start(&node, "echo");
    let (_, mut channel) = node.linked();
    for _ in 0..100 {
        assert_eq!(channel.receiver.arm(), Ok(true));
        channel.sender.send(b"hello").unwrap();
        assert!(matches!(node.next(), Event::Woken));
        channel.receiver.disarm();
        assert_eq!(
            channel
                .receiver
                .poll(9, |frame| assert_eq!(frame, b"hello")),
            Ok(1)
        );
    }
}

#[test]
fn a_peer_that_scribbles_over_everything_breaks_the_channel_and_nothing_else() {
    let node = Node::open(options());
    let mut other = Other::start(&node, "scribble");
    let (_, mut channel) = node.linked();
    assert_eq!(other.line(), "ready");
    let (mut sent, mut received) = (Ok(()), Ok(0));
    // Until both rings are known to be spoiled. What is shown before that is the peer's own nonsense.
    while sent == Ok(()) || received.is_ok() {
        if sent == Ok(()) || sent == Err(ChannelError::Full) {
            sent = channel.sender.send(&[1; 100]);
        }
        if received.is_ok() {
            received = channel
                .receiver
                .poll(16, |frame| assert!(frame.len() < 64 << 10));
        }
        if sent == Err(ChannelError::Full) {
            sent = Ok(());
        }
    }
    assert!(matches!(sent, Err(ChannelError::Broken(_))), "{sent:?}");
    assert!(
        matches!(received, Err(ChannelError::Broken(_))),
        "{received:?}"
    );
    // The process is unharmed: another peer links up and is served.
    let _other = Other::start(&node, "echo");
    let (_, mut channel) = node.linked();
    channel.sender.send(b"still here").unwrap();
    wait(&mut channel.receiver, Receiver::SPIN).unwrap();
    assert_eq!(
        channel
            .receiver
            .poll(9, |frame| assert_eq!(frame, b"still here")),
        Ok(1)
    );
}
