//! The socket elsewhere than on Linux: quinn-udp, with whatever offload the platform has.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_proto::Transmit;
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::Socket;

use super::{Datagrams, Received, Sent};

/// A socket driven through quinn-udp.
pub(in crate::engine) struct PortableSocket {
    socket: Socket,
    state: UdpSocketState,
    local: SocketAddr,
}

impl PortableSocket {
    pub(in crate::engine) fn bind(address: SocketAddr, shared: bool) -> io::Result<Self> {
        let socket = super::bind(address, shared)?;
        let state = UdpSocketState::new((&socket).into())?;
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self {
            socket,
            state,
            local,
        })
    }
}

impl Datagrams for PortableSocket {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<Received> {
        let mut meta = [RecvMeta::default()];
        // Errors are ICMP's word on an earlier datagram, or nothing to receive: both mean that nothing is here.
        let count = self
            .state
            .recv(
                (&self.socket).into(),
                &mut [IoSliceMut::new(buffer)],
                &mut meta,
            )
            .ok()?;
        if count == 0 || meta[0].len == 0 {
            return None;
        }
        let [meta] = meta;
        Some(Received {
            len: meta.len,
            stride: meta.stride.max(1),
            source: super::canonical(meta.addr),
            local_ip: meta.dst_ip.map(|ip| ip.to_canonical()),
        })
    }

    fn send(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent {
        let transmit = quinn_udp::Transmit {
            destination: super::for_socket(&self.local, transmit.destination),
            ecn: None,
            contents: &bytes[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: None,
        };
        match self.state.try_send((&self.socket).into(), &transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Blocked,
            _ => Sent::Done,
        }
    }

    fn segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn unfragmented(&self) -> bool {
        !self.state.may_fragment()
    }

    fn local_address(&self) -> SocketAddr {
        self.local
    }

    #[cfg(unix)]
    fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }
}
