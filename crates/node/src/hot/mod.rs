//! The hot functions: called per message or per look-up, registered directly through Node-API.
//!
//! Each is one `hot!` entry, in a file for each part of `ts/binding/contract.ts` and in its order. The body gets the
//! thread's state and the arguments and answers with a number; a negative one is a [`Status`]. Bodies take no lock and do
//! not allocate, but for those that say so, and never call JavaScript. A panic becomes `Status::Internal`.
//!
//! [`Status`]: linkmesh_registry::Status

mod entry;
mod floor;
mod journal;
mod lanes;
mod memory;
mod metrics;
mod router;
mod tables;

use napi::sys;

use crate::state::ThreadState;

pub(crate) use tables::integer_key;

/// Attaches every hot function to `exports`, with `state` as its data.
///
/// # Safety
/// `env` and `exports` belong to the running module registration; `state` outlives the environment.
pub(crate) unsafe fn register(
    env: sys::napi_env,
    exports: sys::napi_value,
    state: *mut ThreadState,
) {
    let parts = [
        floor::register,
        tables::register,
        router::register,
        metrics::register,
        journal::register,
        memory::register,
        lanes::register,
    ];
    for register in parts {
        // SAFETY: as the caller promises.
        unsafe { register(env, exports, state) };
    }
}
