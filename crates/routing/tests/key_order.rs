//! One after the other: turns of requests with one key, and who is told that an order is broken.

mod mesh;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use linkmesh_registry::{RegistryError, Status};
use linkmesh_routing::{Entered, Rng};
use linkmesh_tables::epoch::Domain;
use mesh::Mesh;

const ORDERED: &str = r#"{"ordering":"key","queueLimit":3}"#;

fn enter(mesh: &Mesh, key: &str, thread: u32) -> Result<Entered, RegistryError> {
    let guard = mesh.reader.pin();
    mesh.router
        .order_enter(&guard, mesh.service, key.as_bytes(), thread)
}

fn leave(mesh: &Mesh, key: &str, id: u32, broken: bool) -> Option<u32> {
    mesh.router
        .order_leave(mesh.service, key.as_bytes(), id, broken)
}

/// (id, broken) of the turns that have come to a thread.
fn turns(mesh: &Mesh, thread: u32) -> Vec<(u32, bool)> {
    let mut grants = Vec::new();
    mesh.router.take_grants(thread, 64, &mut grants);
    grants
        .iter()
        .map(|grant| {
            assert_eq!(grant.result, Ok(0), "no ticket");
            (grant.wait_id, grant.instance == 1)
        })
        .collect()
}

#[test]
fn turns_of_one_key_follow_each_other_across_threads_and_other_keys_do_not_wait() {
    let mesh = Mesh::new(ORDERED);
    let first = enter(&mesh, "a", 1).unwrap();
    let second = enter(&mesh, "a", 2).unwrap();
    let third = enter(&mesh, "a", 3).unwrap();
    assert_eq!(
        (first.waits, second.waits, third.waits),
        (false, true, true)
    );
    assert!(!enter(&mesh, "b", 1).unwrap().waits);
    assert_eq!(leave(&mesh, "a", first.id, false), Some(2));
    assert_eq!(turns(&mesh, 2), [(second.id, false)]);
    assert_eq!(leave(&mesh, "a", second.id, false), Some(3));
    assert_eq!(turns(&mesh, 3), [(third.id, false)]);
    assert_eq!(leave(&mesh, "a", third.id, false), None);
    assert!(!enter(&mesh, "a", 1).unwrap().waits);
}

#[test]
fn a_message_that_was_given_up_is_told_to_the_next_one_whenever_it_comes() {
    let mesh = Mesh::new(ORDERED);
    let first = enter(&mesh, "a", 1).unwrap();
    let second = enter(&mesh, "a", 1).unwrap();
    leave(&mesh, "a", first.id, true);
    assert_eq!(turns(&mesh, 1), [(second.id, true)]);
    leave(&mesh, "a", second.id, true);
    let later = enter(&mesh, "a", 1).unwrap();
    assert!(later.broken && !later.waits);
    leave(&mesh, "a", later.id, false);
    assert!(!enter(&mesh, "a", 1).unwrap().broken, "told once");
}

#[test]
fn one_that_leaves_the_queue_is_told_to_the_one_behind_it() {
    let mesh = Mesh::new(ORDERED);
    let first = enter(&mesh, "a", 1).unwrap();
    let second = enter(&mesh, "a", 1).unwrap();
    let third = enter(&mesh, "a", 1).unwrap();
    let fourth = enter(&mesh, "a", 1).unwrap();
    assert_eq!(leave(&mesh, "a", second.id, true), None);
    leave(&mesh, "a", first.id, false);
    assert_eq!(turns(&mesh, 1), [(third.id, true)]);
    leave(&mesh, "a", third.id, false);
    assert_eq!(turns(&mesh, 1), [(fourth.id, false)]);
}

#[test]
fn the_queue_is_bounded_and_a_refusal_breaks_the_order() {
    let mesh = Mesh::new(ORDERED);
    let turns_taken: Vec<_> = (0..4).map(|_| enter(&mesh, "a", 1).unwrap()).collect();
    let refused = enter(&mesh, "a", 1).unwrap_err();
    assert_eq!(
        (refused.status, refused.field.as_deref(), refused.limit),
        (Status::QueueFull, Some("key"), Some(3.0))
    );
    for turn in turns_taken {
        leave(&mesh, "a", turn.id, false);
    }
    assert!(turns(&mesh, 1).iter().all(|(_, broken)| !broken));
    assert!(enter(&mesh, "a", 1).unwrap().broken);
}

#[test]
fn turns_of_a_thread_end_with_it_as_broken() {
    let mesh = Mesh::new(ORDERED);
    enter(&mesh, "a", 7).unwrap();
    enter(&mesh, "a", 7).unwrap();
    let mine = enter(&mesh, "a", 1).unwrap();
    mesh.router.thread_ended(7, mesh.now_us);
    assert_eq!(turns(&mesh, 1), [(mine.id, true)]);
    assert_eq!(turns(&mesh, 7), []);
}

#[test]
fn a_stale_service_and_a_turn_that_was_left_are_refused_or_ignored() {
    let mesh = Mesh::new(ORDERED);
    let guard = mesh.reader.pin();
    let stale = mesh.router.order_enter(&guard, 0, b"a", 1).unwrap_err();
    assert_eq!(stale.status, Status::StaleHandle);
    let first = enter(&mesh, "a", 1).unwrap();
    let second = enter(&mesh, "a", 1).unwrap();
    leave(&mesh, "a", first.id, false);
    assert_eq!(leave(&mesh, "a", first.id, true), None);
    assert_eq!(leave(&mesh, "b", first.id, true), None);
    assert_eq!(turns(&mesh, 1), [(second.id, false)]);
}

#[test]
fn keys_that_nobody_uses_are_forgotten_but_for_the_latest_that_are_broken() {
    let mesh = Mesh::new(ORDERED);
    for n in 0..200_000 {
        let key = format!("k{n}");
        let turn = enter(&mesh, &key, 1).unwrap();
        leave(&mesh, &key, turn.id, true);
    }
    assert!(enter(&mesh, "k199999", 1).unwrap().broken);
    assert!(!enter(&mesh, "k0", 1).unwrap().broken);
}

/// Against a list of each key's messages: one at a time, in the order in which they were entered, and told exactly when
/// one between it and the last that was served was given up.
#[test]
fn a_model_of_many_keys_and_threads_agrees() {
    let mesh = Mesh::new(r#"{"ordering":"key","queueLimit":8}"#);
    let mut rng = Rng::new(11, 1);
    // By key: (id, thread, broken), the first of them served.
    let mut queues: HashMap<u32, Vec<(u32, u32, bool)>> = HashMap::new();
    let mut tails: HashMap<u32, bool> = HashMap::new();
    for _ in 0..20_000 {
        let (key, thread) = (rng.below(5), 1 + rng.below(3));
        let name = format!("key-{key}");
        let queue = queues.entry(key).or_default();
        let tail = tails.entry(key).or_default();
        if rng.below(2) == 0 {
            match enter(&mesh, &name, thread) {
                Ok(entered) => {
                    assert_eq!(entered.waits, !queue.is_empty());
                    assert!(queue.len() <= 8);
                    let broken = std::mem::take(tail);
                    assert_eq!(entered.broken, broken && !entered.waits);
                    queue.push((entered.id, thread, broken));
                }
                Err(refused) => {
                    assert_eq!((refused.status, queue.len()), (Status::QueueFull, 9));
                    *tail = true;
                }
            }
        } else if !queue.is_empty() {
            let at = rng.below(queue.len() as u32) as usize;
            let broken = rng.below(3) == 0;
            let (id, _, was) = queue.remove(at);
            // One that was told and served has taken the news; one that left the queue passes them on.
            if broken || (at > 0 && was) {
                match queue.get_mut(at) {
                    Some(next) => next.2 = true,
                    None => *tail = true,
                }
            }
            leave(&mesh, &name, id, broken);
            if at == 0
                && let Some((id, thread, broken)) = queue.first()
            {
                assert_eq!(turns(&mesh, *thread), [(*id, *broken)]);
            }
            for thread in 1..4 {
                assert_eq!(turns(&mesh, thread), []);
            }
        }
    }
}

#[test]
fn threads_exclude_each_other_and_every_turn_comes() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 2_000;
    let mesh = Mesh::new(ORDERED);
    let (router, service) = (&mesh.router, mesh.service);
    let held = [const { AtomicBool::new(false) }; 3];
    let (served, broken) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 1..=THREADS {
            let (held, served, broken) = (&held, &served, &broken);
            scope.spawn(move || {
                let reader = Domain::global().register();
                let mut rng = Rng::new(5, thread);
                for _ in 0..ROUNDS {
                    let key = rng.below(3);
                    let name = [key as u8];
                    let entered = router.order_enter(&reader.pin(), service, &name, thread);
                    let turn = entered.expect("four threads with three places to wait");
                    let mut grants = Vec::new();
                    while turn.waits && grants.is_empty() {
                        router.take_grants(thread, 1, &mut grants);
                        std::thread::yield_now();
                    }
                    assert!(
                        !held[key as usize].swap(true, Ordering::AcqRel),
                        "two at once"
                    );
                    let told = turn.broken || grants.iter().any(|grant| grant.instance == 1);
                    served.fetch_add(u32::from(told), Ordering::Relaxed);
                    held[key as usize].store(false, Ordering::Release);
                    let fails = rng.below(5) == 0;
                    broken.fetch_add(u32::from(fails), Ordering::Relaxed);
                    router.order_leave(service, &name, turn.id, fails);
                }
            });
        }
    });
    // Each that broke an order was told to exactly one, but for the last of each key.
    let (told, broke) = (served.into_inner(), broken.into_inner());
    assert!((broke - 3..=broke).contains(&told), "{told} of {broke}");
}
