//! The rivals in turns, and their medians.

use std::time::Instant;

use crate::rival::{Rival, connect};
use crate::server::Server;
use crate::{BULK_BYTES, SIZE, WARMUP};

const SAMPLES: usize = 20_000;

pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// p50 and p99 of single exchanges, microseconds.
pub(super) fn latency(rival: &mut dyn Rival) -> (f64, f64) {
    for _ in 0..WARMUP {
        rival.exchange(1);
    }
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            rival.exchange(1);
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    (percentile(&samples, 0.5), percentile(&samples, 0.99))
}

/// Echoes a second with so many under way, in millions.
fn rate(rival: &mut dyn Rival, depth: usize) -> f64 {
    let exchanges = 200_000 / depth;
    let start = Instant::now();
    for _ in 0..exchanges {
        rival.exchange(depth);
    }
    (exchanges * depth) as f64 / start.elapsed().as_secs_f64() / 1e6
}

pub(super) fn compare(rounds: usize) {
    let kinds = ["udp", "engine", "quinn"];
    let mut figures = vec![vec![Vec::new(); 5]; kinds.len()];
    for round in 0..rounds {
        for turn in 0..kinds.len() {
            let at = (round + turn) % kinds.len();
            let server = Server::start(kinds[at]);
            let mut rival = connect(kinds[at], server.address);
            let (p50, p99) = latency(&mut *rival);
            figures[at][0].push(p50);
            figures[at][1].push(p99);
            if kinds[at] != "udp" {
                figures[at][2].push(rate(&mut *rival, 64));
                figures[at][3].push(rate(&mut *rival, 256));
            }
            if let Some(time) = rival.bulk() {
                figures[at][4].push(BULK_BYTES as f64 * 8.0 / time.as_secs_f64() / 1e9);
            }
        }
    }
    println!("{rounds} interleaved rounds, two processes, {SIZE} bytes, medians\n");
    println!(
        "| | p50 µs | p99 µs | × floor | M/s at 64 | M/s at 256 | bulk Gb/s |\n|---|---|---|---|---|---|---|"
    );
    let floor = median(figures[0][0].clone());
    for (kind, figures) in kinds.iter().zip(figures) {
        let of = |at: usize| {
            if figures[at].is_empty() {
                f64::NAN
            } else {
                median(figures[at].clone())
            }
        };
        println!(
            "| {kind} | {:.2} | {:.1} | {:.2} | {:.2} | {:.2} | {:.1} |",
            of(0),
            of(1),
            of(0) / floor,
            of(2),
            of(3),
            of(4)
        );
    }
}
