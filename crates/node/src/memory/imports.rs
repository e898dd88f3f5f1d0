//! Importing: a grant is presented to the node that issued it, and what it opens gets a handle.

use std::sync::mpsc;
use std::time::Duration;

use linkmesh_memory::client::ImportError;
use linkmesh_memory::grant::{Grant, GrantError};
use linkmesh_registry::Status;
use linkmesh_transport::core::NodeId;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::memory::remotes::Remote;
use crate::memory::{fate, node};
use crate::mesh::json;
use crate::state::{Failure, ThreadState};
use crate::transport::{Later, Node, Refusal};

/// Longest wait for an answer.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

impl Refusal for ImportError {
    fn refusal(&self, field: &str) -> Failure {
        let (status, limit) = match self {
            Self::Refused(refusal) => (fate::import_refused(*refusal), None),
            Self::TooLong { limit, .. } | Self::Full { limit } => {
                (Status::LimitExceeded, Some(*limit as f64))
            }
            Self::Closed => (Status::Closed, None),
        };
        let failure = Failure::new(status, self.to_string()).field(field);
        match limit {
            Some(limit) => failure.limit(limit),
            None => failure,
        }
    }
}

fn closed() -> Failure {
    Failure::new(Status::Closed, "the node was closed")
}

impl Node {
    /// Waits for the node that issued the grant, or one of the members of a replicated region, to be connected and to answer.
    pub(super) fn import(
        &self,
        grant: &Grant,
        members: Option<&[NodeId]>,
        timeout: Duration,
        thread: u32,
    ) -> std::result::Result<String, Failure> {
        let (tell, told) = mpsc::channel();
        let token = self
            .with(|app, io| {
                app.arrivals
                    .import(&mut app.memory, io, grant.bytes(), members, tell)
            })
            .ok_or_else(closed)?
            .map_err(|error| {
                let mut failure = fate::failure(&fate::of_call(&error)).field("grant");
                failure.message = error.to_string();
                failure
            })?;
        let answer = match told.recv_timeout(timeout) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(closed()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let gave_up = self.with(|app, _| app.arrivals.forget_import(token));
                // Answered in this very moment, perhaps.
                let late = told.try_recv().ok().filter(|_| gave_up == Some(false));
                late.ok_or_else(|| unanswered(grant, timeout))?
            }
        };
        let granted = answer.map_err(|error| error.refusal("grant"))?;
        let remote = self.remotes.insert(Remote::new(thread, grant, granted));
        json(&remote.info())
    }
}

/// Milliseconds of JavaScript as a wait.
pub(super) fn wait_of(timeout_ms: f64) -> Duration {
    // NaN is no comparison's friend: it becomes the longest.
    if timeout_ms < MAX_WAIT.as_secs_f64() * 1e3 {
        Duration::from_secs_f64(timeout_ms.max(0.0) / 1e3)
    } else {
        MAX_WAIT
    }
}

fn unanswered(grant: &Grant, timeout: Duration) -> Failure {
    let node = NodeId(grant.exporter());
    let words = format!(
        "node {node}, which holds the memory, did not answer within {} ms: is it connected?",
        timeout.as_millis()
    );
    Failure::new(Status::DeadlineExceeded, words)
        .field("grant")
        .outcome("not-delivered", true)
}

#[napi(ts_return_type = "Promise<string>")]
pub fn remote_import(env: &Env, mesh: u32, grant: String, timeout_ms: f64) -> AsyncTask<Later> {
    let state = ThreadState::of(env);
    let checked = node(state, mesh).and_then(|node| {
        let thread = state.mesh(mesh)?.peer.id;
        let grant: Grant = grant
            .parse()
            .map_err(|error: GrantError| error.refusal("grant"))?;
        Ok((node, thread, grant))
    });
    let timeout = wait_of(timeout_ms);
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, thread, grant)) => Later::new(move || node.import(&grant, None, timeout, thread)),
    }
}

#[napi]
pub fn remote_info(env: &Env, mesh: u32, remote: u32) -> String {
    ThreadState::of(env).edge_text(|state| {
        let remote = node(state, mesh)?.remotes.get(remote);
        remote.map_or(Ok(String::new()), |remote| json(&remote.info()))
    })
}

#[napi]
pub fn remote_close(env: &Env, mesh: u32, remote: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let node = node(state, mesh)?;
        if let Some(memory) = state
            .meshes
            .get_mut(mesh)
            .and_then(|joined| joined.memory.as_mut())
        {
            memory.forget(remote);
        }
        if node.release_remote(remote) {
            Ok(0.0)
        } else {
            Err(Failure::stale("remote"))
        }
    })
}
