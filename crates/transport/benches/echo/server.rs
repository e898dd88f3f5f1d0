//! The other process: a child of this program that serves, and what it costs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::network::{AUTHORITY, authority};
use crate::{engine, quinn, udp};

/// A child process of this program that serves, until it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) fn start(kind: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["serve", kind])
            .env(AUTHORITY, authority())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("its address");
        Self {
            child,
            address: line.trim().parse().expect("an address"),
        }
    }

    /// Resident set, bytes.
    pub(super) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap_or("");
        line.split_whitespace()
            .nth(1)
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    }

    /// Processor time, seconds, in steps of a clock tick.
    pub(super) fn cpu_time(&self) -> f64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name of the program is in brackets and may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or("");
        let ticks: f64 = (fields.split_whitespace().skip(11).take(2))
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum();
        ticks / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its end of input is its end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

pub(super) fn announce(address: SocketAddr) {
    println!("{address}");
    std::io::stdout().flush().expect("stdout");
}

fn wait_for_end_of_input() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// Ends the process when its input does, whatever else it is doing.
pub(super) fn end_with_input() {
    std::thread::spawn(|| {
        wait_for_end_of_input();
        std::process::exit(0);
    });
}

pub(super) fn serve(kind: &str) {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    match kind {
        "udp" | "udp-block" => udp::serve(any, kind == "udp"),
        "engine" => {
            let engine = engine::start(Some(any), "server");
            announce(engine.local_address());
            wait_for_end_of_input();
        }
        _ => quinn::serve(any),
    }
}
