//! The ring on honest memory, on memory that lies, and under a model checker.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::atomic::Ordering,
};

use proptest::prelude::*;

use super::*;

/// Memory of one thread.
#[derive(Clone, Debug)]
struct Plain {
    words: Rc<[Cell<u32>; 3]>,
    bytes: Rc<RefCell<Vec<u8>>>,
}

impl Plain {
    fn new(capacity: usize) -> Self {
        Self {
            words: Rc::default(),
            bytes: Rc::new(RefCell::new(vec![0; capacity])),
        }
    }

    fn set(&self, word: Word, value: u32) {
        self.words[word as usize].set(value);
    }
}

impl RingMemory for Plain {
    fn capacity(&self) -> u32 {
        self.bytes.borrow().len() as u32
    }
    fn load(&self, word: Word, _: Ordering) -> u32 {
        self.words[word as usize].get()
    }
    fn store(&self, word: Word, value: u32, _: Ordering) {
        self.set(word, value);
    }
    fn swap(&self, word: Word, value: u32, _: Ordering) -> u32 {
        self.words[word as usize].replace(value)
    }
    fn fence(&self) {}
    fn write(&self, at: u32, bytes: &[u8]) {
        self.bytes.borrow_mut()[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    fn read(&self, at: u32, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.bytes.borrow()[at as usize..][..bytes.len()]);
    }
}

fn pair(capacity: usize) -> (Producer<Plain>, Consumer<Plain>) {
    let memory = Plain::new(capacity);
    (Producer::new(memory.clone()), Consumer::new(memory))
}

#[test]
fn a_frame_is_seen_when_it_is_published_and_its_room_comes_back() {
    let (mut producer, mut consumer) = pair(64);
    assert_eq!(producer.frame_limit(), 56);
    let long = PushError::TooLong {
        length: 57,
        limit: 56,
    };
    assert_eq!(producer.push(&[0; 57]), Err(long));
    producer.push(&[1; 56]).unwrap();
    assert_eq!(consumer.poll(9, |_| panic!("not published")), Ok(0));
    assert!(!producer.publish());
    assert_eq!(producer.push(&[]), Err(PushError::Full));
    let show = |frame: &[u8]| assert_eq!(frame, [1; 56]);
    assert_eq!(consumer.poll(9, show), Ok(1));
    assert_eq!(producer.push(&[]), Ok(()));
    assert!(!producer.publish());
    assert_eq!(consumer.poll(9, |frame| assert!(frame.is_empty())), Ok(1));
}

#[test]
fn a_sleeper_is_woken_once_and_never_when_there_is_something_to_read() {
    let (mut producer, mut consumer) = pair(64);
    assert_eq!(consumer.arm(), Ok(true));
    producer.push(b"x").unwrap();
    assert!(producer.publish());
    producer.push(b"y").unwrap();
    assert!(!producer.publish(), "one wake is on its way");
    assert_eq!(consumer.arm(), Ok(false));
    assert_eq!(consumer.poll(9, |_| {}), Ok(2));
    assert!(!producer.publish(), "nothing new");
}

#[test]
fn a_frame_whose_visit_panics_is_not_shown_again() {
    let (mut producer, mut consumer) = pair(64);
    producer.push(b"first").unwrap();
    producer.push(b"second").unwrap();
    let _ = producer.publish();
    let visit = std::panic::AssertUnwindSafe(|| consumer.poll(9, |_| panic!("in a handler")));
    assert!(std::panic::catch_unwind(visit).is_err());
    assert_eq!(
        consumer.poll(9, |frame| assert_eq!(frame, b"second")),
        Ok(1)
    );
    producer.push(&[0; 40]).unwrap();
}

#[test]
fn frames_of_another_language_pass_by_position() {
    let (mut producer, mut consumer) = pair(64);
    assert_eq!(producer.commit(48), Ok((0, false)));
    assert_eq!(producer.commit(120), Err(PushError::Full));
    assert_eq!(producer.commit(40), Err(PushError::Full), "backwards");
    assert_eq!((consumer.released(), consumer.published()), (0, Ok(48)));
    assert!(!consumer.release(56), "was not published");
    assert!(consumer.release(24));
    assert!(!consumer.release(16), "backwards");
    assert_eq!(producer.commit(88), Ok((24, false)));
    assert_eq!((consumer.released(), consumer.published()), (24, Ok(88)));
}

#[test]
fn what_no_honest_peer_writes_ends_the_ring() {
    for tail in [72, 4, u32::MAX - 7] {
        let (producer, mut consumer) = pair(64);
        producer.memory().set(Word::Tail, tail);
        let refused = consumer.poll(9, |_| panic!("no frame"));
        assert!(matches!(refused, Err(Corruption::Tail { found, .. }) if found == tail));
        producer.memory().set(Word::Tail, 0);
        assert_eq!(consumer.poll(9, |_| {}), refused, "it stays broken");
    }
    for head in [8, 24, u32::MAX] {
        let (mut producer, consumer) = pair(64);
        producer.push(&[0; 8]).unwrap();
        let _ = producer.publish();
        consumer.memory().set(Word::Head, head);
        let pushed = producer.push(&[0; 56]);
        if head <= 16 {
            assert_eq!(pushed, Err(PushError::Full));
        } else {
            assert!(matches!(
                pushed,
                Err(PushError::Broken(Corruption::Head { .. }))
            ));
        }
    }
    for length in [9, 57, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        let (mut producer, mut consumer) = pair(64);
        producer.push(&[0; 8]).unwrap();
        let _ = producer.publish();
        producer.memory().write(0, &length.to_le_bytes());
        let refused = consumer.poll(9, |_| panic!("no frame"));
        assert!(
            matches!(refused, Err(Corruption::Length { limit: 8, .. })),
            "{length}"
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    Publish,
    Poll(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..70).prop_map(Step::Push),
        2 => Just(Step::Publish),
        2 => (0..5_usize).prop_map(Step::Poll),
    ]
}

/// Memory whose words and bytes are somebody else's invention at each look.
#[derive(Debug)]
struct Hostile {
    capacity: u32,
    script: RefCell<std::vec::IntoIter<u64>>,
    honest: Plain,
}

impl Hostile {
    fn next(&self) -> u64 {
        self.script.borrow_mut().next().unwrap_or(0)
    }

    /// Now and then the truth, else a position nearby, else anything.
    fn twist(&self, truth: u32) -> u32 {
        let lie = self.next();
        match lie % 4 {
            0 | 1 => truth,
            2 => truth.wrapping_add(((lie >> 8) as u32 % (2 * self.capacity)) & !7),
            _ => (lie >> 8) as u32,
        }
    }
}

impl RingMemory for Hostile {
    fn capacity(&self) -> u32 {
        self.capacity
    }
    fn load(&self, word: Word, order: Ordering) -> u32 {
        self.twist(self.honest.load(word, order))
    }
    fn store(&self, word: Word, value: u32, order: Ordering) {
        self.honest.store(word, value, order);
    }
    fn swap(&self, word: Word, value: u32, order: Ordering) -> u32 {
        self.twist(self.honest.swap(word, value, order))
    }
    fn fence(&self) {}
    fn write(&self, at: u32, bytes: &[u8]) {
        self.honest.write(at, bytes);
    }
    fn read(&self, at: u32, bytes: &mut [u8]) {
        self.honest.read(at, bytes);
        if bytes.len() == HEADER_BYTES as usize {
            let lie = self.next();
            let truth = u64::from_le_bytes(bytes.try_into().unwrap());
            let found = match lie % 3 {
                0 => truth,
                1 => (lie >> 8) % u64::from(2 * self.capacity),
                _ => lie,
            };
            bytes.copy_from_slice(&found.to_le_bytes());
        }
    }
}

proptest! {
    #[test]
    fn frames_arrive_whole_once_and_in_order(
        exponent in 4..8_u32,
        start in prop_oneof![Just(0), Just(0_u32.wrapping_sub(64))],
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let (mut producer, mut consumer) = pair(1 << exponent);
        // Walk to where positions wrap at 2^32: whole rings at a time would take too long.
        producer.skip_to(start);
        consumer.skip_to(start);
        let mut expected = std::collections::VecDeque::new();
        let mut published = 0;
        for step in steps {
            match step {
                Step::Push(frame) => {
                    if producer.push(&frame).is_ok() {
                        expected.push_back(frame);
                    }
                }
                Step::Publish => {
                    let _ = producer.publish();
                    published = expected.len();
                }
                Step::Poll(limit) => {
                    let mut seen = Vec::new();
                    let count = consumer.poll(limit, |frame| seen.push(frame.to_vec())).unwrap();
                    prop_assert_eq!(count, seen.len());
                    prop_assert_eq!(count, published.min(limit));
                    published -= count;
                    for frame in seen {
                        prop_assert_eq!(expected.pop_front(), Some(frame));
                    }
                }
            }
        }
    }

    /// The bounds checks of `Plain` panic for any access outside of the ring.
    #[test]
    fn a_hostile_peer_can_stop_the_ring_and_nothing_else(
        script in prop::collection::vec(any::<u64>(), 0..400),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let hostile = || Hostile {
            capacity: 64,
            script: RefCell::new(script.clone().into_iter()),
            honest: Plain::new(64),
        };
        let (mut producer, mut consumer) = (Producer::new(hostile()), Consumer::new(hostile()));
        for step in steps {
            match step {
                Step::Push(frame) => drop(producer.push(&frame)),
                Step::Publish => drop(producer.publish()),
                Step::Poll(limit) => {
                    let limit = limit.max(1);
                    if let Ok(shown) = consumer.poll(limit, |frame| assert!(frame.len() <= 56)) {
                        prop_assert!(shown <= limit);
                    }
                    let _ = consumer.arm();
                }
            }
        }
    }
}

/// All interleavings, with every byte watched for races.
mod model {
    use loom::{
        cell::UnsafeCell,
        sync::{
            Arc, Notify,
            atomic::{AtomicU32, fence},
        },
        thread,
    };

    use super::super::*;
    use std::sync::atomic::Ordering;

    const CAPACITY: u32 = 32;

    struct Watched {
        words: [AtomicU32; 3],
        /// Bytes of 8, as the ring moves them.
        cells: Vec<UnsafeCell<[u8; 8]>>,
    }

    // SAFETY: who may touch which cell is what the ring decides and loom checks.
    unsafe impl Sync for Watched {}
    // SAFETY: as above.
    unsafe impl Send for Watched {}

    #[derive(Clone)]
    struct Shared(Arc<Watched>);

    impl Shared {
        fn new() -> Self {
            Self(Arc::new(Watched {
                words: std::array::from_fn(|_| AtomicU32::new(0)),
                cells: (0..CAPACITY / 8).map(|_| UnsafeCell::new([0; 8])).collect(),
            }))
        }
    }

    impl RingMemory for Shared {
        fn capacity(&self) -> u32 {
            CAPACITY
        }
        fn load(&self, word: Word, order: Ordering) -> u32 {
            self.0.words[word as usize].load(order)
        }
        fn store(&self, word: Word, value: u32, order: Ordering) {
            self.0.words[word as usize].store(value, order);
        }
        fn swap(&self, word: Word, value: u32, order: Ordering) -> u32 {
            self.0.words[word as usize].swap(value, order)
        }
        fn fence(&self) {
            fence(Ordering::SeqCst);
        }
        fn write(&self, at: u32, bytes: &[u8]) {
            for (index, chunk) in bytes.chunks(8).enumerate() {
                let cell = &self.0.cells[at as usize / 8 + index];
                // SAFETY: loom fails the model when anybody else touches the cell meanwhile.
                cell.with_mut(|cell| unsafe {
                    (&mut (*cell))[..chunk.len()].copy_from_slice(chunk);
                });
            }
        }
        fn read(&self, at: u32, bytes: &mut [u8]) {
            for (index, chunk) in bytes.chunks_mut(8).enumerate() {
                let cell = &self.0.cells[at as usize / 8 + index];
                // SAFETY: loom fails the model when anybody writes the cell meanwhile.
                cell.with(|cell| unsafe { chunk.copy_from_slice(&(&(*cell))[..chunk.len()]) });
            }
        }
    }

    #[test]
    fn bytes_change_hands_without_a_race() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let memory = Shared::new();
            let mut producer = Producer::new(memory.clone());
            let writer = thread::spawn(move || {
                let mut sent = 0;
                // Three frames of 16 bytes: the third goes where the first was.
                for number in 0..3_u8 {
                    if producer.push(&[number; 8]).is_ok() {
                        sent += 1;
                        let _ = producer.publish();
                    } else {
                        break;
                    }
                }
                sent
            });
            let mut consumer = Consumer::new(memory);
            let mut seen = 0;
            let mut look = |consumer: &mut Consumer<Shared>| {
                consumer
                    .poll(2, |frame| {
                        assert_eq!(frame, [seen; 8]);
                        seen += 1;
                    })
                    .unwrap();
            };
            look(&mut consumer);
            look(&mut consumer);
            let sent = writer.join().unwrap();
            look(&mut consumer);
            look(&mut consumer);
            assert_eq!(seen, sent);
        });
    }

    #[test]
    fn no_wake_is_lost() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let memory = Shared::new();
            let bell = Arc::new(Notify::new());
            let mut producer = Producer::new(memory.clone());
            let writer = {
                let bell = Arc::clone(&bell);
                thread::spawn(move || {
                    for number in 0..2_u8 {
                        producer.push(&[number; 8]).unwrap();
                        if producer.publish() {
                            bell.notify();
                        }
                    }
                })
            };
            let mut consumer = Consumer::new(memory);
            let mut seen = 0;
            while seen < 2 {
                if consumer.arm().unwrap() {
                    // Deadlocks, which loom reports, if a publish was missed.
                    bell.wait();
                    consumer.disarm();
                }
                seen += consumer.poll(2, |_| {}).unwrap();
            }
            writer.join().unwrap();
        });
    }
}
