//! Regions of other nodes that this process has imported.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use linkmesh_memory::endpoint::RemoteId;
use linkmesh_memory::frame::Imported;
use linkmesh_memory::grant::Grant;
use linkmesh_transport::core::NodeId;
use serde::Serialize;

use crate::transport::Node;

/// An imported region. Each thread that works on it keeps one of these at hand.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(super) id: RemoteId,
    /// Who imported it: when that thread ends, it is closed.
    thread: u32,
    region: String,
    node: NodeId,
    imported: Imported,
    expires_unix_ms: u64,
    #[cfg(target_os = "linux")]
    import: Option<Arc<linkmesh_memory::host::Import>>,
    closed: AtomicBool,
}

/// `RemoteInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemoteInfo<'a> {
    handle: u32,
    region: &'a str,
    node: String,
    length: u64,
    rights: String,
    expires_at_ms: u64,
    via: &'static str,
}

impl Remote {
    pub(super) fn new(thread: u32, grant: &Grant, granted: Granted) -> Self {
        Self {
            id: granted.id,
            thread,
            region: grant.name().to_owned(),
            node: NodeId(grant.exporter()),
            imported: granted.imported,
            expires_unix_ms: grant.slice().expires_unix_ms,
            #[cfg(target_os = "linux")]
            import: granted.import,
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn info(&self) -> RemoteInfo<'_> {
        RemoteInfo {
            handle: self.id.0,
            region: &self.region,
            node: self.node.to_string(),
            length: self.imported.length,
            rights: self.imported.rights.to_string(),
            expires_at_ms: self.expires_unix_ms,
            via: if super::nearby::is_mapped(self) {
                "shared-memory"
            } else {
                "quic"
            },
        }
    }

    /// The memory itself, when its node is on this host and has shared it.
    #[cfg(target_os = "linux")]
    #[inline(always)]
    pub(super) fn mapped(&self) -> Option<&linkmesh_memory::host::MappedRegion> {
        self.import.as_ref()?.region()
    }

    #[inline(always)]
    pub(super) fn is_closed(&self) -> bool {
        // Relaxed: whoever closes it is no further than the other side of the same race when it is seen late.
        self.closed.load(Ordering::Relaxed)
    }
}

/// What a presented grant has brought.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(super) id: RemoteId,
    pub(super) imported: Imported,
    #[cfg(target_os = "linux")]
    pub(super) import: Option<Arc<linkmesh_memory::host::Import>>,
}

/// All imports of a node, by handle. Threads look here once for each that they use.
#[derive(Debug, Default)]
pub(crate) struct Remotes(RwLock<HashMap<u32, Arc<Remote>>>);

impl Remotes {
    pub(super) fn get(&self, handle: u32) -> Option<Arc<Remote>> {
        let remotes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        remotes.get(&handle).cloned()
    }

    pub(super) fn insert(&self, remote: Remote) -> Arc<Remote> {
        let remote = Arc::new(remote);
        let mut remotes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        remotes.insert(remote.id.0, Arc::clone(&remote));
        remote
    }

    fn remove(&self, which: impl Fn(&Remote) -> bool) -> Vec<Arc<Remote>> {
        let mut remotes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        remotes
            .extract_if(|_, remote| which(remote))
            .map(|(_, remote)| remote)
            .collect()
    }
}

impl Node {
    /// Lets go of imports. False when there was none.
    fn release_remotes(&self, which: impl Fn(&Remote) -> bool) -> bool {
        let removed = self.remotes.remove(which);
        for remote in &removed {
            remote.closed.store(true, Ordering::Relaxed);
            self.with(|app, io| app.memory.release(io, remote.id));
        }
        !removed.is_empty()
    }

    pub(super) fn release_remote(&self, handle: u32) -> bool {
        self.release_remotes(|remote| remote.id.0 == handle)
    }

    /// A thread ends: nobody can use what it had imported.
    pub(crate) fn release_imported_by(&self, thread: u32) {
        self.release_remotes(|remote| remote.thread == thread);
    }
}
