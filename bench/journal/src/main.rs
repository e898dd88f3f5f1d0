//! Durable appends of 512 bytes with so many in flight: the journal beside embedded stores that are driven the same way.
//!
//! `linkmesh-bench-journal FOLDER SECONDS ROUNDS SEED [IN_FLIGHT…]`, with the names of the contenders in `CONTENDERS`
//! (default: all): prints one line of JSON per measurement.
//!
//! Every contender acknowledges a record only when it is on the disk, groups what is waiting into one commit, and runs in
//! turns with the others, in an order shuffled by the seed. The stores keep no hash chain: they are spared that work.

mod client;
mod floor;
mod rivals;
mod stores;

use std::path::Path;
use std::time::Duration;

use client::Measured;
use rivals::{Contender, contenders};

const IN_FLIGHT: [usize; 4] = [1, 64, 1_000, 8_000];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, seconds, rounds, seed, asked @ ..] = &arguments[..] else {
        eprintln!("give FOLDER SECONDS ROUNDS SEED [IN_FLIGHT…]");
        std::process::exit(2);
    };
    let seconds: f64 = seconds.parse().expect("SECONDS is a number");
    let rounds: usize = rounds.parse().expect("ROUNDS is a number");
    let mut random: u64 = seed.parse::<u64>().expect("SEED is a number") | 1;
    let asked: Vec<usize> = asked.iter().map(|count| count.parse().expect("IN_FLIGHT is a number")).collect();
    let only = std::env::var("CONTENDERS").ok();
    for in_flight in if asked.is_empty() { IN_FLIGHT.to_vec() } else { asked } {
        let asked = |index: &usize| {
            only.as_ref().is_none_or(|only| only.split(',').any(|name| name == contenders()[*index].name))
        };
        let mut order: Vec<usize> = (0..contenders().len()).filter(asked).collect();
        for round in 0..=rounds {
            for index in (1..order.len()).rev() {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                order.swap(index, random as usize % (index + 1));
            }
            for index in &order {
                let Contender { name, measure } = contenders().remove(*index);
                let place = Path::new(folder).join(format!("{name}-{in_flight}-{round}"));
                std::fs::create_dir_all(&place).expect("a folder");
                let Measured { rate, p50_us, p99_us, records } =
                    measure(&place, in_flight, Duration::from_secs_f64(seconds));
                std::fs::remove_dir_all(&place).expect("removed");
                // The file system gives the space back now, and not while the next one is measured.
                std::fs::File::open(folder).and_then(|folder| folder.sync_all()).expect("synced");
                // The first round warms up.
                if round > 0 {
                    println!(
                        "{{\"name\":\"{name}\",\"inFlight\":{in_flight},\"round\":{round},\"rate\":{rate:.0},\"p50Us\":{p50_us:.0},\"p99Us\":{p99_us:.0},\"records\":{records}}}"
                    );
                }
            }
        }
    }
}
