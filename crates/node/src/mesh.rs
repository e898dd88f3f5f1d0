//! Opening meshes, the registry and the router: the cold half. `pick` and `complete` are in `hot`.

use std::sync::Arc;

use linkmesh_registry::{RegistryError, Status};
use linkmesh_routing::{Control, Qos};
use napi::bindgen_prelude::*;
use napi_derive::napi;
use serde::Serialize;

use crate::engine::Engine;
use crate::external;
use crate::joined::Joined;
use crate::state::{Failure, ThreadState};
use crate::tables::invalid;

type Checked<T> = std::result::Result<T, Failure>;

pub(crate) fn json<T: Serialize>(value: &T) -> Checked<String> {
    serde_json::to_string(value).map_err(|error| Failure::new(Status::Internal, error.to_string()))
}

fn keep(state: &mut ThreadState, joined: Joined) -> Checked<f64> {
    state.meshes.insert(joined).map(f64::from).ok_or_else(|| {
        Failure::new(Status::LimitExceeded, "too many open meshes in this thread").field("meshes")
    })
}

#[napi]
pub fn mesh_open(env: &Env, options: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let engine = Engine::open(&options)?;
        let peer = engine.join()?;
        keep(state, Joined::new(engine, peer, true)?)
    })
}

#[napi]
pub fn mesh_attach(env: &Env, name: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let engine = Engine::find(&name)?;
        let peer = engine.join()?;
        keep(state, Joined::new(engine, peer, false)?)
    })
}

#[napi]
pub fn mesh_close(env: &Env, mesh: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        state
            .meshes
            .remove(mesh)
            .ok_or_else(|| Failure::stale("mesh"))?
            .leave();
        Ok(0.0)
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ThreadInfo {
    id: u32,
    alive: bool,
    /// The event loop does not turn.
    blocked: bool,
    /// How late it is, microseconds.
    lag_us: u32,
    /// Share of recent time in which it was at work, 0 to 1.
    utilisation: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MeshInfo<'a> {
    name: &'a str,
    thread: u32,
    threads: Vec<ThreadInfo>,
    seed: u32,
    now_us: u64,
    closed: bool,
}

pub(crate) fn thread_list(state: &ThreadState, joined: &Joined) -> Vec<ThreadInfo> {
    let guard = state.reader.pin();
    joined
        .engine
        .peers
        .load(&guard)
        .iter()
        .flatten()
        .filter(|peer| peer.node().is_none())
        .map(|peer| ThreadInfo {
            id: peer.id,
            alive: peer.alive(),
            blocked: peer.alive() && peer.pulse.is_blocked(),
            lag_us: peer.pulse.lag_us(),
            utilisation: peer.pulse.utilisation(),
        })
        .collect()
}

#[napi]
pub fn mesh_info(env: &Env, mesh: u32) -> String {
    ThreadState::of(env).edge_text(|state| {
        let joined = state.mesh(mesh)?;
        json(&MeshInfo {
            name: &joined.engine.name,
            thread: joined.peer.id,
            threads: thread_list(state, joined),
            seed: joined.engine.seed,
            now_us: joined.engine.now(),
            closed: joined.engine.is_closed(),
        })
    })
}

#[napi]
pub fn mesh_now(env: &Env, mesh: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| Ok(state.mesh(mesh)?.engine.now() as f64))
}

#[napi]
pub fn mesh_advance(env: &Env, mesh: u32, microseconds: f64) -> f64 {
    ThreadState::of(env)
        .edge_number(|state| state.mesh(mesh)?.engine.advance(microseconds).map(|()| 0.0))
}

#[napi]
pub fn views(env: &Env, mesh: u32) -> Result<Unknown<'_>> {
    let built = ThreadState::of(env).edge(|state| {
        let engine = &state.mesh(mesh)?.engine;
        let (header, header_words) = engine.router.header();
        let (cells, cell_words) = engine.router.cells();
        // SAFETY: both regions belong to the router, which the engine owns; every word is an atomic in Rust.
        unsafe {
            let header = external::array_buffer(
                env,
                header.cast_mut().cast(),
                header_words * 4,
                Arc::clone(engine),
            )?;
            let cells = external::array_buffer(
                env,
                cells.cast_mut().cast(),
                cell_words * 4,
                Arc::clone(engine),
            )?;
            Ok((
                external::words(env, header, header_words),
                external::words(env, cells, cell_words),
            ))
        }
    });
    let mut object = Object::new(env)?;
    if let Ok((header, instances)) = built {
        // SAFETY: both values were made in this call.
        unsafe {
            object.set_named_property("header", Unknown::from_raw_unchecked(env.raw(), header))?;
            object.set_named_property(
                "instances",
                Unknown::from_raw_unchecked(env.raw(), instances),
            )?;
        }
    }
    Ok(object.to_unknown())
}

// --- registry -------------------------------------------------------------------------------------------

/// Changes the registry and tells the other threads.
fn change<T>(
    env: &Env,
    mesh: u32,
    work: impl FnOnce(&Joined, u64) -> std::result::Result<T, RegistryError>,
    answer: impl FnOnce(T) -> f64,
) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state.mesh(mesh)?;
        if joined.engine.is_closed() {
            return Err(Failure::new(Status::Closed, "the mesh was closed"));
        }
        let value = work(joined, joined.engine.now())?;
        joined.engine.deadline_moved();
        joined.engine.registry_changed();
        Ok(answer(value))
    })
}

fn ask(
    env: &Env,
    mesh: u32,
    work: impl FnOnce(&ThreadState, &Joined) -> Checked<String>,
) -> String {
    ThreadState::of(env).edge_text(|state| work(state, state.mesh(mesh)?))
}

#[napi]
pub fn service_define(env: &Env, mesh: u32, name: String, policy: String) -> f64 {
    change(
        env,
        mesh,
        |joined, now| joined.engine.router.define_service(&name, &policy, now),
        f64::from,
    )
}

#[napi]
pub fn service_find(env: &Env, mesh: u32, name: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        state
            .mesh(mesh)?
            .engine
            .router
            .find_service(&name)
            .map(f64::from)
            .ok_or_else(|| {
                Failure::new(Status::NotFound, format!("no service '{name}'")).field("service")
            })
    })
}

#[napi]
pub fn service_remove(env: &Env, mesh: u32, service: u32) -> f64 {
    change(
        env,
        mesh,
        |joined, now| joined.engine.router.remove_service(service, now),
        |()| 0.0,
    )
}

#[napi]
pub fn service_info(env: &Env, mesh: u32, service: u32) -> String {
    ask(env, mesh, |_, joined| {
        Ok(joined
            .engine
            .router
            .service_info_json(service, joined.engine.now())?)
    })
}

#[napi]
pub fn service_list(env: &Env, mesh: u32) -> String {
    ask(env, mesh, |_, joined| {
        Ok(joined.engine.router.service_list_json(joined.engine.now()))
    })
}

#[napi]
pub fn instance_add(env: &Env, mesh: u32, service: u32, spec: String) -> f64 {
    change(
        env,
        mesh,
        |joined, now| {
            joined
                .engine
                .router
                .add_instance(service, &spec, joined.peer.id, now)
        },
        f64::from,
    )
}

#[napi]
pub fn instance_update(env: &Env, mesh: u32, instance: u32, patch: String) -> f64 {
    change(
        env,
        mesh,
        |joined, now| joined.engine.router.update_instance(instance, &patch, now),
        |()| 0.0,
    )
}

#[napi]
pub fn instance_remove(env: &Env, mesh: u32, instance: u32) -> f64 {
    change(
        env,
        mesh,
        |joined, now| joined.engine.router.remove_instance(instance, now),
        |()| 0.0,
    )
}

#[napi]
pub fn instance_renew(env: &Env, mesh: u32, instance: u32, lease_ms: f64) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let engine = &state.mesh(mesh)?.engine;
        engine.router.renew(instance, lease_ms, engine.now())?;
        engine.deadline_moved();
        Ok(0.0)
    })
}

#[napi]
pub fn instance_control(env: &Env, mesh: u32, instance: u32, order: String, for_ms: f64) -> f64 {
    change(
        env,
        mesh,
        |joined, now| {
            let control = match order.as_str() {
                "eject" if !(for_ms.is_finite() && for_ms >= 0.0) => {
                    return Err(RegistryError::invalid("forMs", "is a number of at least 0"));
                }
                // The cast saturates; the router checks the range.
                "eject" => Control::Eject((for_ms * 1_000.0) as u64),
                "open-breaker" => Control::OpenBreaker,
                "close-breaker" => Control::CloseBreaker,
                "reset" => Control::Reset,
                _ => {
                    return Err(RegistryError::invalid(
                        "order",
                        "is eject, open-breaker, close-breaker or reset",
                    ));
                }
            };
            joined.engine.router.control(instance, control, now)
        },
        |()| 0.0,
    )
}

#[napi]
pub fn instance_info(env: &Env, mesh: u32, instance: u32) -> String {
    ask(env, mesh, |_, joined| {
        Ok(joined
            .engine
            .router
            .instance_info_json(instance, joined.engine.now())?)
    })
}

#[napi]
pub fn connection_open(env: &Env, mesh: u32, spec: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let engine = &state.mesh(mesh)?.engine;
        Ok(f64::from(
            engine.router.connections().open_json(&spec, engine.now())?,
        ))
    })
}

#[napi]
pub fn connection_update(env: &Env, mesh: u32, connection: u32, patch: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        state
            .mesh(mesh)?
            .engine
            .router
            .connections()
            .update_json(connection, &patch)?;
        Ok(0.0)
    })
}

#[napi]
pub fn connection_close(env: &Env, mesh: u32, connection: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        state
            .mesh(mesh)?
            .engine
            .router
            .connections()
            .close(connection)?;
        Ok(0.0)
    })
}

#[napi]
pub fn connection_list(env: &Env, mesh: u32) -> String {
    ask(env, mesh, |_, joined| {
        Ok(joined.engine.router.connections().list_json())
    })
}

#[napi]
pub fn discover(env: &Env, mesh: u32, query: String) -> String {
    ask(env, mesh, |_, joined| {
        Ok(joined
            .engine
            .router
            .discover_json(&query, &|| joined.engine.now())?)
    })
}

#[napi]
pub fn events_since(env: &Env, mesh: u32, sequence: f64) -> String {
    ask(env, mesh, |_, joined| {
        if !(sequence.is_finite() && sequence >= 0.0) {
            return Err(invalid("sequence", "a sequence is a number of at least 0"));
        }
        Ok(joined.engine.router.events_json(sequence as u64))
    })
}

// --- router ---------------------------------------------------------------------------------------------

#[napi]
pub fn wait(env: &Env, mesh: u32, service: u32, key_hash: u32, timeout_ms: f64, qos: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let class = Qos::from_code(qos);
        if qos != 0 && class.is_none() {
            return Err(invalid("qos", "qos is a number of a class, 0 to 5").limit(5.0));
        }
        let joined = state.mesh(mesh)?;
        let engine = &joined.engine;
        let guard = state.reader.pin();
        match engine.router.wait(
            &guard,
            service,
            key_hash,
            class,
            joined.peer.id,
            timeout_ms,
            engine.now(),
        ) {
            Ok(waiting) => {
                engine.deadline_moved();
                Ok(f64::from(waiting.id))
            }
            Err(refused) => {
                state.scratch.0[2].set(refused.retry_after_ms);
                Err(Failure::new(refused.status, refused.message))
            }
        }
    })
}

#[napi]
pub fn wait_cancel(env: &Env, mesh: u32, wait_id: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let engine = &state.mesh(mesh)?.engine;
        if engine.router.wait_cancel(wait_id, engine.now()) {
            Ok(0.0)
        } else {
            Err(Failure::new(
                Status::StaleTicket,
                "this wait has ended already: its answer is under way",
            )
            .field("waitId"))
        }
    })
}

#[napi]
pub fn grants(env: &Env, mesh: u32, mut out: Float64Array) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state.mesh(mesh)?;
        // SAFETY: the array is the caller's and no other thread reads it during the call.
        let out = unsafe { out.as_mut() };
        let grants = joined.engine.grants(joined.peer.id, out.len() / 4);
        for (out, grant) in out.chunks_exact_mut(4).zip(&grants) {
            out[0] = f64::from(grant.wait_id);
            out[1] = match grant.result {
                Ok(ticket) => ticket as f64,
                Err(status) => f64::from(status as i32),
            };
            // A refused one has no instance.
            out[2] = f64::from(match grant.result {
                Ok(_) => grant.instance,
                Err(_) => grant.retry_after_ms,
            });
            out[3] = f64::from(grant.thread);
        }
        Ok(grants.len() as f64)
    })
}

#[napi]
pub fn retry(env: &Env, mesh: u32, service: u32, attempt: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let guard = state.reader.pin();
        let joined = state
            .meshes
            .get_mut(mesh)
            .ok_or_else(|| Failure::stale("mesh"))?;
        let now = joined.engine.now();
        Ok(f64::from(joined.engine.router.retry(
            &guard,
            service,
            attempt,
            &mut joined.caller,
            now,
        )))
    })
}

#[napi]
pub fn explain(env: &Env, mesh: u32, ticket: f64) -> String {
    ask(env, mesh, |_, joined| {
        let engine = &joined.engine;
        let explained = engine.router.explain_json(ticket as u64, engine.now());
        Ok(explained.unwrap_or_default())
    })
}

#[napi]
pub fn recorded_picks(env: &Env, mesh: u32) -> String {
    ask(env, mesh, |_, joined| {
        Ok(joined.engine.router.recorded_picks_json())
    })
}
