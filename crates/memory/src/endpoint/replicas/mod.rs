//! Replicated regions on the engine: this node's memberships, and its sessions with groups.
//!
//! Each node opens one stream to every node it talks to, of kind [`REPLICAS`](super::REPLICAS); packets of all groups go over it,
//! both those between members and those between clients and members. What a connection loses, the protocol sends again.
//!
//! What may enter: which packet goes to which member or session, grants, limits. What is deliberately absent: what a
//! packet means ([`replica`](crate::replica)).

mod calls;
mod hosted;
mod imports;
mod links;
mod membership;
mod over;
mod room;

pub(super) use calls::REPLICATED;
pub(super) use imports::Refused;
pub use membership::{Replicate, ReplicateError};
pub(super) use room::Replicas;
