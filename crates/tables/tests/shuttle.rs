//! Ring and snapshot together, under random schedules.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p linkmesh-tables --release --test shuttle`
#![cfg(shuttle)]

use linkmesh_tables::{MpmcRing, Snapshot, epoch::Domain};
use shuttle::{
    check_random,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Knows how many of its kind are alive, and says when it is dead.
struct Version(u32, Arc<AtomicUsize>);

impl Version {
    fn new(version: u32, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(version, Arc::clone(alive))
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        self.0 = u32::MAX;
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A writer publishes a version and then announces it through the ring: whoever takes the announcement finds that
/// version or a later one, never a freed one.
#[test]
fn what_a_ring_announces_a_snapshot_shows() {
    check_random(
        || {
            const VERSIONS: u32 = 6;
            let alive = Arc::new(AtomicUsize::new(0));
            let domain = Domain::new();
            let snapshot = Arc::new(Snapshot::new_in(&domain, Version::new(0, &alive)));
            let ring = Arc::new(MpmcRing::new(2).unwrap());
            let taken = Arc::new(AtomicUsize::new(0));
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let (domain, snapshot, ring) =
                        (domain.clone(), Arc::clone(&snapshot), Arc::clone(&ring));
                    let taken = Arc::clone(&taken);
                    thread::spawn(move || {
                        let reader = domain.register();
                        while taken.load(Ordering::SeqCst) < VERSIONS as usize {
                            let Some(announced) = ring.pop() else {
                                thread::yield_now();
                                continue;
                            };
                            taken.fetch_add(1, Ordering::SeqCst);
                            let guard = reader.pin();
                            let seen = snapshot.load(&guard);
                            assert!((announced..=VERSIONS).contains(&seen.0));
                            thread::yield_now();
                            assert!(seen.0 != u32::MAX, "freed under its reader");
                        }
                    })
                })
                .collect();
            for version in 1..=VERSIONS {
                snapshot.store(Version::new(version, &alive));
                while ring.push(version).is_err() {
                    thread::yield_now();
                }
            }
            for reader in readers {
                reader.join().unwrap();
            }
            domain.collect();
            assert_eq!(alive.load(Ordering::SeqCst), 1);
        },
        1_000,
    );
}
