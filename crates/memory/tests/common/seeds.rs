//! Many runs that differ by a seed.
#![allow(unreachable_pub, reason = "each test binary uses a part")]

/// Runs `case` for `quick` seeds, or as many as `LINKMESH_SEEDS` says, or the one that `LINKMESH_SEED` names. A failure names its
/// seed.
pub fn seeds(quick: u64, case: impl Fn(u64)) {
    let number = |name| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let count = number("LINKMESH_SEEDS").unwrap_or(quick);
    let all = number("LINKMESH_SEED").map_or(0..count, |seed| seed..seed + 1);
    for seed in all {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(seed)));
        if let Err(panic) = result {
            eprintln!("failed with LINKMESH_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
