//! The functions of the contract. All are cold; those that wait run on the pool.

use std::sync::Arc;
use std::time::Duration;

use linkmesh_registry::Status;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::engine::Engine;
use crate::mesh::json;
use crate::remote::JsClock;
use crate::state::{Failure, ThreadState};
use crate::transport::locate::{PingOptions, ResolveOptions};
use crate::transport::node::{NodeOptions, NodeTarget};
use crate::transport::{Node, rejection};

type Work = Box<dyn FnOnce() -> std::result::Result<String, Failure> + Send>;

/// Something that waits for other nodes, keys or sockets, off the JavaScript thread.
pub struct Later(Option<Work>);

impl Later {
    pub(crate) fn new(
        work: impl FnOnce() -> std::result::Result<String, Failure> + Send + 'static,
    ) -> AsyncTask<Self> {
        AsyncTask::new(Self(Some(Box::new(work))))
    }

    /// A promise that is refused already: with what was wrong in the arguments.
    pub(crate) fn refused(failure: Failure) -> AsyncTask<Self> {
        Self::new(move || Err(failure))
    }
}

impl Task for Later {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        let work = self.0.take().expect("computed once");
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
            .unwrap_or_else(|_| {
                Err(Failure::new(
                    Status::Internal,
                    "a panic off the JavaScript thread. This is a bug in linkmesh",
                ))
            })
            .map_err(|failure| rejection(&failure))
    }

    fn resolve(&mut self, _env: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
    field: &str,
) -> std::result::Result<T, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::new(Status::InvalidArgument, error.to_string()).field(field))
}

fn engine(env: &Env, mesh: u32) -> std::result::Result<Arc<Engine>, Failure> {
    Ok(Arc::clone(&ThreadState::of(env).mesh(mesh)?.engine))
}

/// The node of a mesh.
pub(crate) fn node(env: &Env, mesh: u32) -> std::result::Result<Arc<Node>, Failure> {
    crate::memory::node(ThreadState::of(env), mesh)
}

#[napi(ts_return_type = "Promise<string>")]
pub fn node_open(env: &Env, mesh: u32, options: String) -> AsyncTask<Later> {
    let checked = engine(env, mesh).and_then(|engine| {
        let options: NodeOptions = parse(&options, "options")?;
        // The clock is compared now, while what JavaScript read is fresh.
        let clock = JsClock::new(options.now_ms);
        Ok((engine, options, clock))
    });
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((engine, options, clock)) => Later::new(move || {
            let node = Arc::new(Node::open(&engine, &options, clock)?);
            engine.set_node(&node)?;
            node.publish()?;
            json(&node.info)
        }),
    }
}

#[napi]
pub fn node_info(env: &Env, mesh: u32) -> String {
    ThreadState::of(env).edge_text(|state| {
        state
            .mesh(mesh)?
            .engine
            .node()
            .map_or(Ok(String::new()), |node| json(&node.info))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InviteOptions {
    ttl_ms: f64,
}

#[napi(ts_return_type = "Promise<string>")]
pub fn node_invite(env: &Env, mesh: u32, options: String) -> AsyncTask<Later> {
    let checked =
        node(env, mesh).and_then(|node| Ok((node, parse::<InviteOptions>(&options, "options")?)));
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, options)) => Later::new(move || node.invite(options.ttl_ms)),
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn node_connect(env: &Env, mesh: u32, target: String) -> AsyncTask<Later> {
    let checked =
        node(env, mesh).and_then(|node| Ok((node, parse::<NodeTarget>(&target, "target")?)));
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, target)) => Later::new(move || json(&node.connect(&target)?)),
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn node_resolve(env: &Env, mesh: u32, options: String) -> AsyncTask<Later> {
    let checked =
        node(env, mesh).and_then(|node| Ok((node, parse::<ResolveOptions>(&options, "options")?)));
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, options)) => Later::new(move || json(&node.resolve(&options)?)),
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn node_ping(env: &Env, mesh: u32, options: String) -> AsyncTask<Later> {
    let checked =
        node(env, mesh).and_then(|node| Ok((node, parse::<PingOptions>(&options, "options")?)));
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, options)) => Later::new(move || json(&node.ping(&options)?)),
    }
}

#[napi]
pub fn node_peers(env: &Env, mesh: u32) -> String {
    ThreadState::of(env).edge_text(|state| {
        let node = state.mesh(mesh)?.engine.node();
        json(&node.map_or_else(Vec::new, |node| node.peers()))
    })
}

#[napi]
pub fn node_of_thread(env: &Env, mesh: u32, thread: u32) -> String {
    ThreadState::of(env).edge_text(|state| {
        let guard = state.reader.pin();
        let peers = state.mesh(mesh)?.engine.peers.load(&guard);
        let peer = peers.get(thread as usize).and_then(Option::as_ref);
        Ok(peer
            .and_then(|peer| peer.node())
            .unwrap_or_default()
            .to_owned())
    })
}

#[napi(ts_return_type = "Promise<string>")]
pub fn node_close(env: &Env, mesh: u32, grace_ms: f64) -> AsyncTask<Later> {
    match engine(env, mesh) {
        Err(failure) => Later::refused(failure),
        Ok(engine) => Later::new(move || {
            if let Some(node) = engine.take_node() {
                let grace = if grace_ms.is_finite() {
                    grace_ms.clamp(0.0, 60_000.0)
                } else {
                    60_000.0
                };
                node.close(Duration::from_secs_f64(grace / 1e3));
            }
            Ok(String::new())
        }),
    }
}
