//! Replicated regions as this node's own callers use them.

use std::time::Instant;

use linkmesh_transport::core::{Io, NodeId};

use super::{
    super::{CallError, Endpoint, remotes::Remote},
    Replicate, ReplicateError,
    room::{Around, Replicas},
};
use crate::{
    client::ImportError,
    grant::{Grant, GrantError, Moment, Signer, Slice},
    replica::MemberInfo,
};

/// In the place of a client's: the import is one of a replicated region.
pub(in crate::endpoint) const REPLICATED: u32 = u32::MAX;

impl Endpoint {
    /// How many bytes of other nodes' regions this node keeps as their backup; none unless this is called.
    pub fn accept_replicas(&mut self, bytes: u64) {
        self.replicas.accept(bytes);
    }

    /// Makes a region that lives on this node and on others at once. The completion under its token says that every member has
    /// joined; from then on its grants are worth something.
    ///
    /// # Errors
    /// [`ReplicateError`]: nothing was begun.
    pub fn replicate(
        &mut self,
        io: &mut Io<'_>,
        request: Replicate<'_>,
    ) -> Result<(), ReplicateError> {
        if self.exports.region(request.name).is_some() {
            return Err(ReplicateError::Name(GrantError::NameTaken));
        }
        let epoch = (self.random)() as u64;
        self.replicas.create(epoch, request, io.now())?;
        self.flush_replicas(io);
        Ok(())
    }

    /// Ends the region that this node replicated under this name: its members free what they hold, operations and imports are
    /// refused as revoked. Members that cannot be reached now hear of it when they are, from this node or from each other.
    /// False if there is no such region.
    pub fn end_replicated(&mut self, io: &mut Io<'_>, name: &str) -> bool {
        let is_ended = self.with_replicas(io.now(), |replicas, around| {
            replicas.end(name, around.queues)
        });
        self.flush_replicas(io);
        is_ended
    }

    /// A signed grant for a slice of a region that this node replicated. It is good for all members; a node may be given one for
    /// itself.
    ///
    /// # Errors
    /// [`GrantError::UnknownRegion`], [`GrantError::OutOfRange`], [`GrantError::Rights`], [`GrantError::Expired`]; as
    /// [`Grant::issue`].
    pub fn grant_replicated(
        &self,
        signer: &dyn Signer,
        name: &str,
        slice: Slice,
        nonce: [u8; 16],
        now: Moment,
    ) -> Result<Grant, GrantError> {
        self.replicas.issue(signer, name, slice, nonce, now)
    }

    /// Bytes of the region that this node replicated under this name.
    pub fn replicated_length(&self, name: &str) -> Option<u64> {
        self.replicas.length(name)
    }

    /// How this node stands in the group that `creator` made under the region's name; `None` if it is no member.
    pub fn replica_info(&self, creator: &NodeId, name: &str, now: Instant) -> Option<MemberInfo> {
        self.replicas.info(creator, name, now)
    }

    /// Presents a grant for a replicated region to `members`, or, if none are named, to the node that made it. The
    /// completion under `token` brings the [`RemoteId`](crate::endpoint::RemoteId); from then on the import is used as any other, whichever member leads.
    ///
    /// All members should be connected: only those can answer.
    ///
    /// # Errors
    /// [`CallError::Grant`], [`CallError::Import`], [`CallError::Remotes`].
    pub fn import_replicated(
        &mut self,
        io: &mut Io<'_>,
        grant: &[u8],
        members: &[NodeId],
        token: u64,
    ) -> Result<(), CallError> {
        let grant = Grant::decode(grant).map_err(CallError::Grant)?;
        if members.len() > crate::replica::MAX_MEMBERS {
            return Err(CallError::Import(ImportError::Full {
                limit: crate::replica::MAX_MEMBERS,
            }));
        }
        if self.remotes.is_full() {
            return Err(CallError::Remotes {
                limit: super::super::remotes::MAX_REMOTES,
            });
        }
        let session = (self.random)();
        self.replicas
            .import(&grant, members, session, token)
            .map_err(CallError::Import)?;
        self.flush_replicas(io);
        Ok(())
    }

    /// Lends the replicas what they need for a call.
    pub(in crate::endpoint) fn with_replicas<T>(
        &mut self,
        now: Instant,
        call: impl FnOnce(&mut Replicas, &mut Around<'_>) -> T,
    ) -> T {
        let moment = self.moment(now);
        let remotes = &mut self.remotes;
        let mut around = Around {
            verifier: &*self.verifier,
            moment,
            remotes: &mut |handle| {
                remotes.insert(Remote {
                    client: REPLICATED,
                    handle,
                })
            },
            queues: &mut self.queues,
        };
        let result = call(&mut self.replicas, &mut around);
        if let Some(at) = self.replicas.deadline() {
            self.due(at);
        }
        result
    }

    pub(in crate::endpoint) fn flush_replicas(&mut self, io: &mut Io<'_>) {
        self.with_replicas(io.now(), |replicas, around| replicas.flush(io, around));
    }
}
