//! Whether an event loop waits for events at this moment, read from another thread.
//!
//! libuv counts the time that a loop spends waiting (what `performance.eventLoopUtilization()` shows) and lets any thread
//! read the count. While the loop waits the count grows, so two reads tell. An idle loop is seen to be idle without being
//! woken; only one that is at work has to be asked.

use std::ffi::CStr;
use std::sync::OnceLock;

use napi::Env;
use napi::bindgen_prelude::*;
use napi::sys::uv_loop_s;

/// `uint64_t uv_metrics_idle_time(uv_loop_t*)`, nanoseconds; libuv ≥ 1.39, "the call is thread safe".
type IdleTime = unsafe extern "C" fn(*mut uv_loop_s) -> u64;

/// Reads until the count has moved: the coarsest clock (Windows, 100 ns) moves within a few.
const READS: u32 = 32;

/// One thread's loop. Must not be used once its environment has begun to go away.
#[derive(Debug)]
pub(crate) struct LoopProbe {
    uv_loop: *mut uv_loop_s,
    idle_time: IdleTime,
}

// SAFETY: the pointer is only passed to `uv_metrics_idle_time`, which any thread may call.
unsafe impl Send for LoopProbe {}

impl LoopProbe {
    /// Of this thread's loop. None where the runtime does not offer it: loops are woken for an answer there.
    pub(crate) fn of(env: &Env) -> Option<Self> {
        let idle_time = idle_time_function()?;
        // Other runtimes export libuv's names to end the process when one is called.
        let process = env
            .get_global()
            .ok()?
            .get_named_property::<Object<'_>>("process")
            .ok()?;
        let versions = process.get_named_property::<Object<'_>>("versions").ok()?;
        for other in ["bun", "deno"] {
            if versions.has_named_property(other).ok()? {
                return None;
            }
        }
        let uv_loop = env.get_uv_event_loop().ok()?;
        (!uv_loop.is_null()).then_some(Self { uv_loop, idle_time })
    }

    /// Whether the loop waits for events now. None: it has never waited, or does not count (Node.js lets its loops count).
    pub(crate) fn waits(&self) -> Option<bool> {
        // SAFETY: `of` got the loop from its environment, and `Peer::end` drops this before the loop is closed.
        let read = || unsafe { (self.idle_time)(self.uv_loop) };
        let first = read();
        if first == 0 {
            return None;
        }
        Some((0..READS).any(|_| read() > first))
    }
}

/// Looked up once in the program itself: it is the runtime that has libuv, if it has.
fn idle_time_function() -> Option<IdleTime> {
    static FOUND: OnceLock<Option<IdleTime>> = OnceLock::new();
    const NAME: &CStr = c"uv_metrics_idle_time";
    *FOUND.get_or_init(|| {
        #[cfg(unix)]
        let program = libloading::os::unix::Library::this();
        #[cfg(windows)]
        let program = libloading::os::windows::Library::this().ok()?;
        // SAFETY: the function has this signature in every version of libuv that has it. The program is never unloaded.
        unsafe { program.get::<IdleTime>(NAME).ok().map(|found| *found) }
    })
}
