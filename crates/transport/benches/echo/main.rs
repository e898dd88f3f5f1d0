//! What a 64-byte echo costs, by layer, in two processes: raw UDP (the floor), the engine, plain quinn. And bulk, and what
//! an idle connection weighs.
//!
//! ```text
//! cargo bench -p linkmesh-transport --bench echo                 latency, rate, bulk: seven interleaved rounds
//! cargo bench -p linkmesh-transport --bench echo -- rounds 3
//! cargo bench -p linkmesh-transport --bench echo -- memory       both ends without sockets, CPU time: whatever else runs
//! cargo bench -p linkmesh-transport --bench echo -- idle 10000   memory of idle connections at the accepting process, and
//!                                                                what they do to the latency of one that is not
//!                                                                (`idle 10000 json`: the same for another program)
//! … -- drive udp                                                 one rival, as another program tells it (see `drive`)
//! ```
//!
//! Every figure is the median of the rounds, in which the rivals take turns; replies are compared byte by byte. Nothing is
//! pinned. Plain quinn runs on tokio's current-thread runtime with the same TLS and the same windows as it comes.

#![allow(clippy::print_stdout, reason = "a bench prints")]

mod compare;
mod drive;
mod engine;
#[path = "../../tests/support/identity.rs"]
#[allow(dead_code, unreachable_pub, reason = "each user takes its part")]
mod identity;
mod idle;
mod memory;
mod network;
mod quinn;
mod rival;
mod server;
mod udp;

/// Bytes of an echo.
const SIZE: usize = 64;
/// Echoes before anything is timed.
const WARMUP: usize = 2000;
/// Bytes of a bulk transfer, and of what is handed over at once.
const BULK_BYTES: usize = 256 << 20;
const BLOCK: usize = 256 << 10;

/// CPU time of this process, seconds.
fn cpu_time() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid clock and a place for its time.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", kind] => server::serve(kind),
        ["drive", kind] => drive::drive(kind),
        ["idle", count] => idle::idle(count.parse().expect("a number"), false),
        ["idle", count, "json"] => idle::idle(count.parse().expect("a number"), true),
        ["memory"] => memory::memory(),
        ["rounds", rounds] => compare::compare(rounds.parse().expect("a number")),
        _ => compare::compare(7),
    }
}
