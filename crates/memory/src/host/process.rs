//! Whether another process has ended.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A process, by a descriptor that stays its own when its id is used again (`pidfd_open`, Linux 5.3).
#[derive(Debug)]
pub(super) struct Process(OwnedFd);

impl Process {
    /// Of a process that is known to live, because it holds the other end of a socket. `None` where the kernel does not tell.
    pub(super) fn open(id: u32) -> Option<Self> {
        // SAFETY: takes no pointers; the answer is a descriptor of ours or negative.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
        let descriptor = RawFd::try_from(descriptor)
            .ok()
            .filter(|descriptor| *descriptor >= 0)?;
        // SAFETY: just opened, and nobody else's.
        Some(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// True once it has ended, also while its parent has not asked for its status.
    pub(super) fn has_ended(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry that lives; does not wait.
        (unsafe { libc::poll(&raw mut poll, 1, 0) }) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen_before_its_parent_asks() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        assert!(!process.has_ended());
        child.kill().unwrap();
        while !process.has_ended() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(process.has_ended());
    }
}
