//! Unix sockets that keep message boundaries and carry descriptors.
//!
//! Every call returns at once: the flag goes with the call, not with the descriptor, so whatever a peer does to a descriptor it
//! shares with us cannot make us wait.

use std::{
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use super::mapping::check;

/// Descriptors in one message; more are closed unseen.
pub(super) const MAX_DESCRIPTORS: usize = 3;
/// Longest message, bytes.
pub(super) const MAX_MESSAGE: usize = 256;
/// Longest path of a socket, bytes: `sun_path` without its NUL.
pub(super) const MAX_PATH: usize = 107;

const CONTROL_BYTES: usize =
    // SAFETY: arithmetic on a number.
    unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * size_of::<RawFd>()) as u32) } as usize;

/// Space for control messages, aligned as their header.
#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

const KIND: libc::c_int = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// A message of the peer.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Who is at the other end, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: u32,
    /// As this process sees it; 0 when it lies in another PID namespace.
    pub(super) process: u32,
}

impl Socket {
    /// Two connected ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let mut ends = [0; 2];
        // SAFETY: two integers to be written.
        check(unsafe { libc::socketpair(libc::AF_UNIX, KIND, 0, ends.as_mut_ptr()) })?;
        // SAFETY: just made, and nobody else has them.
        Ok(unsafe { (Self::own(ends[0]), Self::own(ends[1])) })
    }

    /// Connects to whoever listens at `path`.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = Self::new()?;
        let (address, length) = address(path)?;
        // SAFETY: a descriptor of ours, and an address that lives and has the length.
        check(unsafe { libc::connect(socket.raw(), (&raw const address).cast(), length) })?;
        Ok(socket)
    }

    /// Listens at `path`, which must not exist.
    pub(super) fn listen(path: &Path, backlog: i32) -> io::Result<Self> {
        let socket = Self::new()?;
        let (address, length) = address(path)?;
        // SAFETY: a descriptor of ours, and an address that lives and has the length.
        check(unsafe { libc::bind(socket.raw(), (&raw const address).cast(), length) })?;
        // SAFETY: a descriptor of ours and a number.
        check(unsafe { libc::listen(socket.raw(), backlog) })?;
        Ok(socket)
    }

    /// The next connection; `WouldBlock` when there is none.
    pub(super) fn accept(&self) -> io::Result<Self> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: a descriptor of ours; no address is asked for.
        let raw = check(unsafe {
            libc::accept4(
                self.raw(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                flags,
            )
        })?;
        // SAFETY: just made, and nobody else has it.
        Ok(unsafe { Self::own(raw) })
    }

    /// Takes a descriptor that a peer sent.
    pub(super) fn received(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> io::Result<Credentials> {
        let mut found = libc::ucred {
            pid: 0,
            uid: u32::MAX,
            gid: u32::MAX,
        };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: `found` has `length` bytes to be written.
        check(unsafe {
            libc::getsockopt(
                self.raw(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut found).cast(),
                &raw mut length,
            )
        })?;
        Ok(Credentials {
            user: found.uid,
            process: found.pid as u32,
        })
    }

    /// Sends one message. `WouldBlock` when the peer does not read; nothing was sent then.
    pub(super) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        assert!(descriptors.len() <= MAX_DESCRIPTORS && bytes.len() <= MAX_MESSAGE);
        let mut control = Control([0; CONTROL_BYTES]);
        let mut vector = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: all zeroes is a valid `msghdr`.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        if !descriptors.is_empty() {
            let size = size_of_val(descriptors) as u32;
            message.msg_control = control.0.as_mut_ptr().cast();
            // SAFETY: arithmetic on a number.
            message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as _;
            // SAFETY: `control` is aligned and has room for the header and `descriptors.len() <= MAX_DESCRIPTORS`
            // integers; a `BorrowedFd` is an integer in memory, copied by `as_raw_fd` below.
            unsafe {
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(size) as _;
                let data = libc::CMSG_DATA(header).cast::<[u8; size_of::<RawFd>()]>();
                for (at, descriptor) in descriptors.iter().enumerate() {
                    data.add(at).write(descriptor.as_raw_fd().to_ne_bytes());
                }
            }
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the message points at `vector`, `bytes` and `control`, which live.
        match unsafe { libc::sendmsg(self.raw(), &raw const message, flags) } {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Receives one message into `bytes`. `WouldBlock` when there is none, `UnexpectedEof` when the peer has closed,
    /// `InvalidData` when it was longer than `bytes` or brought more than [`MAX_DESCRIPTORS`].
    pub(super) fn receive(&self, bytes: &mut [u8]) -> io::Result<Received> {
        let mut control = Control([0; CONTROL_BYTES]);
        let mut vector = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: all zeroes is a valid `msghdr`.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_BYTES as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: the message points at `vector`, `bytes` and `control`, which live.
        let length = unsafe { libc::recvmsg(self.raw(), &raw mut message, flags) };
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        // Before any return: descriptors that arrived are owned and so closed.
        let descriptors = received_descriptors(&message);
        if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // All our messages have at least one byte.
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Received {
            length: length as usize,
            descriptors,
        })
    }

    /// True when a message waits, or the peer has closed.
    pub(super) fn is_readable(&self) -> bool {
        let mut entry = libc::pollfd {
            fd: self.raw(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry that lives.
        (unsafe { libc::poll(&raw mut entry, 1, 0) }) > 0
    }

    /// Ends the connection for all who hold a descriptor of this end: the peer sees a hang-up.
    pub(super) fn shut_down(&self) {
        // SAFETY: a descriptor of ours and a number. It fails when the peer has closed before.
        unsafe { libc::shutdown(self.raw(), libc::SHUT_RDWR) };
    }

    /// This end as a descriptor for `poll`.
    pub(super) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    fn new() -> io::Result<Self> {
        // SAFETY: numbers only.
        let raw = check(unsafe { libc::socket(libc::AF_UNIX, KIND, 0) })?;
        // SAFETY: just made, and nobody else has it.
        Ok(unsafe { Self::own(raw) })
    }

    /// # Safety
    /// `raw` is open and belongs to nobody.
    unsafe fn own(raw: RawFd) -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { OwnedFd::from_raw_fd(raw) })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn received_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    // SAFETY: the kernel has filled the control buffer and its length; the macros stay inside. Each integer of an
    // SCM_RIGHTS message is a new descriptor of this process.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<[u8; size_of::<RawFd>()]>();
                let bytes = (*header).cmsg_len as usize - (data as usize - header as usize);
                for at in 0..bytes / size_of::<RawFd>() {
                    let raw = RawFd::from_ne_bytes(data.add(at).read());
                    found.push(OwnedFd::from_raw_fd(raw));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    found
}

fn address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_PATH || bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a socket's path has 1..={MAX_PATH} bytes, this one {}",
                bytes.len()
            ),
        ));
    }
    // SAFETY: all zeroes is a valid `sockaddr_un`.
    let mut address: libc::sockaddr_un = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok((address, size_of::<libc::sockaddr_un>() as libc::socklen_t))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_boundaries_and_descriptors() {
        let (left, right) = Socket::pair().unwrap();
        let mut bytes = [0; MAX_MESSAGE];
        let nothing = right.receive(&mut bytes).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        left.send(b"one", &[left.as_fd(), right.as_fd()]).unwrap();
        left.send(b"two", &[]).unwrap();
        let first = right.receive(&mut bytes).unwrap();
        assert_eq!(
            (&bytes[..first.length], first.descriptors.len()),
            (&b"one"[..], 2)
        );
        // The descriptor that came is a second one for `left`.
        Socket::received(first.descriptors.into_iter().next().unwrap())
            .send(b"three", &[])
            .unwrap();
        for expected in [&b"two"[..], b"three"] {
            let next = right.receive(&mut bytes).unwrap();
            assert_eq!(
                (&bytes[..next.length], next.descriptors.len()),
                (expected, 0)
            );
        }
        let own = right.peer().unwrap();
        assert_eq!(own.process, std::process::id());
        drop(left);
        let closed = right.receive(&mut bytes).unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::UnexpectedEof);
        assert!(right.send(b"x", &[]).is_err());
    }

    #[test]
    fn what_is_too_long_is_refused_and_leaks_nothing() {
        let (left, right) = Socket::pair().unwrap();
        left.send(&[1; 64], &[left.as_fd(), left.as_fd(), left.as_fd()])
            .unwrap();
        let refused = right.receive(&mut [0; 63]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        let path = Path::new("/tmp").join("x".repeat(MAX_PATH));
        assert_eq!(
            Socket::connect(&path).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
