//! The endpoint as this node's own callers use it.

use std::{collections::HashMap, fmt, sync::Arc, time::Instant};

use linkmesh_transport::core::{Io, NodeId, PeerSlot};

use super::{
    CompletionQueues, Drained, EndpointOptions, LANES, RemoteId,
    client_link::{ClientLink, sink},
    completions::MAX_UNDRAINED,
    nearby::{Expected, Nearby},
    peers::Peers,
    remotes::{MAX_REMOTES, Remotes},
    replicas::{REPLICATED, Refused, Replicas},
};
use crate::{
    bulk::StartError,
    client::{ClientOptions, ImportError, Outcome, Submission, SubmitError},
    frame::Operation,
    grant::{Exports, Grant, GrantError, GrantId, Moment, Verifier},
    session::Sessions,
};

/// An operation that one of this node's threads hands in.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Which import.
    pub remote: RemoteId,
    /// What to do; the bytes of a write are copied at once. [`Operation::Nop`] with `fence` is a fence on its own.
    pub operation: Operation<'a>,
    /// Wait, at the exporting node, for every earlier operation on any of its regions.
    pub fence: bool,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// Comes back with the completion; its high half says into which queue.
    pub token: u64,
}

/// Why a call was not taken. Nothing was sent: the outcome is [`Outcome::NotDelivered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The number names no import.
    UnknownRemote,
    /// The operation cannot be taken.
    Submit(SubmitError),
    /// The thread has not taken its completions.
    Undrained {
        /// Completions that may lie.
        limit: usize,
    },
    /// What is to be imported is no grant.
    Grant(GrantError),
    /// The grant cannot be imported.
    Import(ImportError),
    /// The bulk transfer cannot be begun.
    Transfer(StartError),
    /// The region is replicated, and this is not for such regions.
    Replicated {
        /// Why not.
        reason: &'static str,
    },
    /// As many grants are imported as may.
    Remotes {
        /// Imports there may be.
        limit: usize,
    },
}

impl CallError {
    /// Always [`Outcome::NotDelivered`].
    pub const fn outcome(&self) -> Outcome {
        Outcome::NotDelivered
    }

    /// True if the same call may be taken later.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Submit(error) => error.retryable(),
            Self::Undrained { .. } | Self::Transfer(StartError::TooMany) => true,
            _ => false,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRemote => f.write_str("the number names no imported region"),
            Self::Submit(error) => error.fmt(f),
            Self::Undrained { limit } => {
                write!(f, "{limit} completions were not taken, which is the limit")
            }
            Self::Grant(error) => error.fmt(f),
            Self::Import(error) => error.fmt(f),
            Self::Transfer(error) => error.fmt(f),
            Self::Replicated { reason } => f.write_str(reason),
            Self::Remotes { limit } => write!(f, "{limit} grants are imported, which is the limit"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<SubmitError> for CallError {
    fn from(error: SubmitError) -> Self {
        Self::Submit(error)
    }
}

/// Remote memory of one node: what it exports and what it imports.
///
/// All calls come from whoever drives the engine; callers' threads reach it through the engine's lease.
pub struct Endpoint {
    pub(super) node: NodeId,
    pub(super) random: Box<dyn FnMut() -> u128 + Send>,
    pub(super) unix_ms: Box<dyn Fn(Instant) -> u64 + Send>,
    pub(super) verifier: Arc<dyn Verifier + Send + Sync>,
    client_options: ClientOptions,
    pub(super) sessions: Sessions,
    pub(super) exports: Exports,
    pub(super) peers: Peers,
    pub(super) clients: Vec<ClientLink>,
    pub(super) by_node: HashMap<NodeId, u32>,
    pub(super) remotes: Remotes,
    pub(super) queues: CompletionQueues,
    /// Clients that have something to send.
    pub(super) dirty: Vec<u32>,
    /// Replicated regions have something to send.
    pub(super) has_replicas_dirty: bool,
    pub(super) nearby: Nearby,
    pub(super) replicas: Replicas,
    /// Nothing is due before this.
    pub(super) deadline: Option<Instant>,
}

impl Endpoint {
    /// Exports nothing, imports nothing.
    pub fn new(options: EndpointOptions) -> Self {
        let lanes = options.client.lanes.clamp(1, LANES);
        Self {
            node: options.node,
            random: options.random,
            unix_ms: options.unix_ms,
            verifier: options.verifier,
            client_options: ClientOptions {
                lanes,
                ..options.client
            },
            sessions: Sessions::new(options.boot_epoch, options.sessions),
            exports: Exports::new(options.node.0),
            peers: Peers::default(),
            clients: Vec::new(),
            by_node: HashMap::new(),
            remotes: Remotes::default(),
            queues: CompletionQueues::default(),
            dirty: Vec::new(),
            has_replicas_dirty: false,
            nearby: Nearby::default(),
            replicas: Replicas::new(options.node),
            deadline: None,
        }
    }

    /// Shares memory by descriptor with peers of this host, beside the streams. To be called before the first connection.
    #[cfg(target_os = "linux")]
    pub fn use_same_host(&mut self, host: Arc<crate::host::SameHost>) {
        self.nearby = Nearby::new(host);
    }

    /// The import as it may come, or has come, by descriptor: then operations need not go through the endpoint. `None` for
    /// an import that was made without a [`SameHost`](crate::host::SameHost).
    #[cfg(target_os = "linux")]
    pub fn mapped(&self, remote: RemoteId) -> Option<Arc<crate::host::Import>> {
        let found = self.remotes.get(remote)?;
        let link = self.clients.get(found.client as usize)?;
        link.imports.get(&found.handle)?.expected.import.clone()
    }

    /// The connection that operations of an import go over now. `None` while there is none, and for a replicated region.
    #[inline]
    pub fn peer_of(&self, remote: RemoteId) -> Option<PeerSlot> {
        let found = self.remotes.get(remote)?;
        self.clients.get(found.client as usize)?.slot
    }

    /// What this node exports: names, regions, issuing grants. Revoke by the methods of the endpoint, which also tell the holders.
    pub fn exports(&mut self) -> &mut Exports {
        &mut self.exports
    }

    /// Now, in both forms.
    pub fn moment(&self, now: Instant) -> Moment {
        Moment {
            instant: now,
            unix_ms: (self.unix_ms)(now),
        }
    }

    /// Presents a grant to the node that exports its region. The completion under `token` brings the [`RemoteId`]; it waits
    /// until the node is connected.
    ///
    /// # Errors
    /// [`CallError::Grant`], [`CallError::Import`], [`CallError::Remotes`].
    pub fn import(&mut self, io: &mut Io<'_>, grant: &[u8], token: u64) -> Result<(), CallError> {
        let decoded = Grant::decode(grant).map_err(CallError::Grant)?;
        let node = NodeId(decoded.exporter());
        if self.remotes.is_full() {
            return Err(CallError::Remotes { limit: MAX_REMOTES });
        }
        let at = self.client_of(node);
        self.clients[at as usize]
            .client
            .import(grant, token)
            .map_err(CallError::Import)?;
        self.mark(at);
        self.attach(io, at);
        let mut expected = Expected {
            grant: Some(decoded.id()),
            ..Expected::default()
        };
        // Before the grant leaves: what it brings may be faster than its answer. Else `attach` does it.
        let link = &mut self.clients[at as usize];
        if let Some(slot) = link.slot {
            self.nearby.expect(slot, &mut expected);
        }
        link.expected.insert(token, expected);
        self.flush(io);
        Ok(())
    }

    fn client_of(&mut self, node: NodeId) -> u32 {
        if let Some(at) = self.by_node.get(&node) {
            return *at;
        }
        let at = self.clients.len() as u32;
        self.clients
            .push(ClientLink::new(node, (self.random)(), self.client_options));
        self.by_node.insert(node, at);
        at
    }

    /// Lets an import go. False if the number names none.
    pub fn release(&mut self, io: &mut Io<'_>, remote: RemoteId) -> bool {
        let Some(found) = self.remotes.remove(remote) else {
            return false;
        };
        if found.client == REPLICATED {
            self.replicas.release(found.handle, &mut self.queues);
            self.flush_replicas(io);
            return true;
        }
        let link = &mut self.clients[found.client as usize];
        link.imports.remove(&found.handle);
        link.client.release(
            found.handle,
            &mut sink(
                &mut self.queues,
                &mut self.remotes,
                &mut link.imports,
                &mut link.expected,
                found.client,
            ),
        );
        self.mark(found.client);
        self.flush(io);
        true
    }

    /// Takes an operation; it leaves with the next [`flush`](Self::flush). Returns its number, to cancel it by.
    ///
    /// # Errors
    /// [`CallError`]: it was not taken.
    #[inline]
    pub fn submit(&mut self, call: &Call<'_>, now: Instant) -> Result<u64, CallError> {
        let remote = self
            .remotes
            .get(call.remote)
            .ok_or(CallError::UnknownRemote)?;
        if self.queues.is_full(call.token) {
            return Err(CallError::Undrained {
                limit: MAX_UNDRAINED,
            });
        }
        let submission = Submission {
            handle: remote.handle,
            operation: call.operation,
            fence: call.fence,
            deadline: call.deadline,
            token: call.token,
        };
        let Some(link) = self.clients.get_mut(remote.client as usize) else {
            return self.submit_replicated(remote.handle, call, now);
        };
        let id = link.client.submit(&submission, now)?;
        if let Some(at) = call.deadline {
            self.due(at);
        }
        self.mark(remote.client);
        Ok(id)
    }

    #[cold]
    fn submit_replicated(
        &mut self,
        import: u16,
        call: &Call<'_>,
        now: Instant,
    ) -> Result<u64, CallError> {
        let result = self
            .replicas
            .submit(import, &call.operation, call.deadline, call.token, now);
        self.has_replicas_dirty = true;
        if let Some(at) = self.replicas.deadline() {
            self.due(at);
        }
        result.map_err(|refused| match refused {
            Refused::Gone => CallError::UnknownRemote,
            Refused::Submit(error) => CallError::Submit(error),
            Refused::Kind(reason) => CallError::Replicated { reason },
        })
    }

    /// Stops waiting for the operation that `submit` numbered `id`. Answers, as its completion does, whether it may have
    /// happened; `None` if it is over already.
    pub fn cancel(&mut self, io: &mut Io<'_>, remote: RemoteId, id: u64) -> Option<Outcome> {
        let remote = self.remotes.get(remote)?;
        if remote.client == REPLICATED {
            return self.replicas.cancel(remote.handle, id, &mut self.queues);
        }
        let link = &mut self.clients[remote.client as usize];
        let mut sink = sink(
            &mut self.queues,
            &mut self.remotes,
            &mut link.imports,
            &mut link.expected,
            remote.client,
        );
        let cancelled = link.client.cancel(id, &mut sink);
        self.mark(remote.client);
        self.flush(io);
        cancelled
    }

    /// Sends what was taken. Once per batch or microtask.
    pub fn flush(&mut self, io: &mut Io<'_>) {
        while let Some(at) = self.dirty.pop() {
            self.clients[at as usize].is_dirty = false;
            self.send_client(io, at);
        }
        if std::mem::take(&mut self.has_replicas_dirty) {
            self.flush_replicas(io);
        }
    }

    /// True if the thread `queue` has completions to take.
    #[inline]
    pub fn has_completed(&self, queue: u32) -> bool {
        self.queues.has(queue)
    }

    /// Hands out what completed for the thread `queue` until `take` answers false: that one stays. Returns how many were taken.
    pub fn drain(&mut self, queue: u32, take: impl FnMut(Drained<'_>) -> bool) -> usize {
        self.queues.drain(queue, take)
    }

    /// Gives a node up: whatever waits for it fails, its imports are gone. A later import begins anew.
    pub fn forget(&mut self, io: &mut Io<'_>, node: &NodeId) {
        let Some(at) = self.by_node.get(node).copied() else {
            return;
        };
        self.close_transfers(io, at);
        let fresh = ClientLink::new(*node, (self.random)(), self.client_options);
        let link = &mut self.clients[at as usize];
        let mut sink = sink(
            &mut self.queues,
            &mut self.remotes,
            &mut link.imports,
            &mut link.expected,
            at,
        );
        link.client.close(&mut sink);
        for held in std::mem::take(&mut link.imports).into_values() {
            self.remotes.remove(held.remote);
        }
        self.send_client(io, at);
        let was_dirty = self.clients[at as usize].is_dirty;
        let slot = std::mem::replace(&mut self.clients[at as usize], fresh).slot;
        self.clients[at as usize].is_dirty = was_dirty;
        let Some(peer) = slot.and_then(|slot| self.peers.get(slot)) else {
            return;
        };
        if let Some(side) = peer.client.take() {
            let transfers = side.transfers.map(|control| control.stream);
            for stream in side
                .lanes
                .into_iter()
                .flatten()
                .chain([side.control])
                .chain(transfers)
            {
                // The connection may be going: then there is nothing to finish.
                let _ = io.finish(peer.slot, stream);
            }
        }
    }

    /// Revokes one grant of the region `name` with all that was delegated from it. Returns the accesses that ended.
    ///
    /// # Errors
    /// As [`Exports::revoke_grant`].
    pub fn revoke_grant(
        &mut self,
        io: &mut Io<'_>,
        name: &str,
        id: GrantId,
    ) -> Result<usize, GrantError> {
        let ended = self.exports.revoke_grant(name, id)?;
        self.announce_revoked(io);
        Ok(ended)
    }

    /// Revokes every grant that a node holds or delegated on; its certificate may stay. Returns the accesses that ended.
    pub fn revoke_grants_of(&mut self, io: &mut Io<'_>, node: &NodeId) -> usize {
        let moment = self.moment(io.now());
        let ended = self.exports.revoke_node(&node.0, moment);
        self.announce_revoked(io);
        ended
    }

    /// A node's certificate was revoked: its grants and its sessions end. The engine ends its connections.
    pub fn revoke_node(&mut self, io: &mut Io<'_>, node: &NodeId) -> usize {
        let ended = self.revoke_grants_of(io, node);
        self.sessions.end_node(node);
        ended
    }

    /// The list of revoked nodes has changed: whoever is on it now loses its sessions, its grants and what it delegated.
    /// Returns the accesses that ended. Cost: one question per node that holds a grant in use.
    pub fn revocations_changed(
        &mut self,
        io: &mut Io<'_>,
        is_revoked: &dyn Fn(&NodeId) -> bool,
    ) -> usize {
        let holders = self.exports.holders().into_iter().map(NodeId);
        let revoked: Vec<NodeId> = holders.filter(|node| is_revoked(node)).collect();
        revoked.iter().map(|node| self.revoke_node(io, node)).sum()
    }

    /// Ends an export: no access is running any more when it returns. Returns the accesses that ended.
    ///
    /// # Errors
    /// As [`Exports::revoke_region`].
    pub fn revoke_region(&mut self, io: &mut Io<'_>, name: &str) -> Result<usize, GrantError> {
        let ended = self.exports.revoke_region(name)?;
        self.announce_revoked(io);
        Ok(ended)
    }

    #[inline]
    pub(super) fn mark(&mut self, at: u32) {
        let link = &mut self.clients[at as usize];
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push(at);
        }
    }

    #[inline]
    pub(super) fn due(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |next| next.min(at)));
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("node", &self.node)
            .field("sessions", &self.sessions.len())
            .field("clients", &self.clients.len())
            .finish_non_exhaustive()
    }
}
