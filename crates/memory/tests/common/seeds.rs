//! Many runs that differ by a seed.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

/// As many as `LINKMESH_SEEDS` says, or the one that `LINKMESH_SEED` names, else `quick`.
fn wanted(quick: u64) -> Range<u64> {
    let number = |name| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let count = number("LINKMESH_SEEDS").unwrap_or(quick);
    number("LINKMESH_SEED").map_or(0..count, |seed| seed..seed + 1)
}

fn run(seed: u64, case: impl Fn(u64)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(seed))) {
        eprintln!("failed with LINKMESH_SEED={seed}");
        resume_unwind(panic);
    }
}

/// Runs `case` for each seed. A failure names its seed.
pub fn seeds(quick: u64, case: impl Fn(u64)) {
    for seed in wanted(quick) {
        run(seed, &case);
    }
}

/// As `seeds`, so many side by side: for cases that wait most of the time.
pub fn seeds_side_by_side(quick: u64, at_once: u64, case: impl Fn(u64) + Sync) {
    let all = wanted(quick);
    let next = AtomicU64::new(all.start);
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(all.end - all.start) {
            scope.spawn(|| {
                loop {
                    // Relaxed: only that each number is given out once matters.
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= all.end {
                        return;
                    }
                    run(seed, &case);
                }
            });
        }
    });
}
