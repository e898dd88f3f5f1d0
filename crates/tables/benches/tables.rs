//! The tables against their rivals, same keys, same random order, misses included, answers checked.
//!
//! `cargo bench -p linkmesh-tables`. Prints nanoseconds per lookup: p50 and p99 of bursts, and the ratio of the p50s.
#![allow(clippy::print_stdout, reason = "a benchmark's purpose")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{hash::BuildHasher, hint::black_box, time::Instant};

use common::{Naive, routes};
use linkmesh_tables::{CompressedRadixArena, FingerprintedIdTable, epoch::Domain};

const BURST: usize = 4_096;
const BURSTS: usize = 200;

/// Nanoseconds per item, p50 and p99 over bursts, each over another part of the input.
fn measure(items: usize, mut burst: impl FnMut(std::ops::Range<usize>) -> u64) -> (f64, f64) {
    let size = BURST.min(items);
    let mut times: Vec<f64> = (0..BURSTS)
        .map(|turn| {
            let start = turn * size % (items - size + 1);
            let begin = Instant::now();
            black_box(burst(start..start + size));
            begin.elapsed().as_nanos() as f64 / size as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[BURSTS / 2], times[BURSTS * 99 / 100])
}

fn print(name: &str, (p50, p99): (f64, f64), base: f64) {
    println!(
        "  {name:<34} p50 {p50:>7.1} ns   p99 {p99:>7.1} ns   {:>5.2}x",
        p50 / base
    );
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn ids(count: usize) {
    println!("u64 -> u32, {count} keys, random order, 1 of 8 a miss; against the first line");
    let mut seed = 1;
    let keys: Vec<u64> = (0..count).map(|_| random(&mut seed)).collect();
    let asked: Vec<u64> = (0..(1 << 20))
        .map(|_| match random(&mut seed) {
            miss if miss % 8 == 0 => miss,
            hit => keys[(hit >> 8) as usize % count],
        })
        .collect();
    let table = FingerprintedIdTable::with_capacity(count).unwrap();
    let mut plain = hashbrown::HashMap::with_capacity(count);
    let dash = dashmap::DashMap::with_capacity(count);
    for (value, key) in keys.iter().enumerate() {
        table.insert_u64(*key, value as u32).unwrap();
        plain.insert(*key, value as u32);
        dash.insert(*key, value as u32);
    }
    let reader = Domain::global().register();
    let guard = reader.pin();
    for key in &asked[..10_000] {
        let answer = table.get_u64(*key, &guard);
        assert!(answer == plain.get(key).copied() && answer == dash.get(key).map(|value| *value));
    }
    let mut out = [0; 64];
    let batch = measure(asked.len(), |range| {
        asked[range]
            .chunks(64)
            .map(|keys| table.get_many_u64(keys, &mut out, &guard) as u64)
            .sum()
    });
    print("FingerprintedIdTable, batches of 64", batch, batch.0);
    let sum = |range: std::ops::Range<usize>, get: &dyn Fn(u64) -> Option<u32>| {
        asked[range]
            .iter()
            .map(|key| u64::from(get(*key).unwrap_or(1)))
            .sum()
    };
    let single = |range: std::ops::Range<usize>| {
        asked[range]
            .iter()
            .map(|key| u64::from(table.get_u64(*key, &guard).unwrap_or(1)))
            .sum()
    };
    print(
        "FingerprintedIdTable, one by one",
        measure(asked.len(), single),
        batch.0,
    );
    let pinned = |key| table.get_u64(key, &reader.pin());
    print(
        "FingerprintedIdTable, pin for each",
        measure(asked.len(), |range| sum(range, &pinned)),
        batch.0,
    );
    let bare = |range: std::ops::Range<usize>| {
        asked[range]
            .iter()
            .map(|key| u64::from(plain.get(key).copied().unwrap_or(1)))
            .sum()
    };
    print("hashbrown, not shared", measure(asked.len(), bare), batch.0);
    print(
        "dashmap",
        measure(asked.len(), |range| {
            sum(range, &|key| dash.get(&key).map(|value| *value))
        }),
        batch.0,
    );
    println!(
        "  {:.1} bytes a key",
        table.memory_bytes() as f64 / count as f64
    );
    black_box(plain.hasher().hash_one(1));
}

fn paths(file: &str) {
    let Some(texts) = routes(file) else { return };
    let table = CompressedRadixArena::new().unwrap();
    let mut rival = matchit::Router::new();
    let mut patterns = Vec::new();
    let begin = Instant::now();
    for text in &texts {
        if table.insert_pattern(text, patterns.len() as u32).is_ok() {
            patterns.push(Naive::read(text));
        }
    }
    let filled = begin.elapsed();
    table.compact().unwrap();
    let mut seed = 7;
    let mut asked: Vec<String> = Vec::new();
    while asked.len() < 16_384 {
        let pattern = &patterns[random(&mut seed) as usize % patterns.len()];
        let path = pattern.fill(random(&mut seed) as u32);
        asked.push(if asked.len().is_multiple_of(8) {
            format!("{path}/x/")
        } else {
            path
        });
    }
    let total = asked.iter().map(String::len).sum::<usize>() / asked.len();
    println!(
        "{file}: {} patterns in {filled:.1?}, {:.1} bytes each; paths of {total} bytes, 1 of 8 a miss",
        patterns.len(),
        table.memory_bytes() as f64 / patterns.len() as f64
    );
    let reader = Domain::global().register();
    let guard = reader.pin();
    let mut spans = [0; 64];
    let own = measure(asked.len(), |range| {
        asked[range]
            .iter()
            .map(|path| {
                table
                    .match_path(path.as_bytes(), &mut spans, &guard)
                    .map_or(1, |found| u64::from(found.value))
            })
            .sum()
    });
    print("CompressedRadixArena", own, own.0);
    // matchit has no captures over several segments: only sets without them can be compared.
    let accepted = patterns.iter().enumerate().all(|(value, pattern)| {
        let pieces = pattern.text.split('/').map(|piece| {
            piece
                .strip_prefix(':')
                .map_or(piece.into(), |name| format!("{{{name}}}"))
        });
        rival
            .insert(pieces.collect::<Vec<_>>().join("/"), value as u32)
            .is_ok()
    });
    if !accepted {
        println!("  matchit refuses this set");
        return;
    }
    for path in &asked {
        let answer = table
            .match_path(path.as_bytes(), &mut spans, &guard)
            .map(|found| found.value);
        assert_eq!(
            answer,
            rival.at(path).ok().map(|found| *found.value),
            "{path}"
        );
    }
    let theirs = measure(asked.len(), |range| {
        asked[range]
            .iter()
            .map(|path| rival.at(path).map_or(1, |found| u64::from(*found.value)))
            .sum()
    });
    print("matchit", theirs, own.0);
}

fn main() {
    for count in [10_000, 1_000_000] {
        ids(count);
    }
    paths("routes/github.txt");
    paths("routes/googleapis-http.txt.gz");
}
