//! Snapshots live as long as somebody reads them, and not longer.
#![cfg(not(any(loom, shuttle)))]

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use linkmesh_tables::{Snapshot, epoch::Domain};

/// Counts the values that are alive.
struct Counted(u64, Arc<AtomicUsize>);

impl Counted {
    fn new(value: u64, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(value, Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0 = u64::MAX;
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_value_outlives_its_replacement_while_it_is_read() {
    let (domain, alive) = (Domain::new(), Arc::new(AtomicUsize::new(0)));
    let snapshot = Snapshot::new_in(&domain, Counted::new(1, &alive));
    let reader = domain.register();
    let outer = reader.pin();
    let seen = snapshot.load(&outer);
    {
        let inner = reader.pin();
        assert_eq!(snapshot.load(&inner).0, 1);
    }
    snapshot.store(Counted::new(2, &alive));
    assert_eq!(
        (seen.0, alive.load(Ordering::SeqCst), domain.pending()),
        (1, 2, 1)
    );
    assert_eq!(snapshot.load(&outer).0, 2);
    drop(snapshot);
    assert_eq!(
        seen.0, 1,
        "a guard keeps what it loaded, whatever happens to the snapshot"
    );
    drop(outer);
    assert_eq!((domain.collect(), alive.load(Ordering::SeqCst)), (2, 0));
}

#[test]
fn a_parked_reader_delays_nobody_and_a_dead_one_unregisters() {
    let (domain, alive) = (Domain::new(), Arc::new(AtomicUsize::new(0)));
    let snapshot = Snapshot::new_in(&domain, Counted::new(0, &alive));
    let _parked = domain.register();
    let other = domain.clone();
    std::thread::spawn(move || drop(other.register().pin()))
        .join()
        .unwrap();
    for value in 1..100 {
        snapshot.update(|old| Counted::new(old.0 + value, &alive));
        assert_eq!(alive.load(Ordering::SeqCst), 1);
    }
    drop(snapshot);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_pending_goes_with_the_domain() {
    let (domain, alive) = (Domain::new(), Arc::new(AtomicUsize::new(0)));
    let snapshot = Snapshot::new_in(&domain, Counted::new(0, &alive));
    let reader = domain.register();
    let guard = reader.pin();
    snapshot.store(Counted::new(1, &alive));
    drop(snapshot);
    assert_eq!(domain.pending(), 2);
    drop(guard);
    drop(reader);
    drop(domain);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
#[should_panic(expected = "another epoch domain")]
fn a_guard_of_another_domain_is_refused() {
    let snapshot = Snapshot::new_in(&Domain::new(), 1);
    let reader = Domain::new().register();
    snapshot.load(&reader.pin());
}

#[test]
fn readers_never_see_a_freed_or_older_value() {
    let (domain, alive) = (Domain::new(), Arc::new(AtomicUsize::new(0)));
    let snapshot = Snapshot::new_in(&domain, Counted::new(0, &alive));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (reader, mut last) = (domain.register(), 0);
                while !done.load(Ordering::Acquire) {
                    let guard = reader.pin();
                    let first = snapshot.load(&guard);
                    let before = first.0;
                    let second = snapshot.load(&guard).0;
                    assert!(last <= before && before <= second && second != u64::MAX);
                    assert_eq!(first.0, before);
                    last = second;
                }
            });
        }
        for _ in 0..20_000 {
            snapshot.update(|old| Counted::new(old.0 + 1, &alive));
        }
        done.store(true, Ordering::Release);
    });
    domain.collect();
    assert_eq!(alive.load(Ordering::SeqCst), 1);
}
