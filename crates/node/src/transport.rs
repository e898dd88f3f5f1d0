//! This process as a node: the cold half of `ts/binding/contract-node.ts`.

use linkmesh_registry::Status;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::state::{Failure, ThreadState};

/// A refusal of a function that answers with a promise: an error whose message is JSON of `ErrorData`.
pub(crate) fn rejection(failure: &Failure) -> Error {
    Error::new(
        napi::Status::GenericFailure,
        serde_json::to_string(failure).unwrap_or_default(),
    )
}

#[napi]
pub fn node_open(env: &Env, mesh: u32, _options: String) -> Result<()> {
    let opened = ThreadState::of(env).edge(|state| {
        state.mesh(mesh)?;
        Err::<(), _>(Failure::new(
            Status::NativeRequired,
            "this build of the addon has no QUIC engine",
        ))
    });
    opened.map_err(|_| {
        rejection(&Failure::new(
            Status::NativeRequired,
            "this build of the addon has no QUIC engine",
        ))
    })
}

#[napi]
pub fn node_info(env: &Env, mesh: u32) -> String {
    ThreadState::of(env).edge_text(|state| state.mesh(mesh).map(|_| String::new()))
}

#[napi]
pub fn node_peers(env: &Env, mesh: u32) -> String {
    ThreadState::of(env).edge_text(|state| state.mesh(mesh).map(|_| "[]".to_owned()))
}

#[napi]
pub fn node_of_thread(env: &Env, mesh: u32, _thread: u32) -> String {
    ThreadState::of(env).edge_text(|state| state.mesh(mesh).map(|_| String::new()))
}
