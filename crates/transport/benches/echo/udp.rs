//! Raw UDP, which spins or blocks: the floor.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::SIZE;
use crate::rival::Rival;
use crate::server::{announce, end_with_input};

pub(super) fn serve(any: SocketAddr, spin: bool) {
    let socket = UdpSocket::bind(any).expect("a socket");
    socket.set_nonblocking(spin).expect("a socket");
    announce(socket.local_addr().expect("bound"));
    end_with_input();
    echo(&socket);
}

pub(super) fn connect(address: SocketAddr, spin: bool) -> Udp {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(address).expect("a socket");
    socket.set_nonblocking(spin).expect("a socket");
    Udp(socket)
}

/// Spins while there is traffic if the socket does not block, and gives its core to others when there has been none for a
/// while: the rivals take turns, and this one is not to compete with those whose turn it is.
fn echo(socket: &UdpSocket) {
    const PATIENCE: Duration = Duration::from_millis(2);
    let mut buffer = [0; 2048];
    let mut quiet_since = None;
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                quiet_since = None;
                drop(socket.send_to(&buffer[..length], from));
            }
            Err(_) if quiet_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                std::thread::yield_now();
            }
            Err(_) => {
                let mut readable = libc::pollfd {
                    fd: socket.as_raw_fd(),
                    events: libc::POLLIN,
                    revents: 0,
                };
                // SAFETY: one entry, which lives through the call.
                unsafe { libc::poll(&raw mut readable, 1, -1) };
            }
        }
    }
}

pub(super) struct Udp(UdpSocket);

impl Rival for Udp {
    fn exchange(&mut self, depth: usize) {
        let mut buffer = [0; 2048];
        for _ in 0..depth {
            self.0.send(&[0x5a; SIZE]).expect("sent");
        }
        for _ in 0..depth {
            while self.0.recv(&mut buffer).is_err() {
                std::thread::yield_now();
            }
        }
    }

    fn bulk(&mut self) -> Option<Duration> {
        None
    }
}
