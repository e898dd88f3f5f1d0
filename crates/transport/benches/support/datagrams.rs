//! The serving side of raw UDP.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Spins while there is traffic if the socket does not block, and gives its core to others when there has been none for a
/// while: the rivals take turns, and this one is not to compete with those whose turn it is.
pub(super) fn echo(socket: &UdpSocket) {
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
