//! Lanes between threads, large bodies and the wake: the cold half. Commit, release, poll and arm are in `hot`.

use std::sync::Arc;

use napi::bindgen_prelude::*;
use napi_derive::napi;

use linkmesh_registry::Status;

use crate::external;
use crate::mesh::json;
use crate::state::{Failure, ThreadState};

#[napi]
pub fn lane_open(env: &Env, mesh: u32, to_thread: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let guard = state.reader.pin();
        let joined = state
            .meshes
            .get_mut(mesh)
            .ok_or_else(|| Failure::stale("mesh"))?;
        if joined.engine.is_closed() {
            return Err(Failure::new(Status::Closed, "the mesh was closed"));
        }
        let engine = Arc::clone(&joined.engine);
        let lane = engine.open_lane(&guard, &joined.peer, to_thread)?;
        joined.remember(&lane);
        Ok(f64::from(lane.id))
    })
}

#[napi]
pub fn lane_memory(env: &Env, mesh: u32, lane: u32) -> Result<Unknown<'_>> {
    let buffer = ThreadState::of(env).edge(|state| {
        let joined = state
            .meshes
            .get_mut(mesh)
            .ok_or_else(|| Failure::stale("mesh"))?;
        let lane = Arc::clone(
            joined
                .lane_shared(lane)
                .ok_or_else(|| Failure::stale("lane"))?,
        );
        // SAFETY: the link owns the lane's memory. Rust never reads or writes the bytes; the two JavaScript
        // threads take turns on them as `commit` and `release` hand over ranges.
        unsafe {
            external::array_buffer(
                env,
                lane.memory.as_ptr(),
                lane.memory.capacity() as usize,
                Arc::clone(&lane),
            )
        }
    });
    match buffer {
        // SAFETY: the value was made in this call.
        Ok(buffer) => Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), buffer) }),
        Err(_) => Null.into_unknown(env),
    }
}

#[napi]
pub fn on_wake(env: &Env, mesh: u32, callback: Function<'_, (), ()>) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state.mesh(mesh)?;
        let wake = callback
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .build()
            .map_err(|error| Failure::new(Status::Internal, error.reason.clone()))?;
        joined.peer.set_wake(wake);
        Ok(0.0)
    })
}

#[napi]
pub fn threads(env: &Env, mesh: u32) -> String {
    ThreadState::of(env).edge_text(|state| {
        let joined = state.mesh(mesh)?;
        json(&crate::mesh::thread_list(state, joined))
    })
}

#[napi]
pub fn blob_put(env: &Env, mesh: u32, bytes: &[u8]) -> f64 {
    ThreadState::of(env)
        .edge_number(|state| state.mesh(mesh)?.engine.blobs.put(bytes).map(f64::from))
}

#[napi]
pub fn blob_take(env: &Env, mesh: u32, id: u32) -> Option<Uint8Array> {
    ThreadState::of(env)
        .edge(|state| Ok(state.mesh(mesh)?.engine.blobs.take(id)))
        .ok()
        .flatten()
        .map(|bytes| Uint8Array::new(bytes.into_vec()))
}
