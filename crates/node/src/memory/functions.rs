//! The cold functions of operations: the page, and bulk transfers. The hot ones are in `hot`.

use std::ptr;
use std::sync::Arc;

use linkmesh_registry::Status;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::external;
use crate::memory::bulk::Asked;
use crate::memory::operations::Operations;
use crate::memory::page::{MAX_OFFSET, PAGE_BYTES};
use crate::memory::{fate, node};
use crate::state::{Failure, ThreadState};

type Checked<T> = std::result::Result<T, Failure>;

#[napi(ts_return_type = "ArrayBuffer | null")]
pub fn memory_page(env: &Env, mesh: u32) -> Unknown<'_> {
    let built = ThreadState::of(env).edge(|state| {
        let node = node(state, mesh)?;
        let joined = (state.meshes.get_mut(mesh)).ok_or_else(|| Failure::stale("mesh"))?;
        if joined.memory.is_none() {
            let operations = Operations::new(node).ok_or_else(|| {
                Failure::new(Status::LimitExceeded, "too many threads use remote memory")
            })?;
            joined.memory = Some(Box::new(operations));
        }
        let operations = joined.memory.as_ref().expect("made above");
        let page = operations.page();
        // SAFETY: PAGE_BYTES bytes that live while the buffer holds their owner; Rust touches them only inside calls of
        // this thread.
        unsafe { external::array_buffer(env, page.as_ptr(), PAGE_BYTES, Arc::clone(page)) }
    });
    let value = built.unwrap_or_else(|_| {
        let mut null = ptr::null_mut();
        // SAFETY: the environment is live.
        unsafe { sys::napi_get_null(env.raw(), &raw mut null) };
        null
    });
    // SAFETY: a value that was made in this call.
    unsafe { Unknown::from_raw_unchecked(env.raw(), value) }
}

fn operations(state: &mut ThreadState, mesh: u32) -> Checked<&mut Operations> {
    let joined = (state.meshes.get_mut(mesh)).ok_or_else(|| Failure::stale("mesh"))?;
    joined.memory.as_deref_mut().ok_or_else(|| {
        Failure::new(Status::Closed, "this thread has no operation page").field("mesh")
    })
}

fn asked(id: u32, offset: f64, length: f64, timeout_ms: f64) -> Checked<Asked> {
    for (field, value) in [("offset", offset), ("length", length)] {
        if !(0.0..=MAX_OFFSET).contains(&value) || value.fract() != 0.0 {
            let words = format!("{field} must be a whole number of bytes from 0");
            return Err(Failure::new(Status::InvalidArgument, words).field(field));
        }
    }
    Ok(Asked {
        id,
        offset: offset as u64,
        length: length as u64,
        timeout_ms,
    })
}

#[napi]
pub fn memory_bulk_read(
    env: &Env,
    mesh: u32,
    id: u32,
    remote: u32,
    offset: f64,
    length: f64,
    timeout_ms: f64,
) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let asked = asked(id, offset, length, timeout_ms)?;
        let begun = operations(state, mesh)?.bulk(remote, asked, None);
        begun.map(|()| 0.0).map_err(|fate| fate::failure(&fate))
    })
}

#[napi]
pub fn memory_bulk_write(
    env: &Env,
    mesh: u32,
    id: u32,
    remote: u32,
    offset: f64,
    bytes: Uint8Array,
    timeout_ms: f64,
) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let asked = asked(id, offset, bytes.len() as f64, timeout_ms)?;
        let begun = operations(state, mesh)?.bulk(remote, asked, Some(&bytes));
        begun.map(|()| 0.0).map_err(|fate| fate::failure(&fate))
    })
}

#[napi]
pub fn memory_take(env: &Env, mesh: u32, id: u32, mut target: Uint8Array) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        // SAFETY: the array is the caller's, and no JavaScript of this thread runs during the call.
        let target = unsafe { target.as_mut() };
        let taken = operations(state, mesh)?.take(id, target);
        taken
            .map(|length| length as f64)
            .map_err(|fate| fate::failure(&fate))
    })
}
