//! One rival for another program's bench, so that its rounds can take turns with those of contenders that are not in Rust.
//!
//! A line on the input is a job, a line of JSON on the output what came of it: `hot MS` times single echoes in
//! microseconds, `rate DEPTH MS` counts echoes a second. `cpu` is the processor time of both processes for each, in
//! microseconds. The end of the input is the end.

use std::io::{Write, stdin, stdout};
use std::time::{Duration, Instant};

use crate::compare::percentile;
use crate::rival::{Rival, connect};
use crate::server::Server;
use crate::{WARMUP, cpu_time};

pub(super) fn drive(kind: &str) {
    let server = Server::start(kind);
    let mut rival = connect(kind, server.address);
    for _ in 0..WARMUP {
        rival.exchange(1);
    }
    for line in stdin().lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split_whitespace().collect();
        let time = |ms: &str| Duration::from_millis(ms.parse().expect("milliseconds"));
        let used = cpu_time() + server.cpu_time();
        let (count, figures) = match words[..] {
            ["hot", ms] => hot(&mut *rival, time(ms)),
            ["rate", depth, ms] => rate(&mut *rival, depth.parse().expect("a number"), time(ms)),
            _ => panic!("no job: {line}"),
        };
        let each = (cpu_time() + server.cpu_time() - used) * 1e6 / count as f64;
        println!("{{{figures},\"cpu\":{each:.3}}}");
        stdout().flush().expect("an output");
    }
}

fn hot(rival: &mut dyn Rival, time: Duration) -> (usize, String) {
    let mut samples = Vec::new();
    let end = Instant::now() + time;
    loop {
        let start = Instant::now();
        if start >= end {
            break;
        }
        rival.exchange(1);
        samples.push(start.elapsed().as_secs_f64() * 1e6);
    }
    samples.sort_by(f64::total_cmp);
    let (p50, p99) = (percentile(&samples, 0.5), percentile(&samples, 0.99));
    (samples.len(), format!("\"p50\":{p50:.3},\"p99\":{p99:.3}"))
}

fn rate(rival: &mut dyn Rival, depth: usize, time: Duration) -> (usize, String) {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        rival.exchange(depth);
        count += depth;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    (count, format!("\"rate\":{rate:.0}"))
}
