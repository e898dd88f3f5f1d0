//! How a hot function is entered: arguments, the thread's state, a number as answer, a panic stopped.

use std::ptr;

use linkmesh_registry::Status;
use napi::sys;

use crate::state::ThreadState;

pub(super) const NO_MATCH: i64 = Status::NoMatch as i64;
pub(super) const STALE: i64 = Status::StaleHandle as i64;
pub(super) const INVALID: i64 = Status::InvalidArgument as i64;
pub(super) const CLOSED: i64 = Status::Closed as i64;

/// Declares hot functions, and `register`, which attaches those of the file to the exports of an environment.
macro_rules! hot {
    ($($(#[$doc:meta])* fn $name:ident($state:ident, $args:ident: $count:literal) $body:block)*) => {
        $($(#[$doc])*
        unsafe extern "C" fn $name(
            env: ::napi::sys::napi_env,
            info: ::napi::sys::napi_callback_info,
        ) -> ::napi::sys::napi_value {
            let mut args =
                $crate::args::Args::<$count> { env, count: $count, values: [::std::ptr::null_mut(); $count] };
            let mut data = ::std::ptr::null_mut();
            // SAFETY: Node-API calls this with a live environment and call info. `count` says how many
            // values fit. `data` is the pointer given at registration: this environment's `ThreadState`,
            // which lives until the environment is gone and to which no other reference exists, because
            // functions of this addon never call back into JavaScript.
            let $state = unsafe {
                ::napi::sys::napi_get_cb_info(
                    env,
                    info,
                    &raw mut args.count,
                    args.values.as_mut_ptr(),
                    ::std::ptr::null_mut(),
                    &raw mut data,
                );
                &mut *data.cast::<$crate::state::ThreadState>()
            };
            let $args = &args;
            let body = ::std::panic::AssertUnwindSafe(|| -> i64 { $body });
            let answer = match ::std::panic::catch_unwind(body) {
                Ok(answer) => answer,
                Err(payload) => i64::from($state.panicked(&*payload)),
            };
            $crate::args::number(env, answer)
        })*

        /// Attaches the hot functions of this file.
        ///
        /// # Safety
        /// As for [`attach`](crate::hot::entry::attach).
        pub(super) unsafe fn register(
            env: ::napi::sys::napi_env,
            exports: ::napi::sys::napi_value,
            state: *mut $crate::state::ThreadState,
        ) {
            let entries: &[(&str, ::napi::sys::napi_callback)] =
                &[$((concat!(stringify!($name), "\0"), Some($name))),*];
            // SAFETY: as the caller promises; each name ends with the one NUL that is in it.
            unsafe { $crate::hot::entry::attach(env, exports, state, entries) }
        }
    };
}
pub(super) use hot;

/// Attaches functions by their NUL-terminated names to `exports`, with `state` as their data.
///
/// # Safety
/// `env` and `exports` belong to the running module registration; `state` outlives the environment; each function takes
/// its data for a `ThreadState`.
pub(super) unsafe fn attach(
    env: sys::napi_env,
    exports: sys::napi_value,
    state: *mut ThreadState,
    entries: &[(&str, sys::napi_callback)],
) {
    for (name, function) in entries {
        let mut value = ptr::null_mut();
        // SAFETY: as the caller promises; the name is NUL-terminated and its length given without it.
        unsafe {
            sys::napi_create_function(
                env,
                name.as_ptr().cast(),
                name.len() as isize - 1,
                *function,
                state.cast(),
                &raw mut value,
            );
            sys::napi_set_named_property(env, exports, name.as_ptr().cast(), value);
        }
    }
}
