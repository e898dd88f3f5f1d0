//! Which of several engine threads a datagram is for: decided in the kernel, by its connection id.
//!
//! The sockets of a `SO_REUSEPORT` group are numbered in the order in which they were bound. A classic BPF program returns
//! the number: the first byte of the destination connection id modulo the number of sockets, which is how
//! `core::cid` makes the ids. A client's first packets carry an id of its own choosing and land anywhere, but always at the
//! same place; a peer whose address changes stays where it was.

use std::io;
use std::os::fd::RawFd;

/// Loads from the packet (the UDP payload), relative to its start.
const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const JUMP_IF_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const MODULO: u16 = (libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K) as u16;
const RETURN_A: u16 = (libc::BPF_RET | libc::BPF_A) as u16;

/// A long header: form bit of the first byte (RFC 8999 §5.1).
const LONG_HEADER: u32 = 0x80;
/// Where the destination connection id begins behind a long header (RFC 8999 §5.1) and a short one (§5.2).
const LONG_ID: u32 = 6;
const SHORT_ID: u32 = 1;

fn program(shards: u8) -> [libc::sock_filter; 6] {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    [
        step(LOAD_BYTE, 0, 0, 0),
        // With the bit go on, without skip two.
        step(JUMP_IF_SET, 0, 2, LONG_HEADER),
        step(LOAD_BYTE, 0, 0, LONG_ID),
        step((libc::BPF_JMP | libc::BPF_JA) as u16, 0, 0, 1),
        step(LOAD_BYTE, 0, 0, SHORT_ID),
        step(MODULO, 0, 0, shards.into()),
    ]
}

/// Attaches the program to the group that the socket belongs to.
pub(super) fn attach(socket: RawFd, shards: u8) -> io::Result<()> {
    let mut steps = program(shards).to_vec();
    steps.push(libc::sock_filter {
        code: RETURN_A,
        jt: 0,
        jf: 0,
        k: 0,
    });
    let filter = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the program and its steps are alive during the call, and the kernel copies them.
    let done = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            length,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
