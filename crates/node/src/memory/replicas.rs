//! Replicated regions: made, ended, imported, looked at. `ts/binding/contract-replicas.ts`.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use linkmesh_memory::client::{OperationError, OperationFailure};
use linkmesh_memory::endpoint::{Replicate, ReplicateError};
use linkmesh_memory::grant::{Grant, GrantError};
use linkmesh_memory::replica::{GroupError, MAX_LENGTH, MAX_MEMBERS, Standing, Timing};
use linkmesh_registry::Status;
use linkmesh_transport::core::NodeId;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use serde::{Deserialize, Serialize};

use crate::memory::grants::{closed, node_id};
use crate::memory::imports::wait_of;
use crate::memory::node;
use crate::memory::regions::rights;
use crate::mesh::json;
use crate::state::{Failure, ThreadState};
use crate::transport::{Later, Node, Refusal, parse};

type Checked<T> = std::result::Result<T, Failure>;

/// `ReplicateOptions` of the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReplicateOptions {
    name: String,
    rights: String,
    backups: Vec<String>,
    acknowledgements: usize,
    timeout_ms: f64,
}

/// `ReplicaInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplicaInfo {
    standing: &'static str,
    round: u64,
    changes: u64,
    acknowledged: u64,
    reachable: usize,
}

impl Refusal for ReplicateError {
    fn refusal(&self, field: &str) -> Failure {
        let (status, field, limit) = match self {
            Self::Group(GroupError::Members(_)) => (
                Status::InvalidArgument,
                "options.replicas.backups",
                Some(MAX_MEMBERS as f64),
            ),
            Self::Group(GroupError::Acknowledgements { backups, .. }) => (
                Status::InvalidArgument,
                "options.replicas.acknowledgements",
                Some(*backups as f64),
            ),
            Self::Group(GroupError::Length(_)) => {
                (Status::LimitExceeded, "memory", Some(MAX_LENGTH as f64))
            }
            Self::Name(error) => return error.refusal("name"),
            Self::Groups { limit } => (Status::LimitExceeded, field, Some(*limit as f64)),
        };
        let failure = Failure::new(status, self.to_string()).field(field);
        match limit {
            Some(limit) => failure.limit(limit),
            None => failure,
        }
    }
}

fn not_formed(error: &OperationError, timeout: Duration) -> Failure {
    let (status, words) = match error.failure {
        OperationFailure::DeadlineExceeded => (
            Status::DeadlineExceeded,
            format!(
                "not every backup has joined within {} ms: are all connected?",
                timeout.as_millis()
            ),
        ),
        _ => (
            Status::Denied,
            "a backup does not accept so many bytes: call `acceptReplicas` there".to_owned(),
        ),
    };
    Failure::new(status, words)
        .field("options.replicas.backups")
        .outcome("not-delivered", true)
}

fn members(texts: &[String], field: &str) -> Checked<Vec<NodeId>> {
    texts
        .iter()
        .map(|text| node_id(text, field).map(NodeId))
        .collect()
}

impl Node {
    fn replicate(&self, options: &ReplicateOptions, bytes: Vec<u8>) -> Checked<String> {
        let backups = members(&options.backups, "options.replicas.backups")?;
        let rights = rights(&options.rights, "options.rights")?;
        let timeout = wait_of(options.timeout_ms);
        let (tell, told) = mpsc::channel();
        self.with(|app, io| {
            let request = Replicate {
                name: &options.name,
                bytes,
                rights,
                backups: &backups,
                acknowledgements: options.acknowledgements,
                timing: Timing::default(),
                deadline: Instant::now() + timeout,
                token: 0,
            };
            app.arrivals.replicate(&mut app.memory, io, request, tell)
        })
        .ok_or_else(closed)?
        .map_err(|error| error.refusal("options"))?;
        match told.recv() {
            Ok(Ok(())) => Ok(String::new()),
            Ok(Err(error)) => Err(not_formed(&error, timeout)),
            Err(mpsc::RecvError) => Err(closed()),
        }
    }
}

#[napi]
pub fn replica_accept(env: &Env, mesh: u32, bytes: f64) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        // NaN and what is negative are nothing; more than there is of memory is as good as all of it.
        let bytes = bytes.max(0.0) as u64;
        node(state, mesh)?
            .with(|app, _| app.memory.accept_replicas(bytes))
            .ok_or_else(closed)?;
        Ok(0.0)
    })
}

#[napi(ts_return_type = "Promise<string>")]
pub fn replica_create(
    env: &Env,
    mesh: u32,
    options: String,
    bytes: Uint8Array,
) -> AsyncTask<Later> {
    let checked = node(ThreadState::of(env), mesh)
        .and_then(|node| Ok((node, parse::<ReplicateOptions>(&options, "options")?)));
    if bytes.len() as u64 > MAX_LENGTH {
        return Later::refused(
            ReplicateError::Group(GroupError::Length(bytes.len() as u64)).refusal("memory"),
        );
    }
    // Copied while JavaScript waits: afterwards they are its own again.
    let bytes = bytes.to_vec();
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, options)) => Later::new(move || node.replicate(&options, bytes)),
    }
}

#[napi]
pub fn replica_end(env: &Env, mesh: u32, name: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let is_ended = node(state, mesh)?
            .with(|app, io| app.memory.end_replicated(io, &name))
            .ok_or_else(closed)?;
        if is_ended {
            Ok(0.0)
        } else {
            Err(GrantError::UnknownRegion.refusal("name"))
        }
    })
}

#[napi]
pub fn replica_info(env: &Env, mesh: u32, creator: String, name: String) -> String {
    ThreadState::of(env).edge_text(|state| {
        let creator = NodeId(node_id(&creator, "creator")?);
        let info = node(state, mesh)?
            .with(|app, io| app.memory.replica_info(&creator, &name, io.now()))
            .ok_or_else(closed)?;
        info.map_or(Ok(String::new()), |info| {
            json(&ReplicaInfo {
                standing: match info.standing {
                    Standing::Blank => "blank",
                    Standing::Backup => "backup",
                    Standing::Candidate => "candidate",
                    Standing::Primary => "primary",
                },
                round: info.epoch.round(),
                changes: info.position.index,
                acknowledged: info.acknowledged,
                reachable: info.reachable,
            })
        })
    })
}

#[napi(ts_return_type = "Promise<string>")]
pub fn replica_import(
    env: &Env,
    mesh: u32,
    grant: String,
    members: String,
    timeout_ms: f64,
) -> AsyncTask<Later> {
    let state = ThreadState::of(env);
    let checked = node(state, mesh).and_then(|node| {
        let thread = state.mesh(mesh)?.peer.id;
        let grant: Grant = grant
            .parse()
            .map_err(|error: GrantError| error.refusal("grant"))?;
        let texts = parse::<Vec<String>>(&members, "options.members")?;
        Ok((
            node,
            thread,
            grant,
            self::members(&texts, "options.members")?,
        ))
    });
    let timeout = wait_of(timeout_ms);
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, thread, grant, members)) => {
            Later::new(move || node.import(&grant, Some(&members), timeout, thread))
        }
    }
}
