//! The order of messages with one key, and the ledger of idempotency keys: see `key_order` and `ledger` in `crates/routing`.

use std::collections::BTreeSet;

use linkmesh_routing::Begun;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::engine::Engine;
use crate::state::ThreadState;

/// Tells those whose turn or answer has come. The calling thread looks by itself.
fn tell(
    engine: &Engine,
    guard: &linkmesh_tables::epoch::Guard<'_>,
    me: u32,
    threads: impl IntoIterator<Item = u32>,
) {
    for thread in threads.into_iter().collect::<BTreeSet<_>>() {
        if thread != me {
            engine.signal(guard, thread);
        }
    }
}

#[napi]
pub fn order_enter(env: &Env, mesh: u32, service: u32, key: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state.mesh(mesh)?;
        let guard = state.reader.pin();
        let entered =
            joined
                .engine
                .router
                .order_enter(&guard, service, key.as_bytes(), joined.peer.id)?;
        let scratch = &state.scratch.0;
        scratch[0].set(u32::from(entered.waits));
        scratch[1].set(u32::from(entered.broken));
        Ok(f64::from(entered.id))
    })
}

#[napi]
pub fn order_leave(env: &Env, mesh: u32, service: u32, key: String, id: u32, broken: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state.mesh(mesh)?;
        let guard = state.reader.pin();
        let engine = &joined.engine;
        let next = engine
            .router
            .order_leave(service, key.as_bytes(), id, broken != 0);
        tell(engine, &guard, joined.peer.id, next);
        Ok(0.0)
    })
}

#[napi]
pub fn ledger_begin(env: &Env, mesh: u32, service: u32, key: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state.mesh(mesh)?;
        let guard = state.reader.pin();
        let engine = &joined.engine;
        let begun = engine.router.ledger_begin(
            &guard,
            service,
            key.as_bytes(),
            joined.peer.id,
            engine.now(),
        )?;
        let (what, id) = match begun {
            Begun::First(id) => (0, id),
            Begun::Joined(id) => (1, id),
            Begun::Settled => (2, 0),
        };
        state.scratch.0[0].set(what);
        Ok(f64::from(id))
    })
}

#[napi]
pub fn ledger_result(env: &Env, mesh: u32, service: u32, key: String) -> Option<Uint8Array> {
    ThreadState::of(env)
        .edge(|state| {
            let router = &state.mesh(mesh)?.engine.router;
            Ok(router.ledger_result(service, key.as_bytes()))
        })
        .ok()
        .flatten()
        .map(|result| Uint8Array::new(result.to_vec()))
}

#[napi]
pub fn ledger_settle(
    env: &Env,
    mesh: u32,
    service: u32,
    key: String,
    id: u32,
    result: Uint8Array,
) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state.mesh(mesh)?;
        let guard = state.reader.pin();
        let engine = &joined.engine;
        let told = engine.router.ledger_settle(
            &guard,
            service,
            key.as_bytes(),
            id,
            &result,
            engine.now(),
        )?;
        tell(engine, &guard, joined.peer.id, told);
        Ok(0.0)
    })
}

#[napi]
pub fn ledger_forget(env: &Env, mesh: u32, service: u32, key: String, id: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state.mesh(mesh)?;
        let guard = state.reader.pin();
        let engine = &joined.engine;
        let told = engine.router.ledger_forget(service, key.as_bytes(), id);
        tell(engine, &guard, joined.peer.id, told);
        Ok(0.0)
    })
}
