//! What one connection costs in cryptography: the TLS 1.3 handshake with X25519MLKEM768 and both proofs, in memory.
//!
//! `cargo bench -p linkmesh-transport --bench handshake [-- ROUNDS]`. Each round is a full handshake between two nodes of
//! one network, both ends in this thread, so a figure is what both ends cost together; the network is not in it.
//! `-- json ROUNDS`: one line for another program, milliseconds and handshakes a second.
#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program that prints its figures"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use linkmesh_transport::core::{Authenticator, Channel, EXPORTER_LABEL, SERVER_NAME, Side};
use linkmesh_transport::identity::{IdentityOptions, Joining, NodeIdentity};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

fn handshake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (Channel, Channel) {
    let name = SERVER_NAME.try_into().expect("a DNS name");
    let mut client = ClientConnection::new(client, name).expect("a client");
    let mut server = ServerConnection::new(server).expect("a server");
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory");
        }
        server.process_new_packets().expect("the client is good");
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
        }
        client.process_new_packets().expect("the server is good");
    }
    let channel = |side, exporter, certificates: Option<&[_]>| Channel {
        side,
        exporter,
        peer_certificates: certificates.expect("mutual").to_vec(),
        boot_epoch: [0; 16],
    };
    let (mut here, mut there) = ([0; 64], [0; 64]);
    client
        .export_keying_material(&mut here, EXPORTER_LABEL, Some(b""))
        .expect("a channel");
    server
        .export_keying_material(&mut there, EXPORTER_LABEL, Some(b""))
        .expect("a channel");
    (
        channel(Side::Client, here, client.peer_certificates()),
        channel(Side::Server, there, server.peer_certificates()),
    )
}

struct Figures {
    p50: f64,
    p99: f64,
    rate: f64,
}

/// Milliseconds, and how many a second.
fn figures(times: &mut [Duration]) -> Figures {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let mean = times.iter().sum::<Duration>().as_secs_f64() / times.len() as f64;
    Figures {
        p50: at(0.5),
        p99: at(0.99),
        rate: 1.0 / mean,
    }
}

fn print(what: &str, times: &mut [Duration]) {
    let Figures { p50, p99, rate } = figures(times);
    println!("{what:<34} p50 {p50:7.3} ms   p99 {p99:7.3} ms   {rate:6.0}/s");
}

fn json(name: &str, times: &mut [Duration]) -> String {
    let Figures { p50, p99, rate } = figures(times);
    format!("\"{name}\":{{\"p50\":{p50:.4},\"p99\":{p99:.4},\"rate\":{rate:.1}}}")
}

fn main() {
    let rounds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(300);
    let place = tempfile::tempdir().expect("a folder");
    let options = |name: &str| IdentityOptions::new(place.path().join(name));
    let started = Instant::now();
    let issuer = NodeIdentity::open_or_create(options("issuer"), "bench").expect("a network");
    println!(
        "first start with new keys            {:9.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    let token = issuer.invite("", 60).expect("a token").to_text();
    let joining = Joining::new(&token, options("node")).expect("a joiner");
    let (here, there) = handshake(joining.tls_client(), issuer.tls_server());
    let answer = issuer
        .answer(&there, &joining.request(&here))
        .expect("an answer");
    let node = joining.accept(&here, &answer, "bench:0").expect("a node");

    let [mut tls, mut prove, mut verify, mut all] = [const { Vec::<Duration>::new() }; 4];
    for _ in 0..rounds {
        let start = Instant::now();
        let (here, there) = handshake(node.tls_client(), issuer.tls_server());
        let shaken = Instant::now();
        let proofs = (
            node.prove(&here).expect("a proof"),
            issuer.prove(&there).expect("a proof"),
        );
        let proven = Instant::now();
        Authenticator::verify(&*issuer, &there, &proofs.0).expect("it holds");
        Authenticator::verify(&*node, &here, &proofs.1).expect("it holds");
        let end = Instant::now();
        tls.push(shaken - start);
        prove.push(proven - shaken);
        verify.push(end - proven);
        all.push(end - start);
    }
    if std::env::args().any(|argument| argument == "json") {
        let parts = [
            json("tls", &mut tls),
            json("prove", &mut prove),
            json("verify", &mut verify),
            json("all", &mut all),
        ];
        println!("{{{}}}", parts.join(","));
        return;
    }
    println!(
        "{rounds} rounds, both ends in one thread, proofs of {} bytes",
        node.prove(&here).map_or(0, |proof| proof.len())
    );
    print("TLS 1.3 mutual, X25519MLKEM768", &mut tls);
    print("both proofs made", &mut prove);
    print("both proofs checked", &mut verify);
    print("handshake with both proofs", &mut all);
}
