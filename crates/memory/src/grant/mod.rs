//! Grants: who may do what with which bytes of whose region, until when.
//!
//! A grant is signed by the exporting node and bound to one node identity, so it is no bearer token: whoever copies it can do nothing
//! with it. Its holder may delegate it, only narrower, by a further signed link. The exporter keeps no list of what it
//! issued; it keeps what it revoked.
//!
//! The way of a grant: [`Grant::issue`] → text or bytes → the holder presents it over an authenticated connection →
//! [`Presented::check`] (structure, exporter, holder, expiry, narrowing: cheap) → [`Presented::verify`] (signatures,
//! ~50 µs each, any thread) → [`Exports::admit`] (revocation, region, epoch, range) → an
//! [`Access`](crate::region::Access), which every operation checks.
//!
//! Lessons of `ReDMArk` (Rothenberger et al., USENIX Security 2021), where predictable static keys in plain text opened remote memory:
//! 128 random bits per grant, bound to the connection's identity, region, range, rights, epoch and expiry, compared in
//! constant time, checked on each operation, revoked one by one, by node or by region, and refusals are counted
//! ([`Refusals`]).
//!
//! What may enter: the grant, its encodings and its checks. What is deliberately absent: keys and certificates (behind [`Signer`] and
//! [`Verifier`]), the network, clocks and random numbers (passed in).

mod encoding;
mod error;
mod exports;
mod identity;
mod presented;
mod refusals;
mod signing;
mod text;
mod token;

pub use error::GrantError;
pub use exports::{Exports, MAX_EXPORTS, MAX_GRANTS_IN_USE, MAX_REVOKED_GRANTS, Moment};
pub use presented::{Presented, Verified};
pub use refusals::{MAX_REFUSALS, Refusals};
pub use signing::{Refused, Signer, Verifier};
pub use text::PREFIX;
pub use token::{
    Grant, GrantId, Link, MAX_CREDENTIAL_BYTES, MAX_GRANT_BYTES, MAX_LINKS, MAX_NAME_BYTES,
    MAX_SIGNATURE_BYTES, NodeId, Slice,
};
