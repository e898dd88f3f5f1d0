//! `cargo run --release -p linkmesh-simulator --example compare [scenario …]`: the figures as a table, without Node.js.
#![allow(clippy::print_stdout, reason = "an example prints")]

use linkmesh_simulator::{INCLUDED, included, simulate};

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    for name in INCLUDED {
        if !asked.is_empty() && !asked.iter().any(|asked| asked == name) {
            continue;
        }
        let scenario = included(name).expect("an included name");
        let report = simulate(&scenario, &[]).expect("an included scenario");
        println!("\n{name}: {}", scenario.about);
        for figures in &report.policies {
            let whole = &figures.whole;
            println!(
                "  {:<28} success {:>8.4} %  p50 {:>8.1}  p99 {:>8.1}  p99.9 {:>8.1} ms  attempts {:>7}  refused {:>6}  first {:>6}",
                figures.policy,
                whole.success * 100.0,
                f64::from(whole.p50_us) / 1e3,
                f64::from(whole.p99_us) / 1e3,
                f64::from(whole.p999_us) / 1e3,
                figures.attempts,
                figures.refused,
                figures.picks[0],
            );
            if !figures.phases.is_empty() {
                let p99: Vec<String> = figures
                    .phases
                    .iter()
                    .map(|phase| format!("{:.0}", f64::from(phase.p99_us) / 1e3))
                    .collect();
                println!("      p99 by step, ms: {}", p99.join(" "));
            }
        }
    }
}
