//! The socket on Linux: bare `sendmsg` and `recvmsg` with segmentation offload both ways and no other control message.
//!
//! Timestamps, ECN and packet information cost 2.5 µs a round trip. Packet information is asked for only when the socket
//! listens on all addresses of a machine, where a reply must leave from the address that was asked.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use libc::{c_int, c_void};
use quinn_proto::Transmit;
use socket2::{SockAddr, SockAddrStorage, Socket};

use super::{Datagrams, Received, Sent};

/// Room for a segment size and packet information of IPv6, with their headers and alignment.
const CONTROL: usize = 96;
/// Segments that every kernel with `UDP_SEGMENT` takes (4.18; newer ones take 128).
const SEGMENTS: usize = 64;

/// Control messages want the alignment of their header.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// A socket driven through the system calls themselves.
pub(in crate::engine) struct LinuxSocket {
    socket: Socket,
    local: SocketAddr,
    segments: usize,
    unfragmented: bool,
    packet_info: bool,
}

fn set_option(socket: &Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, the pointer is to `length` readable bytes.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

impl LinuxSocket {
    /// `accepts`: peers that dial this socket are to be answered from the address that they dialled.
    pub(in crate::engine) fn bind(
        address: SocketAddr,
        shared: bool,
        accepts: bool,
    ) -> io::Result<Self> {
        let socket = super::bind(address, shared)?;
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::Unsupported)?;
        // Probing, not discovery by the kernel: QUIC finds the MTU itself (RFC 8899) and wants nothing fragmented.
        let mut unfragmented = set_option(
            &socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )
        .is_ok();
        if local.is_ipv6() {
            unfragmented = set_option(
                &socket,
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_PROBE,
            )
            .is_ok();
        }
        // Old kernels and some containers have neither: then each datagram is a call of its own.
        let _ = set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        let offload = set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        let packet_info = accepts && local.ip().is_unspecified();
        if packet_info {
            if local.is_ipv6() {
                set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            } else {
                set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            }
        }
        Ok(Self {
            socket,
            local,
            segments: if offload { SEGMENTS } else { 1 },
            unfragmented,
            packet_info,
        })
    }

    /// Has the kernel hand each datagram of a group of sockets to the one its connection id names.
    pub(in crate::engine) fn steer(&self, shards: u8) -> io::Result<()> {
        crate::engine::steering::attach(self.socket.as_raw_fd(), shards)
    }
}

/// Appends one control message and returns the space used so far.
///
/// # Safety
/// `control` has room for the message at `used`, which is a multiple of the header's alignment.
unsafe fn push_message<T>(
    control: &mut Control,
    used: usize,
    level: c_int,
    kind: c_int,
    value: T,
) -> usize {
    // SAFETY: only arithmetic; the caller promises the room.
    let (length, space) = unsafe {
        let size = size_of::<T>() as u32;
        (
            libc::CMSG_LEN(size) as usize,
            libc::CMSG_SPACE(size) as usize,
        )
    };
    debug_assert!(used + space <= CONTROL);
    let at = control.0[used..].as_mut_ptr();
    #[allow(
        clippy::cast_ptr_alignment,
        reason = "the array is aligned and messages keep it"
    )]
    // SAFETY: `at` is aligned for a header (the array is, and `used` keeps it) and has `space` bytes behind it.
    unsafe {
        let header = at.cast::<libc::cmsghdr>();
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = length as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
    used + space
}

impl Datagrams for LinuxSocket {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<Received> {
        let mut control = MaybeUninit::<Control>::uninit();
        let mut name = SockAddrStorage::zeroed();
        let mut vector = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: all zeroes is a valid `msghdr`.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = name.size_of();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        // SAFETY: every pointer in the header is to live memory of the length given beside it.
        let length =
            unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        // An error is either that nothing is here or ICMP's word on an earlier datagram, which QUIC does not believe.
        let len = usize::try_from(length).ok().filter(|&len| len > 0)?;
        let (mut stride, mut local_ip) = (len, None);
        // SAFETY: the kernel has filled `msg_controllen` bytes of control messages; CMSG_* stay within them.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(&raw const header);
            while !message.is_null() {
                let data: *const c_void = libc::CMSG_DATA(message).cast();
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        stride = data.cast::<c_int>().read_unaligned() as usize;
                    }
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                        local_ip = Some(IpAddr::V4(Ipv4Addr::from(
                            info.ipi_addr.s_addr.to_ne_bytes(),
                        )));
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        local_ip =
                            Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical());
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(&raw const header, message);
            }
        }
        // SAFETY: the kernel wrote an address of `msg_namelen` bytes.
        let source = unsafe { SockAddr::new(name, header.msg_namelen) }.as_socket()?;
        Some(Received {
            len,
            stride: stride.max(1),
            source: super::canonical(source),
            local_ip,
        })
    }

    fn send(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent {
        let name = SockAddr::from(super::for_socket(&self.local, transmit.destination));
        let mut control = Control([0; CONTROL]);
        let mut vector = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: transmit.size,
        };
        // SAFETY: all zeroes is a valid `msghdr`.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        let mut used = 0;
        if let Some(size) = transmit.segment_size.filter(|&size| size < transmit.size) {
            // SAFETY: the first message: 24 of 96 bytes.
            used = unsafe {
                push_message(
                    &mut control,
                    used,
                    libc::SOL_UDP,
                    libc::UDP_SEGMENT,
                    size as u16,
                )
            };
        }
        if let Some(ip) = transmit.src_ip.filter(|_| self.packet_info) {
            // SAFETY: the second message: at most 40 more of 96 bytes.
            used = unsafe {
                match ip {
                    IpAddr::V4(ip) if self.local.is_ipv4() => {
                        let mut info: libc::in_pktinfo = mem::zeroed();
                        info.ipi_spec_dst.s_addr = u32::from_ne_bytes(ip.octets());
                        push_message(&mut control, used, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
                    }
                    ip => {
                        let ip = match ip {
                            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                            IpAddr::V6(ip) => ip,
                        };
                        let mut info: libc::in6_pktinfo = mem::zeroed();
                        info.ipi6_addr.s6_addr = ip.octets();
                        push_message(
                            &mut control,
                            used,
                            libc::IPPROTO_IPV6,
                            libc::IPV6_PKTINFO,
                            info,
                        )
                    }
                }
            };
        }
        if used > 0 {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = used as _;
        }
        debug_assert!(transmit.size <= bytes.len());
        // SAFETY: every pointer in the header is to live memory of the length given beside it; the kernel only reads.
        let sent = unsafe {
            libc::sendmsg(
                self.socket.as_raw_fd(),
                &raw const header,
                libc::MSG_DONTWAIT,
            )
        };
        if sent >= 0 {
            return Sent::Done;
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS) => Sent::Blocked,
            // A device without checksum offload takes no trains (EIO): from now on one by one; this one is lost.
            Some(libc::EIO) if self.segments > 1 && transmit.segment_size.is_some() => {
                self.segments = 1;
                Sent::Done
            }
            // Unreachable, refused, too long for the path: QUIC notices by what is not acknowledged.
            _ => Sent::Done,
        }
    }

    fn segments(&self) -> usize {
        self.segments
    }

    fn unfragmented(&self) -> bool {
        self.unfragmented
    }

    fn local_address(&self) -> SocketAddr {
        self.local
    }

    fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
