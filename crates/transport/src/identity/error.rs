//! Why something about an identity was refused.

use std::fmt;
use std::path::PathBuf;

/// A refusal, typed: what was wrong, with which object, and the bound that was crossed.
///
/// Only what [`is_retryable`](Self::is_retryable) says may go well the next time. No variant carries secret bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The bytes are no encoding of the object.
    Malformed {
        /// Which object, `certificate`, `proof`.
        object: &'static str,
        /// What was expected.
        reason: &'static str,
    },
    /// More bytes or entries than the object may have; refused before anything was allocated for it.
    TooLarge {
        /// Which object.
        object: &'static str,
        /// The bound, in bytes or entries.
        limit: usize,
    },
    /// Made by a later version, or with an algorithm that this build does not know.
    Unsupported {
        /// Which object.
        object: &'static str,
        /// Its version byte.
        version: u8,
        /// Its algorithm byte.
        algorithm: u8,
    },
    /// The signature does not belong to these bytes and this key.
    BadSignature {
        /// Which object.
        object: &'static str,
    },
    /// Used before its time. Unix seconds.
    NotYetValid {
        /// Which object.
        object: &'static str,
        /// First second at which it holds.
        not_before: u64,
        /// The clock it was compared with.
        now: u64,
    },
    /// Used after its time. Unix seconds.
    Expired {
        /// Which object.
        object: &'static str,
        /// Last second at which it held.
        not_after: u64,
        /// The clock it was compared with.
        now: u64,
    },
    /// An object of another network.
    WrongNetwork {
        /// Which object.
        object: &'static str,
    },
    /// Signed by a key that nothing here trusts.
    UnknownIssuer {
        /// Which object.
        object: &'static str,
    },
    /// A certificate used as what it is not: a node's as an issuer's, say.
    WrongRole {
        /// Which object.
        object: &'static str,
    },
    /// The node, its certificate or its issuer is on the revocation list.
    Revoked {
        /// The listed id, hex.
        id: String,
    },
    /// The peer sent no proof, or an empty one.
    ProofMissing,
    /// A valid proof of another connection, another side or another pair of nodes.
    ProofForeign,
    /// The TLS certificate and the node certificate do not belong to the same node.
    BindingMismatch {
        /// Which tie is broken.
        reason: &'static str,
    },
    /// Connected to another node than the one asked for.
    UnexpectedNode {
        /// Who was asked for, hex.
        expected: String,
        /// Who answered, hex.
        found: String,
    },
    /// An older list or bundle than the one in force.
    RollBack {
        /// Which object.
        object: &'static str,
        /// Sequence in force.
        have: u64,
        /// Sequence offered.
        offered: u64,
    },
    /// The join token is unknown here, spent or of another network. One answer for all three, so that nobody learns which.
    TokenRefused,
    /// Only a holder of the network's keys can do this.
    NotAuthority,
    /// A value from outside its bounds.
    InvalidField {
        /// Its path, `name`, `ttlSeconds`.
        field: &'static str,
        /// What it must be.
        reason: &'static str,
        /// The bound, when it is a number.
        limit: Option<u64>,
    },
    /// A file or folder of keys that others than its owner may open.
    Permissions {
        /// The file or folder.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
        /// The mode bits it must have.
        expected: u32,
    },
    /// The keys are encrypted and no passphrase was given, or the passphrase is wrong.
    Passphrase {
        /// The key file.
        path: PathBuf,
        /// True when one was given.
        given: bool,
    },
    /// Nothing is stored there.
    NotFound {
        /// The file or folder.
        path: PathBuf,
    },
    /// Something is stored there already, and it would be lost.
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// The file system refused.
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The issuer did not answer, or its address leads nowhere. Worth trying again.
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The issuer was reached and refused; it does not say why.
    RefusedByIssuer {
        /// Where it answered.
        address: String,
    },
    /// TLS, X.509 or the random source refused.
    Tls {
        /// The library's words.
        reason: String,
    },
}

impl IdentityError {
    /// Stable name of the variant, for metrics and for tests: never renamed.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::TooLarge { .. } => "too-large",
            Self::Unsupported { .. } => "unsupported",
            Self::BadSignature { .. } => "bad-signature",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::Expired { .. } => "expired",
            Self::WrongNetwork { .. } => "wrong-network",
            Self::UnknownIssuer { .. } => "unknown-issuer",
            Self::WrongRole { .. } => "wrong-role",
            Self::Revoked { .. } => "revoked",
            Self::ProofMissing => "proof-missing",
            Self::ProofForeign => "proof-foreign",
            Self::BindingMismatch { .. } => "binding-mismatch",
            Self::UnexpectedNode { .. } => "unexpected-node",
            Self::RollBack { .. } => "roll-back",
            Self::TokenRefused => "token-refused",
            Self::NotAuthority => "not-authority",
            Self::InvalidField { .. } => "invalid-field",
            Self::Permissions { .. } => "permissions",
            Self::Passphrase { .. } => "passphrase",
            Self::NotFound { .. } => "not-found",
            Self::Exists { .. } => "exists",
            Self::Storage { .. } => "storage",
            Self::Unreachable { .. } => "unreachable",
            Self::RefusedByIssuer { .. } => "refused-by-issuer",
            Self::Tls { .. } => "tls",
        }
    }

    /// Whether the same attempt may succeed later without anybody changing anything.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Path of the wrong field, for the caller's typed error.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Malformed { object, .. }
            | Self::TooLarge { object, .. }
            | Self::Unsupported { object, .. }
            | Self::BadSignature { object }
            | Self::NotYetValid { object, .. }
            | Self::Expired { object, .. }
            | Self::WrongNetwork { object }
            | Self::UnknownIssuer { object }
            | Self::WrongRole { object }
            | Self::RollBack { object, .. } => object,
            Self::InvalidField { field, .. } => field,
            Self::ProofMissing | Self::ProofForeign => "proof",
            Self::BindingMismatch { .. } => "certificate",
            Self::Revoked { .. } | Self::UnexpectedNode { .. } => "node",
            Self::TokenRefused => "token",
            Self::Passphrase { .. } => "passphrase",
            Self::NotAuthority
            | Self::Permissions { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Storage { .. } => "data",
            Self::Unreachable { .. } | Self::RefusedByIssuer { .. } => "address",
            Self::Tls { .. } => "tls",
        }
    }

    /// The bound that was crossed, when there is one.
    pub const fn limit(&self) -> Option<u64> {
        match self {
            Self::TooLarge { limit, .. } => Some(*limit as u64),
            Self::InvalidField { limit, .. } => *limit,
            _ => None,
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { object, reason } => write!(out, "the {object} is malformed: {reason}"),
            Self::TooLarge { object, limit } => {
                write!(out, "the {object} is too large: at most {limit} are allowed")
            }
            Self::Unsupported { object, version, algorithm } => write!(
                out,
                "the {object} has version {version} and algorithm {algorithm}; this build knows version 1 and algorithm 1 (FALCON-1024)"
            ),
            Self::BadSignature { object } => write!(out, "the signature of the {object} is wrong"),
            Self::NotYetValid { object, not_before, now } => write!(
                out,
                "the {object} is not valid before {not_before}, the clock here says {now} (Unix seconds)"
            ),
            Self::Expired { object, not_after, now } => write!(
                out,
                "the {object} expired at {not_after}, the clock here says {now} (Unix seconds)"
            ),
            Self::WrongNetwork { object } => write!(out, "the {object} belongs to another network"),
            Self::UnknownIssuer { object } => {
                write!(out, "the {object} is signed by nobody that this network trusts")
            }
            Self::WrongRole { object } => write!(out, "the {object} is used as what it is not"),
            Self::Revoked { id } => write!(out, "{id} is revoked"),
            Self::ProofMissing => out.write_str("the peer sent no proof of its node certificate"),
            Self::ProofForeign => out.write_str("the proof belongs to another connection, side or pair of nodes"),
            Self::BindingMismatch { reason } => {
                write!(out, "TLS certificate and node certificate do not belong together: {reason}")
            }
            Self::UnexpectedNode { expected, found } => {
                write!(out, "node {expected} was asked for, node {found} answered")
            }
            Self::RollBack { object, have, offered } => {
                write!(out, "the {object} is older than the one in force: sequence {offered} after {have}")
            }
            Self::TokenRefused => out.write_str("the join token is unknown, spent, expired or of another network; ask for a new one"),
            Self::NotAuthority => out.write_str("the keys of this network are not in this data folder; run it where `linkmesh ca init` was run"),
            Self::InvalidField { field, reason, limit } => match limit {
                Some(limit) => write!(out, "`{field}` {reason} (limit {limit})"),
                None => write!(out, "`{field}` {reason}"),
            },
            Self::Permissions { path, mode, expected } => write!(
                out,
                "{} has mode {mode:04o}: keys are for their owner alone, run `chmod {expected:o} {}`",
                path.display(),
                path.display()
            ),
            Self::Passphrase { path, given: true } => {
                write!(out, "{} does not open with this passphrase", path.display())
            }
            Self::Passphrase { path, given: false } => {
                write!(out, "{} is encrypted: a passphrase is needed", path.display())
            }
            Self::NotFound { path } => write!(out, "{} does not exist", path.display()),
            Self::Exists { path } => write!(out, "{} exists already and is left as it is", path.display()),
            Self::Storage { path, reason } => write!(out, "{}: {reason}", path.display()),
            Self::Unreachable { address, reason } => write!(out, "{address} does not answer: {reason}"),
            Self::RefusedByIssuer { address } => write!(
                out,
                "{address} refused: the token is spent, expired or another network's, or this node was revoked; ask for a new token"
            ),
            Self::Tls { reason } => write!(out, "TLS: {reason}"),
        }
    }
}

impl std::error::Error for IdentityError {}
