//! Who a node is, who may connect, and how both are proven.
//!
//! A network is a hierarchy root → network key → node, twice: FALCON-1024 certificates of our own (`certificate`) and
//! X.509 ones for TLS (`tls_certificate`), tied to each other by key and by name. TLS 1.3 with X25519MLKEM768 makes the
//! channel; each side then proves its node certificate on the control stream by a FALCON signature over what TLS exports
//! for this channel (`proof`). So identity and secrecy both hold against a quantum computer, and no proof can be moved to
//! another connection.
//!
//! What may enter: keys, certificates, trust, tokens, their encodings and files. Time is passed in as a [`Clock`]. What is
//! deliberately absent: what a member may do once it is in (grants are `memory`'s), and the connections of members (the
//! engine carries the bytes, through [`Authenticator`](crate::core::Authenticator)). Only [`exchange`], by which a node
//! gets its certificate before it has an engine, and [`Upkeeper`] have a socket and a thread of their own.
//!
//! Sizes and costs: certificate 3.3 KB, proof 8 KB; signing 0.8–1 ms, checking a proof 0.15 ms. Call both off the engine
//! thread.
#![forbid(unsafe_code)]

mod administration;
mod authenticator;
mod authority;
mod bundle;
mod certificate;
mod chain;
mod clock;
mod codec;
pub mod command;
mod error;
pub mod exchange;
mod falcon;
mod folder;
mod id;
mod join;
mod keys;
mod known;
mod membership;
mod node_identity;
mod proof;
mod random;
mod revocation;
mod signed;
mod signing;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod tls_certificate;
mod token;
mod trust;
mod upkeep;
mod upkeeper;

pub use administration::Rotation;
pub use authority::{
    IssuedNode, MAX_ISSUED, NETWORK_SECONDS, NODE_SECONDS, NODE_SECONDS_RANGE, ROOT_SECONDS,
};
pub use bundle::{MAX_BUNDLE_BYTES, MAX_ROOTS, Root, TrustBundle};
pub use certificate::{Certificate, MAX_CERTIFICATE_BYTES, MAX_NAME_BYTES, Role, Validity};
pub use chain::MAX_CREDENTIAL_BYTES;
pub use clock::Clock;
pub use error::IdentityError;
pub use falcon::{FALCON_PUBLIC_BYTES, FALCON_SIGNATURE_BYTES, FalconKey, FalconPublic};
pub use id::{KeyId, NetworkId, RootFingerprint};
pub use keys::Passphrase;
pub use membership::Joining;
pub use node_identity::{IdentityOptions, NodeIdentity};
pub use random::{bytes as random_bytes, seed_random};
pub use revocation::{MAX_REVOCATION_LIST_BYTES, MAX_REVOCATIONS, RevocationList, Revoked};
pub use signed::{DETACHED_BYTES, ENVELOPE_BYTES, ObjectKind};
pub use tls_certificate::MAX_TLS_CERTIFICATE_BYTES;
pub use token::{DEFAULT_TOKEN_SECONDS, JoinToken, MAX_OPEN_TOKENS, MAX_TOKEN_SECONDS};
pub use upkeep::Upkeep;
pub use upkeeper::Upkeeper;
