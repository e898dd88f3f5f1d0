//! Remote memory: `ts/binding/contract-memory.ts`.
//!
//! What may enter: regions of this process and how JavaScript holds them, grants as text, operations in batches. What is
//! deliberately absent: what an operation does, who may do it, how it gets there (`linkmesh-memory`).

mod grants;
mod regions;

pub(crate) use regions::Regions;

use std::sync::Arc;

use linkmesh_registry::Status;

use crate::state::{Failure, ThreadState};
use crate::transport::Node;

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
