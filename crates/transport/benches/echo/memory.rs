//! Both ends without sockets: what the protocol alone costs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use linkmesh_transport::core::{Core, CoreOptions, Target};

use crate::engine::Bench;
use crate::identity::TestIdentity;
use crate::network::{limits, member};
use crate::{SIZE, cpu_time};

/// Two cores that hand each other their datagrams.
pub(super) fn memory() {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut ends: Vec<(Core, Bench, Arc<TestIdentity>)> = ["server", "client"]
        .into_iter()
        .map(|name| {
            let member = member(name);
            let core = Core::new(&CoreOptions {
                limits: limits(),
                authenticator: member.clone(),
                seed: [7; 32],
                boot_epoch: [0; 16],
                shard: (0, 1),
                accept: true,
                unfragmented: true,
            });
            (core.expect("options"), Bench::new(name == "server"), member)
        })
        .collect();
    let mut train = Vec::new();
    let now = Instant::now;
    ends[1]
        .0
        .io(now())
        .connect(Target::at(address(1)))
        .expect("a target");
    let mut carry = |ends: &mut Vec<(Core, Bench, Arc<TestIdentity>)>, from: usize| {
        let now = now();
        let (core, bench, member) = &mut ends[from];
        if core.deadline(None).is_some_and(|at| at <= now) {
            core.handle_timeout(now, bench);
        }
        core.settle(now, bench);
        while let Some(job) = core.poll_auth() {
            let done = job.run(&**member);
            core.auth_done(now, done);
        }
        while let Some(transmit) = ends[from].0.transmit(now, 64, &mut train) {
            let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
            let mut batch = bytes::BytesMut::from(&train[..transmit.size]);
            while !batch.is_empty() {
                let datagram = batch.split_to(segment.min(batch.len()));
                ends[1 - from]
                    .0
                    .receive(now, address(1 + from as u16), None, None, datagram);
            }
        }
    };
    while ends.iter().any(|(_, bench, _)| bench.connected == 0) {
        carry(&mut ends, 1);
        carry(&mut ends, 0);
    }
    println!("both ends in memory, {SIZE} bytes, CPU time of both");
    for (depth, exchanges) in [(1, 100_000), (64, 10_000), (256, 4000)] {
        let bytes = vec![0; SIZE * depth];
        let start = cpu_time();
        for _ in 0..exchanges {
            let (core, bench, _) = &mut ends[1];
            let (peer, stream) = bench.peer.expect("connected");
            let goal = bench.received + bytes.len();
            assert_eq!(core.io(now()).write(peer, stream, &bytes), Ok(bytes.len()));
            while ends[1].1.received < goal {
                carry(&mut ends, 1);
                carry(&mut ends, 0);
            }
        }
        let each = (cpu_time() - start) / (exchanges * depth) as f64;
        println!(
            "depth {depth}: {:.2} µs an echo, {:.2} M/s",
            each * 1e6,
            1e-6 / each
        );
    }
}
