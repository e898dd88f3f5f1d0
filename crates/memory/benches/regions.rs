//! What it costs to touch a region: word-wise atomic copies beside `memcpy`, the gate, an atomic, a snapshot, the codecs.
//!
//! `cargo bench -p linkmesh-memory --bench regions`. Nanoseconds a call and bytes a second, p50 and p99 of 200 bursts.
#![allow(clippy::print_stdout, reason = "a benchmark's purpose")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use linkmesh_memory::{
    compress::{Advisor, Codec, Compression, Compressor, Decompressor, looks_compressible},
    region::{Pages, PagesOptions, Region, SharedRegion},
};

const BURSTS: usize = 200;

/// p50 and p99 of one call, from bursts that take at least 20 µs.
fn measure(mut call: impl FnMut()) -> (Duration, Duration) {
    let begin = Instant::now();
    call();
    let once = begin.elapsed().max(Duration::from_nanos(1));
    let calls = (20_000 / once.as_nanos().max(1)).clamp(1, 4_096) as u32;
    let mut times: Vec<_> = (0..BURSTS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..calls {
                call();
            }
            begin.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let nanos = |at: usize| Duration::from_secs_f64(times[at] / 1e9);
    (nanos(BURSTS / 2), nanos(BURSTS * 99 / 100))
}

fn print(name: &str, bytes: usize, (p50, p99): (Duration, Duration)) {
    let rate = bytes as f64 / p50.as_secs_f64().max(1e-12) / 1e9;
    println!(
        "  {name:<28} p50 {:>12.1} ns   p99 {:>12.1} ns   {rate:>7.2} GB/s",
        p50.as_secs_f64() * 1e9,
        p99.as_secs_f64() * 1e9
    );
}

fn main() {
    const LENGTH: u64 = 16 << 20;
    let options = PagesOptions {
        length: LENGTH,
        capacity: LENGTH,
        huge: false,
    };
    let region = SharedRegion::new(Pages::new(options).expect("memory"), 1);
    let mut private = vec![7u8; LENGTH as usize];
    let other = vec![9u8; LENGTH as usize];
    region.write(0, &other).expect("in range");
    for length in [64, 4_096, 64 << 10, 1 << 20, 16 << 20] {
        println!("{length} bytes");
        let part = &mut private[..length];
        print(
            "memcpy",
            length,
            measure(|| {
                black_box(&mut *part).copy_from_slice(black_box(&other[..length]));
            }),
        );
        print(
            "read",
            length,
            measure(|| region.read(0, black_box(&mut *part)).expect("in range")),
        );
        assert_eq!(part, &other[..length], "what was read is there");
        print(
            "write",
            length,
            measure(|| {
                region
                    .write(0, black_box(&other[..length]))
                    .expect("in range");
            }),
        );
    }
    println!("atomics");
    print(
        "load",
        8,
        measure(|| {
            black_box(region.load(64).expect("in range"));
        }),
    );
    print(
        "fetch_add",
        8,
        measure(|| {
            black_box(region.fetch_add(64, 1).expect("in range"));
        }),
    );
    codecs();
}

/// One block of 128 KiB that looks like a log.
fn codecs() {
    println!("128 KiB of log lines");
    let block: Vec<u8> = (0..)
        .flat_map(|at: u32| {
            format!(
                "10.0.{}.{} GET /users/{}/orders 200 {}\n",
                at % 7,
                at % 251,
                at * 7919 % 10_007,
                at
            )
            .into_bytes()
        })
        .take(128 << 10)
        .collect();
    print(
        "probe",
        block.len(),
        measure(|| {
            black_box(looks_compressible(black_box(&block)));
        }),
    );
    let mut advisor = Advisor::new();
    advisor.set_path_speed(Some(1e8));
    print(
        "choose",
        block.len(),
        measure(|| {
            black_box(advisor.choose(Compression::Auto, black_box(&block)));
        }),
    );
    let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
    for codec in [Codec::Lz4, Codec::Zstd] {
        let wire = compressor
            .compress(codec, &block)
            .expect("log lines compress")
            .to_vec();
        println!(
            "  {codec:?}: {} bytes, ratio {:.3}",
            wire.len(),
            wire.len() as f64 / block.len() as f64
        );
        print(
            "compress",
            block.len(),
            measure(|| {
                black_box(compressor.compress(codec, black_box(&block)));
            }),
        );
        let mut back = vec![0; block.len()];
        print(
            "decompress",
            block.len(),
            measure(|| {
                decompressor
                    .decompress(codec, black_box(&wire), &mut back)
                    .expect("our own");
            }),
        );
        assert_eq!(back, block, "what was compressed comes back");
    }
}
