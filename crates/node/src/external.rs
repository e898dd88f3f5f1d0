//! Native memory as `ArrayBuffer`s that keep their owner alive.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use linkmesh_registry::Status;
use napi::bindgen_prelude::*;
use napi::sys;

use crate::state::Failure;

/// An `ArrayBuffer` over `length` bytes at `data`; `owner` is released when JavaScript has collected it.
///
/// # Errors
/// `NativeRequired` where the runtime forbids external memory (Electron's memory cage).
///
/// # Safety
/// The memory must stay valid and writable while `owner` lives, and every access from Rust to bytes that
/// JavaScript may touch must be atomic or ordered by the protocol of the structure.
pub(crate) unsafe fn array_buffer<T: Send + Sync + 'static>(
    env: &Env,
    data: *mut u8,
    length: usize,
    owner: Arc<T>,
) -> std::result::Result<sys::napi_value, Failure> {
    extern "C" fn release<T>(_env: sys::napi_env, _data: *mut c_void, hint: *mut c_void) {
        // SAFETY: `hint` came from `Arc::into_raw` below, and a finalizer runs once.
        drop(unsafe { Arc::from_raw(hint.cast::<T>()) });
    }
    let hint = Arc::into_raw(owner);
    let mut value = ptr::null_mut();
    // SAFETY: the environment is live; data and owner are the caller's promise.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(
            env.raw(),
            data.cast(),
            length,
            Some(release::<T>),
            hint.cast_mut().cast(),
            &raw mut value,
        )
    };
    if status != sys::Status::napi_ok {
        // SAFETY: the call failed, so the finalizer was not taken over.
        drop(unsafe { Arc::from_raw(hint) });
        return Err(Failure::new(
            Status::NativeRequired,
            "this runtime does not let native memory be an ArrayBuffer; use the fallback backend",
        ));
    }
    Ok(value)
}

/// A `Uint32Array` over a whole `ArrayBuffer`.
pub(crate) fn words(env: &Env, buffer: sys::napi_value, count: usize) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: `buffer` is an ArrayBuffer of this environment with `count * 4` bytes.
    unsafe {
        sys::napi_create_typedarray(
            env.raw(),
            sys::TypedarrayType::uint32_array,
            count,
            buffer,
            0,
            &raw mut value,
        );
    }
    value
}
