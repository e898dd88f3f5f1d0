//! Presented grants, checked by this node's exports.

use std::time::Instant;

use linkmesh_transport::core::{NodeId, PeerSlot};

use super::nearby::Nearby;

use crate::{
    frame::ImportRefusal,
    grant::{Exports, Grant, GrantError, Moment, Refusals, Verifier},
    region::Access,
    server::Grants,
};

/// One connection's view of the exports, for the time of a call.
pub(super) struct Door<'a> {
    pub(super) exports: &'a mut Exports,
    pub(super) verifier: &'a dyn Verifier,
    pub(super) unix_ms: u64,
    pub(super) refusals: &'a mut Refusals,
    pub(super) nearby: &'a Nearby,
    pub(super) slot: PeerSlot,
    /// Set when the peer has guessed often enough.
    pub(super) is_shut: bool,
}

impl Grants for Door<'_> {
    fn open(&mut self, node: &NodeId, grant: &[u8], now: Instant) -> Result<Access, ImportRefusal> {
        let moment = Moment {
            instant: now,
            unix_ms: self.unix_ms,
        };
        let access = self
            .exports
            .present(grant, &node.0, self.verifier, moment)
            .map_err(|error| {
                self.is_shut |= self.refusals.note(&error);
                refusal(&error)
            })?;
        if let Ok(grant) = Grant::decode(grant) {
            self.nearby.granted(self.slot, grant.id(), &access, now);
        }
        Ok(access)
    }
}

pub(super) fn refusal(error: &GrantError) -> ImportRefusal {
    match error {
        GrantError::Malformed { .. } | GrantError::TooLong { .. } | GrantError::Checksum => {
            ImportRefusal::Malformed
        }
        GrantError::WrongExporter | GrantError::UnknownRegion | GrantError::NameTaken => {
            ImportRefusal::UnknownRegion
        }
        GrantError::WrongNode => ImportRefusal::WrongNode,
        GrantError::Expired => ImportRefusal::Expired,
        GrantError::Wider { .. } | GrantError::OutOfRange { .. } | GrantError::Rights { .. } => {
            ImportRefusal::Wider
        }
        GrantError::Signature(_) => ImportRefusal::Signature,
        GrantError::Revoked | GrantError::StaleEpoch => ImportRefusal::Revoked,
        GrantError::Full { .. } => ImportRefusal::TooMany,
    }
}
