//! Remote memory: `ts/binding/contract-memory.ts`.
//!
//! What may enter: regions of this process and how JavaScript holds them, grants as text, operations in batches. What is
//! deliberately absent: what an operation does, who may do it, how it gets there (`linkmesh-memory`).

mod arrivals;
mod bulk;
mod deadline;
mod fate;
mod functions;
mod grants;
mod imports;
mod nearby;
mod operations;
mod page;
mod pending;
mod queues;
mod regions;
mod remotes;
mod replicas;
mod sync;
mod table;

pub(crate) use arrivals::Arrivals;
pub(crate) use operations::Operations;
pub(crate) use queues::Queues;
pub(crate) use regions::Regions;
pub(crate) use remotes::Remotes;

use std::sync::Arc;

use linkmesh_registry::Status;

use crate::memory::page::Fate;
use crate::state::{Failure, ThreadState};
use crate::transport::Node;

/// Keeps a refusal for `lastError`; its status. That something cannot be done at once is no failure.
pub(crate) fn refused(state: &mut ThreadState, fate: &Fate) -> i64 {
    if fate.status == Status::NoMatch as i32 {
        return i64::from(fate.status);
    }
    i64::from(state.fail(fate::failure(fate)))
}

/// The node of a mesh of this thread.
pub(crate) fn node(state: &ThreadState, mesh: u32) -> Result<Arc<Node>, Failure> {
    state.mesh(mesh)?.engine.node().ok_or_else(|| {
        Failure::new(
            Status::Closed,
            "this mesh is no node: it was opened without listen and join, or is closing",
        )
        .field("mesh")
    })
}
