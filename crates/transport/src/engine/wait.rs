//! Sleeping until a datagram, a wake or a time.

use std::io;
use std::time::Duration;

#[cfg(unix)]
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// What a sleeping thread is woken by: a descriptor that is readable once somebody has called `wake`.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Waker {
    reader: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    writer: OwnedFd,
}

#[cfg(target_os = "linux")]
impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let reader = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { reader })
    }

    /// Ends the sleep, or the next one. About 1 µs.
    pub(super) fn wake(&self) {
        let one = 1_u64;
        // SAFETY: eight readable bytes. A full counter (EAGAIN) is awake already.
        unsafe { libc::write(self.reader.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: eight writable bytes.
        unsafe { libc::read(self.reader.as_raw_fd(), (&raw mut count).cast(), 8) };
    }

    /// Sleeps until `socket` (if given) is readable, somebody wakes, or the time is over.
    pub(super) fn wait(&self, socket: Option<RawFd>, timeout: Option<Duration>) {
        let entry = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut entries = [entry(self.reader.as_raw_fd()), entry(socket.unwrap_or(-1))];
        let time = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().min(1 << 30) as libc::time_t,
            tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: two entries, a time that lives (or none), no signal mask. A negative descriptor is skipped.
        unsafe { libc::ppoll(entries.as_mut_ptr(), 2, time, std::ptr::null()) };
        if entries[0].revents != 0 {
            self.clear();
        }
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        for end in ends {
            // SAFETY: open descriptors, no pointers.
            unsafe {
                libc::fcntl(end, libc::F_SETFL, libc::O_NONBLOCK);
                libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        // SAFETY: just opened, and nobody else's.
        unsafe {
            Ok(Self {
                reader: OwnedFd::from_raw_fd(ends[0]),
                writer: OwnedFd::from_raw_fd(ends[1]),
            })
        }
    }

    pub(super) fn wake(&self) {
        // SAFETY: one readable byte. A full pipe (EAGAIN) is awake already.
        unsafe { libc::write(self.writer.as_raw_fd(), c"w".as_ptr().cast(), 1) };
    }

    fn clear(&self) {
        let mut bytes = [0_u8; 64];
        // SAFETY: 64 writable bytes.
        while unsafe { libc::read(self.reader.as_raw_fd(), bytes.as_mut_ptr().cast(), 64) } == 64 {}
    }

    pub(super) fn wait(&self, socket: Option<RawFd>, timeout: Option<Duration>) {
        let entry = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut entries = [entry(self.reader.as_raw_fd()), entry(socket.unwrap_or(-1))];
        let milliseconds = timeout.map_or(-1, |timeout| {
            let rounded = timeout.as_micros().div_ceil(1000);
            rounded.min(1 << 30) as libc::c_int
        });
        // SAFETY: the entries live; a negative descriptor is skipped.
        unsafe {
            libc::poll(
                entries.as_mut_ptr(),
                if socket.is_some() { 2 } else { 1 },
                milliseconds,
            )
        };
        if entries[0].revents != 0 {
            self.clear();
        }
    }
}

/// Where sockets cannot be waited for together with a wake, the thread looks at them every millisecond.
#[cfg(not(unix))]
#[derive(Debug, Default)]
pub(super) struct Waker {
    woken: std::sync::Mutex<bool>,
    condition: std::sync::Condvar,
}

#[cfg(not(unix))]
impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    pub(super) fn wake(&self) {
        *self
            .woken
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.condition.notify_all();
    }

    pub(super) fn wait(&self, socket: Option<()>, timeout: Option<Duration>) {
        let longest = if socket.is_some() {
            Duration::from_millis(1)
        } else {
            Duration::from_secs(3600)
        };
        let timeout = timeout.map_or(longest, |timeout| timeout.min(longest));
        let guard = self
            .woken
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut guard, _) = self
            .condition
            .wait_timeout_while(guard, timeout, |woken| !*woken)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *guard = false;
    }
}

/// Lets another thread run that wants this core: in every empty poll, or three spinning threads on two cores stand still.
#[inline]
pub(super) fn yield_now() {
    std::thread::yield_now();
}
