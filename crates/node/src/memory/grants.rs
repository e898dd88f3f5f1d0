//! Grants: issued, delegated, described, revoked. Signing costs a millisecond and runs on the pool.

use linkmesh_memory::grant::{Grant, GrantError, Slice};
use linkmesh_memory::region::RegionError;
use linkmesh_registry::Status;
use linkmesh_transport::identity::random_bytes;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use serde::{Deserialize, Serialize};

use crate::memory::node;
use crate::memory::regions::rights;
use crate::mesh::json;
use crate::state::{Failure, ThreadState};
use crate::transport::{Later, Node, Refusal, parse};

type Checked<T> = std::result::Result<T, Failure>;

/// `GrantOptions` of the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GrantOptions {
    #[serde(default)]
    region: String,
    to: String,
    offset: f64,
    /// To the end of what there is when absent.
    length: Option<f64>,
    rights: String,
    ttl_ms: f64,
}

/// `GrantInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantInfo {
    region: String,
    from: String,
    to: String,
    offset: u64,
    length: u64,
    rights: String,
    expires_at_ms: u64,
    depth: usize,
}

impl Refusal for GrantError {
    fn refusal(&self, field: &str) -> Failure {
        let (status, limit) = match self {
            Self::Malformed { .. } | Self::Checksum => (Status::InvalidArgument, None),
            Self::TooLong { limit, .. } | Self::Full { limit, .. } => {
                (Status::LimitExceeded, Some(*limit as f64))
            }
            Self::OutOfRange { available, .. } => (Status::LimitExceeded, Some(*available as f64)),
            Self::Expired => (Status::Expired, None),
            Self::Revoked | Self::StaleEpoch => (Status::Revoked, None),
            Self::UnknownRegion => (Status::NotFound, None),
            Self::NameTaken => (Status::Duplicate, None),
            _ => (Status::Denied, None),
        };
        let failure = Failure::new(status, self.to_string()).field(field);
        match limit {
            Some(limit) => failure.limit(limit),
            None => failure,
        }
    }
}

impl Refusal for RegionError {
    fn refusal(&self, field: &str) -> Failure {
        let (status, limit) = match self {
            Self::TooLong { limit, .. } => (Status::LimitExceeded, Some(*limit as f64)),
            Self::Shrinks { length, .. } => (Status::InvalidArgument, Some(*length as f64)),
            Self::Empty | Self::Misaligned | Self::Unsupported { .. } => {
                (Status::InvalidArgument, None)
            }
            Self::Busy => (Status::Locked, None),
            Self::Revoked => (Status::Revoked, None),
            Self::System { .. } => (Status::Io, None),
        };
        let failure = Failure::new(status, self.to_string()).field(field);
        match limit {
            Some(limit) => failure.limit(limit),
            None => failure,
        }
    }
}

fn whole(value: f64, field: &str) -> Checked<u64> {
    if value.fract() == 0.0 && (0.0..=9_007_199_254_740_991.0).contains(&value) {
        return Ok(value as u64);
    }
    Err(Failure::new(
        Status::InvalidArgument,
        format!("{field} must be a whole number, at least 0"),
    )
    .field(field))
}

/// 64 hex digits.
pub(super) fn node_id(text: &str, field: &str) -> Checked<[u8; 32]> {
    let mut id = [0; 32];
    let digits = text.as_bytes();
    let digit = |at: usize| char::from(digits[at]).to_digit(16);
    if digits.len() == 64 && (0..64).all(|at| digit(at).is_some()) {
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = (digit(2 * at).unwrap_or(0) << 4 | digit(2 * at + 1).unwrap_or(0)) as u8;
        }
        return Ok(id);
    }
    Err(Failure::new(
        Status::InvalidArgument,
        format!("{field} must be a node id, 64 hex digits"),
    )
    .field(field))
}

fn read(text: &str) -> Checked<Grant> {
    text.parse()
        .map_err(|error: GrantError| error.refusal("grant"))
}

/// The slice that the options ask for out of `available` bytes, and now.
fn slice(options: &GrantOptions, available: u64, unix_ms: u64) -> Checked<Slice> {
    let offset = whole(options.offset, "options.offset")?;
    let length = match options.length {
        Some(length) => whole(length, "options.length")?,
        None => available.saturating_sub(offset),
    };
    Ok(Slice {
        holder: node_id(&options.to, "options.to")?,
        offset,
        length,
        rights: rights(&options.rights, "options.rights")?,
        expires_unix_ms: unix_ms.saturating_add(whole(options.ttl_ms.ceil(), "options.ttlMs")?),
    })
}

impl Node {
    fn issue(&self, options: &GrantOptions) -> Checked<String> {
        let issued = self.with(|app, io| {
            let now = app.memory.moment(io.now());
            let exports = app.memory.exports();
            let Some(region) = exports.region(&options.region) else {
                let length = app
                    .memory
                    .replicated_length(&options.region)
                    .ok_or_else(|| GrantError::UnknownRegion.refusal("options.region"))?;
                let slice = slice(options, length, now.unix_ms)?;
                return app
                    .memory
                    .grant_replicated(&*self.identity, &options.region, slice, random_bytes(), now)
                    .map_err(|error| error.refusal("options"));
            };
            let slice = slice(options, region.len(), now.unix_ms)?;
            exports
                .issue(&*self.identity, &options.region, slice, random_bytes(), now)
                .map_err(|error| error.refusal("options"))
        });
        Ok(issued.ok_or_else(closed)??.to_string())
    }

    fn delegate(&self, grant: &Grant, options: &GrantOptions) -> Checked<String> {
        let now = self
            .with(|app, io| app.memory.moment(io.now()))
            .ok_or_else(closed)?;
        let parent = grant.slice();
        let end = parent.offset.saturating_add(parent.length);
        let slice = slice(options, end, now.unix_ms)?;
        grant
            .delegate(&*self.identity, slice, random_bytes())
            .map(|grant| grant.to_string())
            .map_err(|error| error.refusal("options"))
    }
}

pub(super) fn closed() -> Failure {
    Failure::new(Status::Closed, "the node was closed")
}

#[napi(ts_return_type = "Promise<string>")]
pub fn grant_issue(env: &Env, mesh: u32, options: String) -> AsyncTask<Later> {
    let checked = node(ThreadState::of(env), mesh)
        .and_then(|node| Ok((node, parse::<GrantOptions>(&options, "options")?)));
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, options)) => Later::new(move || node.issue(&options)),
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn grant_delegate(env: &Env, mesh: u32, grant: String, options: String) -> AsyncTask<Later> {
    let checked = node(ThreadState::of(env), mesh).and_then(|node| {
        let options = parse::<GrantOptions>(&options, "options")?;
        Ok((node, read(&grant)?, options))
    });
    match checked {
        Err(failure) => Later::refused(failure),
        Ok((node, grant, options)) => Later::new(move || node.delegate(&grant, &options)),
    }
}

#[napi]
pub fn grant_info(env: &Env, grant: String) -> String {
    ThreadState::of(env).edge_text(|_| {
        let grant = read(&grant)?;
        let hex = |id: [u8; 32]| linkmesh_transport::core::NodeId(id).to_string();
        let slice = grant.slice();
        json(&GrantInfo {
            region: grant.name().to_owned(),
            from: hex(grant.exporter()),
            to: hex(grant.holder()),
            offset: slice.offset,
            length: slice.length,
            rights: slice.rights.to_string(),
            expires_at_ms: slice.expires_unix_ms,
            depth: grant.links().len() - 1,
        })
    })
}

#[napi]
pub fn grant_revoke(env: &Env, mesh: u32, grant: String) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let node = node(state, mesh)?;
        let grant = read(&grant)?;
        if grant.exporter() != node.identity.node_id().0 {
            return Err(GrantError::WrongExporter.refusal("grant"));
        }
        node.with(|app, io| app.memory.revoke_grant(io, grant.name(), grant.id()))
            .ok_or_else(closed)?
            .map_err(|error| error.refusal("grant"))?;
        Ok(0.0)
    })
}
