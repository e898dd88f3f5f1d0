//! The socket, as the loop sees it: one datagram or one batch in, one train out, never waiting.

#[cfg(target_os = "linux")]
mod linux;
mod portable;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use quinn_proto::Transmit;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

#[cfg(target_os = "linux")]
pub(super) use linux::LinuxSocket;
pub(super) use portable::PortableSocket;

/// The receive buffer of one call: a batch is never longer.
pub(super) const RECEIVE_BUFFER: usize = 64 * 1024;
/// What is asked of the kernel for its own buffers; it gives what its limits allow.
const KERNEL_BUFFER: usize = 4 << 20;

/// What one receiving call brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// Bytes in the buffer.
    pub(super) len: usize,
    /// Length of each datagram but the last.
    pub(super) stride: usize,
    /// Who sent them.
    pub(super) source: SocketAddr,
    /// Where they arrived, when the socket listens on all addresses.
    pub(super) local_ip: Option<IpAddr>,
}

/// What became of a train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel has it, or will never take it: lost is lost, QUIC sends again.
    Done,
    /// The kernel's buffer is full: the same train again later.
    Blocked,
}

/// A bound, non-blocking UDP socket.
pub(super) trait Datagrams: Send {
    /// Takes what is there. `None` when there is nothing.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<Received>;

    /// Sends one train.
    fn send(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent;

    /// Datagrams that one call can send.
    fn segments(&self) -> usize;

    /// Whether datagrams leave unfragmented.
    fn unfragmented(&self) -> bool;

    /// Where it is bound.
    fn local_address(&self) -> SocketAddr;

    /// For waiting.
    #[cfg(unix)]
    fn descriptor(&self) -> std::os::fd::RawFd;
}

/// Makes and binds the socket that all platforms share.
///
/// `[::]` listens on IPv4 as well.
fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    if shared {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
    let _ = shared;
    // A smaller buffer than asked for is no error: it costs retransmissions under load.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// The address as a socket bound to `local` must be given it: IPv4 goes through an IPv6 socket in its mapped form.
fn for_socket(local: &SocketAddr, remote: SocketAddr) -> SocketAddr {
    match (local, remote) {
        (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
            SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port())
        }
        _ => remote,
    }
}

/// The address as everybody above sees it: IPv4 is IPv4, whatever socket it came through.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), v6.port())
        }
        _ => address,
    }
}

/// The address to bind for dialling only: any port, both families where the machine has them.
pub(super) fn anywhere() -> [SocketAddr; 2] {
    [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    ]
}
