//! A flood of handshakes over real sockets, as fast as one core forges them: who is connected is served, and who is honest
//! still gets in.

mod support;

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use linkmesh_transport::core::{Limits, Target};
use linkmesh_transport::engine::{Engine, EngineOptions};
use support::echo::{ECHO, Echo};
use support::identity::Authority;

const LONG: Duration = Duration::from_secs(20);
const FLIGHTS: usize = 200;

fn start(authority: &Authority, name: &str, listen: bool, limits: Limits) -> Engine<Echo> {
    let listen = listen.then(|| "127.0.0.1:0".parse().unwrap());
    let mut options = EngineOptions::new(listen, authority.member(name));
    options.limits = limits;
    Engine::start(&options, Echo::default()).unwrap()
}

fn wait(engine: &Engine<Echo>, mut done: impl FnMut(&mut Echo) -> bool) {
    assert!(engine.lease().spin(LONG, &mut done), "it took too long");
}

/// First flights of handshakes that nobody will go on with: what a client sends to somebody who never answers.
fn flights(authority: &Authority) -> Vec<Vec<u8>> {
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    sink.set_read_timeout(Some(LONG)).unwrap();
    let address = sink.local_addr().unwrap();
    let limits = Limits {
        dials: FLIGHTS,
        ..Limits::default()
    };
    let dialler = start(authority, "flood", false, limits);
    dialler.with(|_, io| {
        for _ in 0..FLIGHTS {
            io.connect(Target::at(address)).unwrap();
        }
    });
    let mut buffer = [0; 2048];
    (0..2 * FLIGHTS)
        .map(|_| {
            let length = sink.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        })
        .collect()
}

#[test]
fn a_flood_of_handshakes_neither_stops_who_is_connected_nor_keeps_out_who_is_honest() {
    let authority = Authority::new();
    let limits = Limits {
        handshakes: 16,
        handshakes_per_second: 50,
        ..Limits::default()
    };
    let server = start(&authority, "server", true, limits);
    let address = server.local_address();
    let client = start(&authority, "client", false, Limits::default());
    client
        .with(|_, io| io.connect(Target::at(address)))
        .unwrap();
    wait(&client, |echo| echo.peers().len() == 1);
    let flights = flights(&authority);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Another loopback address than that of the honest: the flood has its own quarter of the room.
            let sockets: Vec<_> = (0..50)
                .map(|_| UdpSocket::bind("127.0.0.2:0").unwrap())
                .collect();
            while !stop.load(Ordering::Relaxed) {
                for (at, datagram) in flights.iter().enumerate() {
                    // A full socket buffer is the flood's own business.
                    let _ = sockets[at / 2 % sockets.len()].send_to(datagram, address);
                }
                // Loopback hands a datagram over on the sender's time: without this the receiver has no core left.
                std::thread::yield_now();
            }
        });
        let guard = StopOnDrop(&stop);
        for _ in 0..8 {
            client.with(|echo, io| {
                let peer = echo.peers()[0];
                echo.send(io, peer, ECHO, 5000)
            });
            wait(&client, |echo| echo.is_done());
        }
        let newcomer = start(&authority, "newcomer", false, Limits::default());
        newcomer
            .with(|_, io| io.connect(Target::at(address)))
            .unwrap();
        wait(&newcomer, |echo| echo.peers().len() == 1);
        drop(guard);
    });
    let stats = server.stats();
    assert!(
        stats.retried + stats.refused > 20 * stats.accepted,
        "{stats:?}"
    );
    assert!(client.with(|echo, _| echo.disconnects().is_empty()));
}

/// Also when an assertion ends the test: the flood is another thread.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
