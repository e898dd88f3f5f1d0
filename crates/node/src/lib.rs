//! The Node-API addon: thin and mechanical, the only crate that knows Node.
//!
//! What may enter: conversion of arguments and results, the state of a JavaScript thread, the process-wide
//! list of meshes, the housekeeping thread. What is deliberately absent: any policy. A decision that a unit
//! test could check belongs in `tables`, `metrics`, `registry` or `routing`.
//!
//! `hot` holds the functions that are called per message or per look-up, registered directly; the other
//! files hold the rest by `#[napi]`, in the order of `ts/binding/contract.ts`.
#![allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "#[napi] hands the environment as `&Env`"
)]
#![allow(clippy::needless_pass_by_value, reason = "#[napi] hands owned values")]
#![allow(
    unreachable_pub,
    reason = "#[napi] wants `pub`, in modules that nothing else reaches"
)]

mod args;
mod blobs;
mod delivery;
mod engine;
mod external;
mod heartbeat;
mod hot;
mod identity;
mod info;
mod joined;
mod journal;
mod journal_request;
mod loop_probe;
mod memory;
mod mesh;
mod metrics;
mod named;
mod peer;
mod remote;
mod simulate;
mod state;
mod tables;
mod threads;
mod transport;

use std::ffi::c_void;

use napi::bindgen_prelude::*;
use napi::sys;
use napi_derive::napi;

use crate::state::ThreadState;

/// Runs once per environment: the main thread and every worker.
///
/// # Errors
/// Node-API refuses, as it may while the environment is being torn down.
#[napi(module_exports)]
pub fn register(exports: Object, env: Env) -> Result<()> {
    /// The environment is going away: leave the meshes while the other threads can still be told.
    unsafe extern "C" fn leave(state: *mut c_void) {
        // A panic here would cross into Node. What is left undone then is only memory.
        let work = || {
            // SAFETY: `state` is the pointer given below; it lives until `free`, which runs after the hooks.
            unsafe { &mut *state.cast::<ThreadState>() }.leave_all();
        };
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
    }
    unsafe extern "C" fn free(_env: sys::napi_env, state: *mut c_void, _hint: *mut c_void) {
        // SAFETY: the pointer came from `Box::into_raw` below, and a finalizer runs once.
        let state = unsafe { Box::from_raw(state.cast::<ThreadState>()) };
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
            move || drop(state),
        )));
    }
    let state = Box::into_raw(Box::new(ThreadState::new()));
    // SAFETY: the environment is the one being set up; the state lives until `free`, which Node calls when
    // the environment is torn down, after its last JavaScript and after the cleanup hooks.
    unsafe {
        check_status!(sys::napi_set_instance_data(
            env.raw(),
            state.cast(),
            Some(free),
            std::ptr::null_mut()
        ))?;
        check_status!(sys::napi_add_env_cleanup_hook(
            env.raw(),
            Some(leave),
            state.cast()
        ))?;
        hot::register(env.raw(), exports.raw(), state);
    }
    Ok(())
}
