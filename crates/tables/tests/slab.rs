//! Handles and tickets that were freed or made up find nothing.
#![cfg(not(any(loom, shuttle)))]

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use linkmesh_tables::{Handle, HandleSlab, SlabError, Ticket, TicketSlab};
use proptest::prelude::*;

#[test]
fn capacities_outside_the_limits_are_refused() {
    assert_eq!(
        HandleSlab::<AtomicU32>::new(0).unwrap_err(),
        SlabError::Capacity {
            capacity: 0,
            max: 131_072
        }
    );
    assert!(HandleSlab::<AtomicU32>::new(131_073).is_err());
    assert!(TicketSlab::<AtomicU32>::new((1 << 20) + 1).is_err());
}

#[test]
fn slots_lie_side_by_side_and_never_move() {
    let slab = HandleSlab::<[AtomicU32; 16]>::new(1000).unwrap();
    let base = slab.as_ptr();
    assert_eq!(base as usize % 64, 0);
    for _ in 0..1000 {
        let handle = slab.allocate().unwrap();
        assert!(std::ptr::eq(
            slab.get(handle).unwrap(),
            base.wrapping_add(handle.slot() as usize)
        ));
    }
    assert_eq!(slab.allocate(), None);
    assert_eq!(slab.len(), 1000);
}

#[test]
fn a_handle_stays_stale_for_as_many_frees_as_its_generations_allow() {
    let slab = HandleSlab::<AtomicU32>::new(1).unwrap();
    let first = slab.allocate().unwrap();
    assert_eq!((first.slot(), first.generation()), (0, 1));
    assert!(slab.free(first) && !slab.free(first));
    for _ in 1..(1 << 14) - 1 {
        let handle = slab.allocate().unwrap();
        assert!(handle != first && slab.get(first).is_none());
        assert!(handle.0 != 0 && handle.0 < 1 << 31);
        slab.free(handle);
    }
    assert_eq!(
        slab.allocate(),
        Some(first),
        "generation 0 is skipped when they wrap"
    );
}

#[test]
fn a_claimed_slot_is_not_reused_before_the_claim_ends() {
    let slab = TicketSlab::<AtomicU64>::new(1).unwrap();
    let ticket = slab.allocate().unwrap();
    slab.get(ticket).unwrap().store(7, Ordering::Relaxed);
    let claimed = slab.claim(ticket).unwrap();
    assert!(slab.claim(ticket).is_none() && slab.get(ticket).is_none());
    assert_eq!(
        (slab.allocate(), claimed.load(Ordering::Relaxed)),
        (None, 7)
    );
    drop(claimed);
    let next = slab.allocate().unwrap();
    assert_eq!((next.slot(), next.generation()), (0, 2));
}

#[test]
fn tickets_survive_the_trip_through_a_javascript_number() {
    let largest = Ticket((u64::from(u32::MAX) << 20) | 0xf_ffff);
    assert_eq!(Ticket::from_f64(largest.as_f64()), Some(largest));
    for number in [
        0.0,
        -0.0,
        -1.0,
        0.5,
        f64::NAN,
        f64::INFINITY,
        4_503_599_627_370_496.0,
        1e300,
    ] {
        assert_eq!(Ticket::from_f64(number), None, "{number}");
    }
}

#[test]
fn two_threads_never_own_one_slot() {
    let slab = TicketSlab::<AtomicU64>::new(64).unwrap();
    std::thread::scope(|scope| {
        for me in 1..=2_u64 {
            let slab = &slab;
            scope.spawn(move || {
                let mut mine = Vec::new();
                for round in 0..50_000_u64 {
                    if let Some(ticket) = slab.allocate() {
                        slab.get(ticket)
                            .unwrap()
                            .store(me << 32 | round, Ordering::Relaxed);
                        mine.push((ticket, me << 32 | round));
                    }
                    if mine.len() > (round % 40) as usize {
                        let (ticket, wrote) = mine.swap_remove(round as usize % mine.len());
                        assert_eq!(
                            slab.claim(ticket)
                                .expect("mine alone")
                                .load(Ordering::Relaxed),
                            wrote
                        );
                    }
                }
                for (ticket, _) in mine {
                    assert!(slab.free(ticket));
                }
            });
        }
    });
    assert!(slab.is_empty());
}

proptest! {
    /// Against a map: what is alive is found, everything else, stale or forged, is not.
    #[test]
    fn only_live_handles_are_found(steps in prop::collection::vec((0..3_u8, any::<u32>()), 1..400)) {
        let slab = HandleSlab::<AtomicU32>::new(8).unwrap();
        let mut alive: HashMap<Handle, u32> = HashMap::new();
        let mut dead = Vec::new();
        for (kind, number) in steps {
            match kind {
                0 => if let Some(handle) = slab.allocate() {
                    slab.get(handle).unwrap().store(number, Ordering::Relaxed);
                    prop_assert!(alive.insert(handle, number).is_none());
                } else { prop_assert_eq!(alive.len(), 8) },
                1 => if let Some(handle) = alive.keys().nth(number as usize % alive.len().max(1)).copied() {
                    alive.remove(&handle);
                    prop_assert!(slab.free(handle));
                    dead.push(handle);
                },
                _ => {
                    let forged = Handle(number);
                    prop_assert_eq!(slab.get(forged).map(|v| v.load(Ordering::Relaxed)), alive.get(&forged).copied());
                }
            }
            for (handle, number) in &alive {
                prop_assert_eq!(slab.get(*handle).unwrap().load(Ordering::Relaxed), *number);
            }
            prop_assert!(dead.iter().all(|handle| slab.get(*handle).is_none() && !slab.free(*handle)));
            prop_assert_eq!(slab.len(), alive.len());
        }
    }
}
