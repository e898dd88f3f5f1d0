//! The same script over the engine and over plain quinn, in every pairing: what comes back is the same.

mod support;

use linkmesh_transport::engine::{Engine, EngineOptions};
use linkmesh_transport::transport::{EngineTransport, Transport};
use support::echo::{ECHO, Echo, pattern};
use support::identity::Authority;
use support::network::Random;
use support::plain::{PlainClient, plain_server};

/// Streams of random lengths in random pieces, several under way: everything comes back as it went.
fn script(seed: u64, transport: &mut dyn Transport) {
    let mut random = Random(seed);
    for _ in 0..4 {
        let streams: Vec<_> = (0..3).map(|_| transport.open(ECHO).unwrap()).collect();
        let mut sent = vec![0_u64; streams.len()];
        let mut came = vec![0_u64; streams.len()];
        for _ in 0..20 {
            let which = random.below(3) as usize;
            let end = sent[which] + 1 + random.below(9000);
            let bytes: Vec<u8> = (sent[which]..end).map(pattern).collect();
            transport.send(streams[which], &bytes).unwrap();
            sent[which] = end;
            if random.chance(50) {
                // Not all of it need be here, but one byte must come.
                let bytes = transport.receive(streams[which], 1).unwrap();
                check(&bytes, &mut came[which]);
            }
        }
        for (which, &stream) in streams.iter().enumerate() {
            let left = (sent[which] - came[which]) as usize;
            let bytes = transport.receive(stream, left).unwrap();
            check(&bytes, &mut came[which]);
            assert_eq!(came[which], sent[which], "seed {seed}");
            transport.finish(stream).unwrap();
        }
    }
}

fn check(bytes: &[u8], came: &mut u64) {
    for &byte in bytes {
        assert_eq!(byte, pattern(*came), "byte {came}");
        *came += 1;
    }
}

#[test]
fn the_engine_and_plain_quinn_understand_each_other_in_every_pairing() {
    let authority = Authority::new();
    let options = |name, listen: Option<&str>| {
        EngineOptions::new(
            listen.map(|address| address.parse().unwrap()),
            authority.member(name),
        )
    };
    let engine = Engine::start(&options("server", Some("127.0.0.1:0")), Echo::default()).unwrap();
    let plain = plain_server(authority.member("plain"));
    for seed in 0..3 {
        for address in [engine.local_address(), plain] {
            let mut ours = EngineTransport::connect(&options("client", None), address).unwrap();
            script(seed, &mut ours);
            let mut theirs = PlainClient::connect(&authority.member("theirs"), address);
            script(seed, &mut theirs);
        }
    }
}
