//! Many connections that do nothing: what one weighs, and what they do to one that works.

use std::time::Duration;

use linkmesh_transport::core::Target;

use crate::compare::latency;
use crate::engine;
use crate::rival::connect;
use crate::server::Server;

/// `json`: one line for another program, times in microseconds, memory in bytes.
pub(super) fn idle(count: usize, json: bool) {
    let server = Server::start("engine");
    let mut active = connect("engine", server.address);
    let alone = latency(&mut *active);
    let client = engine::start(None, "idle");
    let first = server.resident();
    let mut open = 0;
    while open < count {
        let step = 500.min(count - open);
        client.with(|_, io| {
            for _ in 0..step {
                io.connect(Target::at(server.address)).expect("a target");
            }
        });
        open += step;
        let there = client
            .lease()
            .spin(Duration::from_secs(120), |bench| bench.connected == open);
        assert!(
            there,
            "{} of {open} connected",
            client.lease().application().connected
        );
    }
    client.release();
    let each = server.resident().saturating_sub(first) / count as u64;
    let among = latency(&mut *active);
    if json {
        let figures = |(p50, p99): (f64, f64)| format!("{{\"p50\":{p50:.3},\"p99\":{p99:.3}}}");
        println!(
            "{{\"each\":{each},\"alone\":{},\"among\":{}}}",
            figures(alone),
            figures(among)
        );
        return;
    }
    println!(
        "{count} idle connections: {:.1} KB each at the accepting process",
        each as f64 / 1024.0
    );
    println!(
        "one that is not idle, p50/p99 µs: {:.1}/{:.1} alone, {:.1}/{:.1} among them",
        alone.0, alone.1, among.0, among.1
    );
}
