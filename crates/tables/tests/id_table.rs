//! The id table against a map, and against its own history under two threads.
#![cfg(not(any(loom, shuttle)))]

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use linkmesh_tables::{FingerprintedIdTable, TableError, epoch::Domain};
use proptest::prelude::*;

#[test]
fn limits_are_told_with_field_and_bound() {
    assert_eq!(
        FingerprintedIdTable::with_capacity((1 << 28) + 1).unwrap_err(),
        TableError::Capacity { limit: 1 << 28 }
    );
    let table = FingerprintedIdTable::with_capacity(0).unwrap();
    assert_eq!(table.insert_bytes(b"", 1), Err(TableError::KeyEmpty));
    let long = vec![b'x'; 65_537];
    assert_eq!(
        table.insert_bytes(&long, 1),
        Err(TableError::KeyTooLong {
            length: 65_537,
            limit: 65_536
        })
    );
    assert_eq!(table.insert_bytes(&long[1..], 1), Ok(None));
    assert_eq!(
        table.insert_u64(1, u32::MAX),
        Err(TableError::ValueReserved)
    );
    assert_eq!(
        table.insert_bytes(b"a", u32::MAX),
        Err(TableError::ValueReserved)
    );
    let reader = Domain::global().register();
    let guard = reader.pin();
    assert_eq!(table.get_bytes(&long[1..], &guard), Some(1));
    assert_eq!(table.get_bytes(&long, &guard), None);
    assert_eq!(table.get_bytes(b"", &guard), None);
    let mut out = [7; 3];
    assert_eq!(
        table.get_many_bytes(&[&[], long.as_slice(), &long[1..]], &mut out, &guard),
        1
    );
    assert_eq!(out, [u32::MAX, u32::MAX, 1]);
    assert_eq!(table.remove_bytes(b""), None);
    assert_eq!(table.len(), 1);
}

#[derive(Clone, Debug)]
enum Key {
    Number(u64),
    Bytes(Vec<u8>),
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        (0..40_u64).prop_map(Key::Number),
        any::<u64>().prop_map(Key::Number),
        // The bytes of a small number are another key than the number.
        (0..40_u64).prop_map(|number| Key::Bytes(number.to_le_bytes().to_vec())),
        prop::collection::vec(any::<u8>(), 1..40).prop_map(Key::Bytes),
        prop::collection::vec(0..2_u8, 1..5).prop_map(Key::Bytes),
    ]
}

proptest! {
    #[test]
    fn answers_as_a_map_does(steps in prop::collection::vec((0..4_u8, key(), 0..u32::MAX), 1..600)) {
        let table = FingerprintedIdTable::with_capacity(4).unwrap();
        let (mut numbers, mut bytes) = (HashMap::new(), HashMap::new());
        let reader = Domain::global().register();
        for (kind, key, value) in &steps {
            let guard = reader.pin();
            match (kind, key) {
                (0 | 1, Key::Number(key)) => prop_assert_eq!(table.insert_u64(*key, *value), Ok(numbers.insert(*key, *value))),
                (0 | 1, Key::Bytes(key)) => prop_assert_eq!(table.insert_bytes(key, *value), Ok(bytes.insert(key.clone(), *value))),
                (2, Key::Number(key)) => prop_assert_eq!(table.remove_u64(*key), numbers.remove(key)),
                (2, Key::Bytes(key)) => prop_assert_eq!(table.remove_bytes(key), bytes.remove(key)),
                (_, Key::Number(key)) => prop_assert_eq!(table.get_u64(*key, &guard), numbers.get(key).copied()),
                (_, Key::Bytes(key)) => prop_assert_eq!(table.get_bytes(key, &guard), bytes.get(key).copied()),
            }
            prop_assert_eq!(table.len(), numbers.len() + bytes.len());
        }
        let guard = reader.pin();
        let asked: Vec<u64> = (0..60).chain(numbers.keys().copied()).collect();
        let mut out = vec![0; asked.len()];
        let found = table.get_many_u64(&asked, &mut out, &guard);
        let expected: Vec<u32> = asked.iter().map(|key| numbers.get(key).copied().unwrap_or(u32::MAX)).collect();
        prop_assert_eq!(&out, &expected);
        prop_assert_eq!(found, expected.iter().filter(|value| **value != u32::MAX).count());
        let small: Vec<u32> = (0..60).collect();
        let mut out = vec![0; 60];
        table.get_many_u32(&small, &mut out, &guard);
        prop_assert_eq!(&out[..], &expected[..60]);
        let asked: Vec<&[u8]> = steps.iter().filter_map(|(_, key, _)| match key {
            Key::Bytes(key) => Some(key.as_slice()),
            Key::Number(_) => None,
        }).collect();
        let mut out = vec![0; asked.len()];
        table.get_many_bytes(&asked, &mut out, &guard);
        let expected: Vec<u32> = asked.iter().map(|key| bytes.get(*key).copied().unwrap_or(u32::MAX)).collect();
        prop_assert_eq!(out, expected);
    }
}

/// Each key's history is known: its writer counts up, announcing each step before and after it is done. A read must
/// give a step that was announced when the read ended and not overtaken when it began, and never another key's.
#[test]
fn each_key_has_one_history_for_all_threads() {
    const KEYS: u32 = 64;
    const STEPS: u32 = 1 << 20;
    let table = FingerprintedIdTable::with_capacity(0).unwrap();
    // Per key: the last step begun, the last step finished. A step's value is `key << 20 | step`; odd steps remove.
    let begun: Vec<AtomicU32> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
    let finished: Vec<AtomicU32> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
    let done = AtomicBool::new(false);
    let name = |key: u32| format!("a key with a long enough name {key}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let reader = Domain::global().register();
            let names: Vec<String> = (0..KEYS).map(name).collect();
            let (mut hits, mut misses, mut turn) = (0_u32, 0_u32, 0_u32);
            while !done.load(Ordering::Acquire) || turn == 0 {
                turn = turn.wrapping_add(1);
                let key = turn % KEYS;
                let at_least = finished[key as usize].load(Ordering::SeqCst);
                let guard = reader.pin();
                let value = match turn / KEYS % 3 {
                    0 => table.get_u64(u64::from(key), &guard),
                    1 => table.get_bytes(names[key as usize].as_bytes(), &guard),
                    _ => {
                        let mut out = [0; 2];
                        table.get_many_u32(&[key, key + KEYS * 4], &mut out, &guard);
                        (out[0] != u32::MAX).then_some(out[0])
                    }
                };
                drop(guard);
                let at_most = begun[key as usize].load(Ordering::SeqCst);
                if let Some(value) = value {
                    hits += 1;
                    assert_eq!(value >> 20, key, "another key's value");
                    let step = value % STEPS;
                    assert!(
                        (at_least..=at_most).contains(&step),
                        "{at_least} <= {step} <= {at_most}"
                    );
                } else {
                    misses += 1;
                    // Step 0 is "never written", odd steps are removals.
                    assert!(
                        at_least == 0 || at_least % 2 == 1 || at_most > at_least,
                        "{at_least}..={at_most}"
                    );
                }
            }
            assert!(hits > 100 && misses > 100, "{hits} hits, {misses} misses");
        });
        for turn in 0..200_000_u32 {
            let key = turn.wrapping_mul(2_654_435_761) >> 26;
            let step = begun[key as usize].load(Ordering::Relaxed) + 1;
            begun[key as usize].store(step, Ordering::SeqCst);
            if step % 2 == 1 {
                table.remove_u64(u64::from(key));
                table.remove_bytes(name(key).as_bytes());
            } else {
                table.insert_u64(u64::from(key), key << 20 | step).unwrap();
                table
                    .insert_bytes(name(key).as_bytes(), key << 20 | step)
                    .unwrap();
            }
            // Other keys come and go, so that generations change under the reader.
            table.insert_u64(u64::from(turn) + 1_000, 0).unwrap();
            table.remove_u64(u64::from(turn) + 900);
            table.insert_bytes(&turn.to_le_bytes(), 0).unwrap();
            table.remove_bytes(&turn.wrapping_sub(100).to_le_bytes());
            finished[key as usize].store(step, Ordering::SeqCst);
        }
        done.store(true, Ordering::Release);
    });
}
