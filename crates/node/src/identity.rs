//! The identity of a data folder: `ts/binding/contract-identity.ts`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use linkmesh_registry::Status;
use linkmesh_transport::identity::{IdentityError, command};
use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::state::Failure;
use crate::transport::rejection;

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let status = match &error {
            IdentityError::Expired { .. } => Status::Expired,
            IdentityError::Revoked { .. } => Status::Revoked,
            IdentityError::NotFound { .. } => Status::NotFound,
            IdentityError::Exists { .. } => Status::Duplicate,
            IdentityError::TooLarge { .. } => Status::LimitExceeded,
            IdentityError::InvalidField { .. } | IdentityError::Malformed { .. } => {
                Status::InvalidArgument
            }
            IdentityError::Unreachable { .. } => Status::NodeLost,
            _ => Status::Denied,
        };
        let failure = Self::new(status, error.to_string()).field(error.field());
        match error.limit() {
            Some(limit) => failure.limit(limit as f64),
            None => failure,
        }
    }
}

/// Works on files and, to join, on a socket: on a thread of the pool.
pub struct RunCommand(String);

impl Task for RunCommand {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        catch_unwind(AssertUnwindSafe(|| command::run(&self.0)))
            .unwrap_or_else(|_| {
                Err(IdentityError::Tls {
                    reason: "a panic, which is a bug in linkmesh; please report it".to_owned(),
                })
            })
            .map_err(|error| rejection(&Failure::from(error)))
    }

    fn resolve(&mut self, _env: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn identity_run(command: String) -> AsyncTask<RunCommand> {
    AsyncTask::new(RunCommand(command))
}
