//! Every interleaving (up to the preemption bound) of the hand-made synchronisation.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p linkmesh-tables --release --test loom`
#![cfg(loom)]

use linkmesh_tables::{
    AccessGate, ByteRing, Doorbell, HandleSlab, Lane, MpmcRing, RecordRing, RingError, Snapshot,
    TicketSlab, epoch::Domain,
};
use loom::{
    cell::UnsafeCell,
    model,
    sync::{
        Arc, Notify,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread,
};

/// A value whose freeing loom sees as a write: reading it while it is freed is a race that fails the model.
struct Watched {
    value: UnsafeCell<u32>,
    alive: Arc<AtomicUsize>,
}

impl Watched {
    fn new(value: u32, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            value: UnsafeCell::new(value),
            alive: Arc::clone(alive),
        }
    }

    fn get(&self) -> u32 {
        // SAFETY: only `drop` writes; that no drop runs meanwhile is what loom checks here.
        self.value.with(|value| unsafe { *value })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: exclusive by `&mut self`; that no reader is left is what loom checks here.
        self.value.with_mut(|value| unsafe { *value = u32::MAX });
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

// SAFETY: the cell is written only by `drop`.
unsafe impl Sync for Watched {}

#[test]
fn a_snapshot_is_freed_after_its_last_reader_and_not_before() {
    model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let domain = Domain::new();
        let snapshot = Arc::new(Snapshot::new_in(&domain, Watched::new(1, &alive)));
        let reader = {
            let (domain, snapshot) = (domain.clone(), Arc::clone(&snapshot));
            thread::spawn(move || {
                let reader = domain.register();
                let mut last = 0;
                for _ in 0..2 {
                    let guard = reader.pin();
                    let first = snapshot.load(&guard);
                    let again = snapshot.load(&guard).get();
                    assert!(last <= first.get() && first.get() <= again);
                    last = again;
                }
            })
        };
        snapshot.store(Watched::new(2, &alive));
        snapshot.store(Watched::new(3, &alive));
        reader.join().unwrap();
        domain.collect();
        assert_eq!(alive.load(Ordering::Relaxed), 1);
        drop(snapshot);
        assert_eq!((domain.pending(), alive.load(Ordering::Relaxed)), (0, 0));
    });
}

#[test]
fn no_update_is_lost_and_none_is_freed_twice() {
    model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let domain = Domain::new();
        let snapshot = Arc::new(Snapshot::new_in(&domain, Watched::new(0, &alive)));
        let add = |snapshot: Arc<Snapshot<Watched>>, alive: Arc<AtomicUsize>| {
            move || snapshot.update(|old| Watched::new(old.get() + 1, &alive))
        };
        let other = thread::spawn(add(Arc::clone(&snapshot), Arc::clone(&alive)));
        add(Arc::clone(&snapshot), Arc::clone(&alive))();
        other.join().unwrap();
        let reader = domain.register();
        assert_eq!(snapshot.load(&reader.pin()).get(), 2);
        domain.collect();
        assert_eq!(alive.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn mpmc_values_arrive_once_and_in_order() {
    model(|| {
        let ring = Arc::new(MpmcRing::new(2).unwrap());
        let producers: Vec<_> = (0..2_u32)
            .map(|producer| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || {
                    (0..2)
                        .take_while(|i| ring.push(producer * 10 + i).is_ok())
                        .count()
                })
            })
            .collect();
        let mut seen: Vec<u32> = (0..2).filter_map(|_| ring.pop()).collect();
        let pushed: usize = producers
            .into_iter()
            .map(|producer| producer.join().unwrap())
            .sum();
        seen.extend(std::iter::from_fn(|| ring.pop()));
        assert_eq!(seen.len(), pushed);
        for producer in 0..2 {
            let own: Vec<_> = seen
                .iter()
                .filter(|value| **value / 10 == producer)
                .map(|value| value % 10)
                .collect();
            assert_eq!(own, (0..own.len() as u32).collect::<Vec<_>>());
        }
    });
}

#[test]
fn mpmc_batches_do_not_overlap() {
    model(|| {
        let ring = Arc::new(MpmcRing::new(4).unwrap());
        assert_eq!(ring.push_many(&[1, 2, 3]), 3);
        let other = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let mut out = [0; 2];
                let count = ring.pop_many(&mut out);
                (out[..count].to_vec(), ring.push_many(&[4, 5]))
            })
        };
        let mut out = [0; 2];
        let count = ring.pop_many(&mut out);
        let (theirs, pushed) = other.join().unwrap();
        assert!(pushed >= 1);
        let mut rest = [0; 8];
        let left = ring.pop_many(&mut rest);
        let mut all = [&out[..count], &theirs, &rest[..left]].concat();
        all.sort_unstable();
        assert_eq!(all, (1..=3 + pushed as u32).collect::<Vec<_>>());
    });
}

#[test]
fn spsc_records_arrive_whole_across_the_end() {
    model(|| {
        // 16 bytes: the second record wraps, and needs the first to be gone.
        let ring = Arc::new(ByteRing::spsc(16).unwrap());
        let producer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let mut pushed = 0;
                for _ in 0..2 {
                    match ring.push(&[pushed; 5]) {
                        Ok(()) => pushed += 1,
                        Err(error) => assert_eq!(error, RingError::Full),
                    }
                }
                pushed
            })
        };
        let consumer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let (mut popped, mut out) = (0, [0; 8]);
                for _ in 0..2 {
                    if let Some(length) = ring.pop(&mut out).unwrap() {
                        assert_eq!(out[..length], [popped; 5]);
                        popped += 1;
                    }
                }
                popped
            })
        };
        let pushed = producer.join().unwrap();
        let mut popped = consumer.join().unwrap();
        let mut out = [0; 8];
        while let Some(length) = ring.pop(&mut out).unwrap() {
            assert_eq!(out[..length], [popped; 5]);
            popped += 1;
        }
        assert_eq!(popped, pushed);
    });
}

#[test]
fn mpmc_records_arrive_whole_and_once() {
    model(|| {
        let ring = Arc::new(ByteRing::mpmc(16).unwrap());
        let threads: Vec<_> = (1..=2_u8)
            .map(|id| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || {
                    ring.push(&[id; 2]).unwrap();
                    let mut out = [0; 4];
                    let length = ring
                        .pop(&mut out)
                        .unwrap()
                        .expect("two pushed, one popped at most");
                    assert!(length == 2 && out[0] == out[1]);
                    out[0]
                })
            })
            .collect();
        let mut seen: Vec<u8> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

/// A reader that sleeps after `arm` and a last look is woken by every commit that it has not seen. A lost wake is a
/// deadlock, which loom reports; a byte read before it is written is a race, which loom reports too.
#[test]
fn no_wake_is_lost_between_lane_and_doorbell() {
    model(|| {
        struct Shared {
            lane: Lane,
            bell: Doorbell,
            wake: Notify,
            bytes: [UnsafeCell<u32>; 2],
        }
        // SAFETY: byte n is written before position n + 1 is committed, and read after.
        unsafe impl Sync for Shared {}
        let shared = Arc::new(Shared {
            lane: Lane::new(4096).unwrap(),
            bell: Doorbell::new(),
            wake: Notify::new(),
            bytes: [UnsafeCell::new(0), UnsafeCell::new(0)],
        });
        let producer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let mut wakes = 0;
                for position in 0..2_u32 {
                    // SAFETY: not committed yet, so ours.
                    shared.bytes[position as usize]
                        .with_mut(|byte| unsafe { *byte = position + 1 });
                    shared.lane.commit(position + 1).unwrap();
                    if shared.bell.ring() {
                        wakes += 1;
                        shared.wake.notify();
                    }
                }
                wakes
            })
        };
        let (mut head, mut arms) = (0, 0);
        while head < 2 {
            let tail = shared.lane.tail();
            if tail != head {
                for position in head..tail {
                    // SAFETY: committed.
                    let byte = shared.bytes[position as usize].with(|byte| unsafe { *byte });
                    assert_eq!(byte, position + 1);
                }
                head = tail;
                shared.lane.release(head).unwrap();
                continue;
            }
            shared.bell.arm();
            arms += 1;
            // When the bell rang first a wake is on its way, and must be taken.
            if shared.lane.tail() != head && shared.bell.disarm() {
                continue;
            }
            shared.wake.wait();
        }
        assert!(
            producer.join().unwrap() <= arms,
            "one wake for each arm at most"
        );
    });
}

#[test]
fn a_handle_dies_once_and_its_slot_is_reborn_under_another() {
    model(|| {
        let slab = Arc::new(HandleSlab::<AtomicU32>::new(1).unwrap());
        let first = slab.allocate().unwrap();
        slab.get(first).unwrap().store(7, Ordering::Relaxed);
        let other = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || {
                let freed = slab.free(first);
                (freed, slab.allocate())
            })
        };
        let freed = slab.free(first);
        let second = slab.allocate();
        let (freed_there, second_there) = other.join().unwrap();
        assert!(freed ^ freed_there);
        assert!(slab.get(first).is_none());
        assert!(second.is_none() || second_there.is_none(), "one slot");
        for handle in [second, second_there].into_iter().flatten() {
            assert_eq!((handle.slot(), handle.generation()), (0, 2));
        }
    });
}

#[test]
fn a_ticket_slot_has_one_owner() {
    model(|| {
        let slab = Arc::new(TicketSlab::<AtomicU32>::new(2).unwrap());
        // Both slots have lived: they are on the free stack, where ABA threatens.
        let (a, b) = (slab.allocate().unwrap(), slab.allocate().unwrap());
        assert!(slab.free(a) && slab.free(b));
        let work = |slab: Arc<TicketSlab<AtomicU32>>, id: u32, rounds: u32| {
            move || {
                for _ in 0..rounds {
                    let ticket = slab.allocate().expect("two slots, two threads");
                    slab.get(ticket).unwrap().store(id, Ordering::Relaxed);
                    assert_eq!(
                        slab.claim(ticket).expect("mine").load(Ordering::Relaxed),
                        id
                    );
                }
            }
        };
        let other = thread::spawn(work(Arc::clone(&slab), 1, 2));
        work(Arc::clone(&slab), 2, 1)();
        other.join().unwrap();
        assert!(slab.is_empty());
    });
}

#[test]
fn memory_behind_a_gate_is_not_touched_after_it_was_closed() {
    model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(AccessGate::new());
        let memory = Arc::new(UnsafeCell::new(7u32));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (gate, memory) = (Arc::clone(&gate), SharedCell(Arc::clone(&memory)));
                let alive = Arc::clone(&alive);
                thread::spawn(move || {
                    let memory = memory;
                    if let Some(_pass) = gate.enter() {
                        // SAFETY: inside the gate; that the closer does not write meanwhile is what loom checks here.
                        assert_eq!(memory.0.with(|value| unsafe { *value }), 7);
                        alive.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        gate.close();
        // SAFETY: the gate is closed, so nobody is inside; that this holds is what loom checks here.
        memory.with_mut(|value| unsafe { *value = u32::MAX });
        let seen = alive.load(Ordering::Relaxed);
        assert!(gate.enter().is_none());
        for reader in readers {
            reader.join().unwrap();
        }
        // What was done inside was visible when `close` returned, and nothing happened later.
        assert_eq!(alive.load(Ordering::Relaxed), seen);
    });
}

/// A cell that threads share; the gate says when it may be touched.
struct SharedCell(Arc<UnsafeCell<u32>>);

// SAFETY: access is ordered by the gate under test; loom reports it when it is not.
unsafe impl Send for SharedCell {}
