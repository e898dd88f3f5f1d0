//! Whether a thread is at work, seen from another one: by the processor time that it has used.
//!
//! A loop that the mesh left asleep may be at work on something the mesh knows nothing of. One that is has to be asked at
//! once; one that is idle uses no processor and is left alone. A thread that waits inside a call uses none either: it is
//! found by the wake that every sleeping loop gets now and then, as everything is where a thread's time cannot be read.

/// How much of the time since the last look a thread has used a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    /// Next to nothing, or nobody can tell.
    Nothing,
    /// Too little for a thread at work all along, and more than one that sleeps: it may have just begun.
    Some,
    /// More than a quarter.
    Much,
}

/// One thread's processor time, as it was at the last look.
#[derive(Debug)]
pub(crate) struct LoopProbe {
    #[cfg(target_os = "linux")]
    clock: libc::clockid_t,
    used: std::time::Duration,
    at: std::time::Instant,
}

#[cfg(target_os = "linux")]
impl LoopProbe {
    /// Of the calling thread.
    pub(crate) fn here() -> Option<Self> {
        let mut clock = 0;
        // SAFETY: the calling thread is alive, and `clock` is there to be written to.
        let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        let used = (failed == 0).then(|| read(clock)).flatten()?;
        let at = std::time::Instant::now();
        Some(Self { clock, used, at })
    }

    /// What it has used since the last call.
    pub(crate) fn look(&mut self) -> Used {
        // A thread that has ended has no clock any more.
        let Some(used) = read(self.clock) else {
            return Used::Nothing;
        };
        let at = std::time::Instant::now();
        let (worked, passed) = (used.saturating_sub(self.used), at.duration_since(self.at));
        (self.used, self.at) = (used, at);
        if worked > passed / 4 {
            Used::Much
        } else if worked > passed / 100 {
            Used::Some
        } else {
            Used::Nothing
        }
    }
}

#[cfg(target_os = "linux")]
fn read(clock: libc::clockid_t) -> Option<std::time::Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is there to be written to; a clock that is gone is refused by the kernel.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    (failed == 0).then(|| std::time::Duration::new(seconds, nanoseconds))
}

#[cfg(not(target_os = "linux"))]
impl LoopProbe {
    pub(crate) fn here() -> Option<Self> {
        None
    }

    pub(crate) fn look(&mut self) -> Used {
        Used::Nothing
    }
}
