//! The client: one thread that keeps so many appends in flight and times each from append to acknowledgement.

use std::time::{Duration, Instant};

/// What is measured: appends by number, and tells how many are durable.
pub trait Durable {
    /// Queues a record; its number is one more than the one before, beginning at 1.
    fn append(&mut self, record: &[u8]);
    /// Blocks until more than `known` are durable; how many are.
    fn wait(&mut self, known: u64) -> u64;
    /// How many records there are after everything was closed and opened again.
    fn count(self: Box<Self>) -> u64;
}

pub struct Measured {
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub records: u64,
}

pub const RECORD: usize = 512;

pub fn measure(mut store: Box<dyn Durable>, in_flight: usize, time: Duration) -> Measured {
    let mut record = [0x5A; RECORD];
    let mut began = vec![Instant::now(); in_flight];
    let mut times: Vec<u32> = Vec::with_capacity(4_000_000);
    let (mut appended, mut durable) = (0u64, 0u64);
    let start = Instant::now();
    while start.elapsed() < time {
        while appended - durable < in_flight as u64 {
            appended += 1;
            // Bytes that a page of zeros would not have, and that differ.
            record[..8].copy_from_slice(&appended.to_le_bytes());
            record[8..16].copy_from_slice(&appended.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
            began[(appended as usize) % in_flight] = Instant::now();
            store.append(&record);
        }
        let now_durable = store.wait(durable);
        let now = Instant::now();
        for number in durable + 1..=now_durable {
            times.push((now - began[number as usize % in_flight]).as_micros() as u32);
        }
        durable = now_durable;
    }
    let took = start.elapsed();
    while durable < appended {
        durable = store.wait(durable);
    }
    let kept = store.count();
    assert_eq!(kept, appended, "every acknowledged record is there when it is opened again");
    let measured = times.len();
    times.sort_unstable();
    Measured {
        rate: measured as f64 / took.as_secs_f64(),
        p50_us: f64::from(times[measured / 2]),
        p99_us: f64::from(times[(measured * 99 / 100).min(measured - 1)]),
        records: appended,
    }
}
