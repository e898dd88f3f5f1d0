//! What this binary is.

use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::external;
use crate::state::{SCRATCH_WORDS, ThreadState};

#[napi(object)]
pub struct BindingInfo {
    pub backend: String,
    pub version: String,
    pub cpu: Vec<String>,
    pub capabilities: Vec<String>,
}

/// SIMD paths that the running processor has and the tables use.
fn cpu_features() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [("neon", std::arch::is_aarch64_feature_detected!("neon"))];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    let mut features: Vec<String> = found
        .iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| (*name).to_owned())
        .collect();
    features.push("scalar".to_owned());
    features
}

fn capabilities() -> Vec<String> {
    let mut names = vec!["shared-tables", "workers", "nodes", "remote-memory"];
    // Processes of this host share memory by descriptor; elsewhere they use QUIC like all others.
    if linkmesh_memory::host::supported().is_ok() {
        names.push("host-memory");
    }
    names.into_iter().map(str::to_owned).collect()
}

#[napi]
pub fn info() -> BindingInfo {
    BindingInfo {
        backend: "native".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu: cpu_features(),
        capabilities: capabilities(),
    }
}

#[napi]
pub fn last_error(env: &Env) -> String {
    ThreadState::of(env).last_error()
}

#[napi]
pub fn scratch(env: &Env) -> Result<Unknown<'_>> {
    let state = ThreadState::of(env);
    let memory = std::sync::Arc::clone(&state.scratch);
    let words = state.edge(|_| {
        let data = memory.0.as_ptr().cast_mut().cast();
        // SAFETY: the scratch memory is cells that only this thread touches, from Rust and from JavaScript,
        // never at the same time.
        let buffer = unsafe {
            external::array_buffer(env, data, SCRATCH_WORDS * 4, std::sync::Arc::clone(&memory))
        }?;
        Ok(external::words(env, buffer, SCRATCH_WORDS))
    });
    match words {
        // SAFETY: the value was made in this call.
        Ok(words) => Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), words) }),
        Err(_) => Null.into_unknown(env),
    }
}

#[napi]
pub fn self_test_panic(env: &Env) -> f64 {
    ThreadState::of(env)
        .edge_number(|_| panic!("a panic on purpose, to prove that it stops at the edge"))
}
