//! What the disk itself takes: groups as large as what is in flight, written and synced one after the other to a
//! preallocated file. Nothing is encoded, hashed, handed over or acknowledged: no store on this disk that syncs each group
//! by the cache of the operating system, one at a time, is faster.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use linkmesh_journal::{Disk, Storage, padded};

use crate::client::{Measured, RECORD};

const FILE: u64 = 256 << 20;
const FILES: usize = 4;

pub fn measure(place: &Path, in_flight: usize, time: Duration) -> Measured {
    let disk = Disk::open(place).expect("the folder");
    let files: Vec<File> = (0..FILES)
        .map(|number| {
            let name = format!("floor-{number}");
            disk.create(&name, FILE).expect("a preallocated file");
            File::options().write(true).open(place.join(name)).expect("the file")
        })
        .collect();
    let group = vec![0x5A; in_flight * padded(RECORD)];
    let per_file = FILE / group.len() as u64;
    let mut times: Vec<f64> = Vec::new();
    let start = Instant::now();
    // Each byte is written once, as a log does; the next file when this one is full.
    for index in 0..per_file * FILES as u64 {
        if start.elapsed() >= time {
            break;
        }
        let began = Instant::now();
        let mut file = &files[(index / per_file) as usize];
        file.write_all(&group).expect("write");
        file.sync_data().expect("sync");
        times.push(began.elapsed().as_micros() as f64);
    }
    let took = start.elapsed().as_secs_f64();
    let groups = times.len();
    times.sort_unstable_by(f64::total_cmp);
    Measured {
        rate: (groups * in_flight) as f64 / took,
        p50_us: times[groups / 2],
        p99_us: times[(groups * 99 / 100).min(groups - 1)],
        records: (groups * in_flight) as u64,
    }
}
