//! What other crates refuse, as data for JavaScript.

use linkmesh_registry::Status;
use linkmesh_transport::core::CloseReason;
use linkmesh_transport::engine::StartError;
use linkmesh_transport::identity::IdentityError;
use napi::bindgen_prelude::Error;

use crate::state::Failure;

/// Gives a failure of another crate its status.
pub(crate) trait Refusal {
    fn refusal(&self, field: &str) -> Failure;
}

impl Refusal for IdentityError {
    fn refusal(&self, field: &str) -> Failure {
        let status = match self.code() {
            "expired" => Status::Expired,
            "revoked" => Status::Revoked,
            "not-found" => Status::NotFound,
            "exists" => Status::Duplicate,
            "invalid-field" | "malformed" => Status::InvalidArgument,
            "too-large" => Status::LimitExceeded,
            "unreachable" => Status::NodeLost,
            _ => Status::Denied,
        };
        let failure = Failure::new(status, self.to_string()).field(field);
        match self.limit() {
            Some(limit) => failure.limit(limit as f64),
            None => failure,
        }
    }
}

impl Refusal for StartError {
    fn refusal(&self, field: &str) -> Failure {
        let status = match self {
            Self::Option { .. } => Status::InvalidArgument,
            Self::Bind { .. } => Status::AddressUnavailable,
            Self::Tls(_) => Status::Denied,
            Self::System(_) => Status::Internal,
        };
        let field = match self {
            Self::Option {
                field: "threads", ..
            } => "options.engineThreads",
            _ => field,
        };
        Failure::new(status, self.to_string()).field(field)
    }
}

impl Refusal for CloseReason {
    fn refusal(&self, field: &str) -> Failure {
        let status = match self {
            Self::NotAuthenticated(_) | Self::WrongNode { .. } => Status::Denied,
            Self::TimedOut => Status::DeadlineExceeded,
            Self::Closing => Status::Closed,
            _ => Status::NodeLost,
        };
        Failure::new(status, self.to_string()).field(field)
    }
}

/// A refusal of a function that answers with a promise: an error whose message is JSON of `ErrorData`.
pub(crate) fn rejection(failure: &Failure) -> Error {
    Error::new(
        napi::Status::GenericFailure,
        serde_json::to_string(failure).unwrap_or_default(),
    )
}
