//! What the endpoint does with peers that run on its own host: it offers them memory by descriptor, beside the streams.
//!
//! The side that was dialled invites, on a stream of kind [`NEARBY`]; the secret that both sides prove on the Unix
//! socket comes from the connection itself (`Io::export_secret`). All else is [`SameHost`]'s. Where there is none, or the
//! peer is elsewhere, nothing here does anything, and operations go over the streams.
//!
//! A link lives as long as the connection it was made over. After a reconnect, grants that were imported before stay on the
//! streams.

#[cfg(target_os = "linux")]
use std::sync::Arc;
use std::time::Instant;

use linkmesh_transport::core::{Direction, Io, PeerSlot, Side, StreamId};

use super::{NEARBY, PRIORITY, peers::Peer};
#[cfg(target_os = "linux")]
use crate::host::{Import, SameHost, Session};
use crate::{grant::GrantId, region::Access};

/// Longest invitation that is taken, bytes: three times what one has.
const MAX_INVITATION: usize = 512;
/// Label of the exported secret.
const LABEL: &[u8] = b"linkmesh same host";

/// The endpoint's hold on [`SameHost`], if there is one.
#[derive(Debug, Default)]
pub(super) struct Nearby {
    #[cfg(target_os = "linux")]
    host: Option<Arc<SameHost>>,
}

/// An import that may come by descriptor.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) grant: Option<GrantId>,
    #[cfg(target_os = "linux")]
    pub(super) import: Option<Arc<Import>>,
}

/// An invitation on its way.
#[derive(Debug)]
pub(super) struct Invitation {
    pub(super) stream: StreamId,
    bytes: Vec<u8>,
}

impl Invitation {
    /// Of a stream that a peer has opened; `None` for one that cannot be.
    pub(super) fn opened(io: &Io<'_>, peer: &Peer, stream: StreamId) -> Option<Self> {
        let invited = io.info(peer.slot)?.side == Side::Client;
        (invited && !stream.is_bidirectional() && peer.invitation.is_none()).then(|| Self {
            stream,
            bytes: Vec::new(),
        })
    }

    /// False when it gets too long.
    pub(super) fn received(&mut self, bytes: &[u8]) -> bool {
        let fits = self.bytes.len() + bytes.len() <= MAX_INVITATION;
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }
}

#[cfg(target_os = "linux")]
impl Nearby {
    pub(super) fn new(host: Arc<SameHost>) -> Self {
        Self { host: Some(host) }
    }

    /// A peer is there: invites it if it was the one that dialled. Connections to this node itself need no link.
    pub(super) fn connected(&self, io: &mut Io<'_>, slot: PeerSlot, side: Side, is_self: bool) {
        let Some(host) = &self.host else { return };
        if side != Side::Server || is_self {
            return;
        }
        let Some(secret) = io.export_secret(slot, LABEL) else {
            return;
        };
        // Without an invitation, without a stream: QUIC is enough.
        let Ok(invitation) = host.invite(session(slot), secret) else {
            return;
        };
        if let Ok(stream) = io.open(slot, NEARBY, Direction::Unidirectional, PRIORITY) {
            // A fresh stream takes so little at once; a cut invitation is refused by the peer.
            let _ = io.write(slot, stream, &invitation);
            let _ = io.finish(slot, stream);
        }
    }

    /// The whole invitation is there.
    pub(super) fn invited(&self, io: &Io<'_>, slot: PeerSlot, invitation: &Invitation) {
        if let (Some(host), Some(secret)) = (&self.host, io.export_secret(slot, LABEL)) {
            // Most often: another host.
            let _ = host.join(session(slot), &invitation.bytes, secret);
        }
    }

    pub(super) fn disconnected(&self, slot: PeerSlot) {
        if let Some(host) = &self.host {
            host.end(session(slot));
        }
    }

    /// A peer has presented a grant that holds.
    pub(super) fn granted(&self, slot: PeerSlot, grant: GrantId, access: &Access, now: Instant) {
        if let Some(host) = &self.host {
            host.grant(session(slot), grant.0, access, now);
        }
    }

    /// Grants or regions were revoked.
    pub(super) fn end_revoked(&self) {
        if let Some(host) = &self.host {
            host.end_revoked();
        }
    }

    /// A grant will be presented over this connection.
    pub(super) fn expect(&self, slot: PeerSlot, expected: &mut Expected) {
        if let (Some(host), Some(grant), None) = (&self.host, expected.grant, &expected.import) {
            expected.import = Some(host.import(session(slot), grant.0));
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(
    clippy::unused_self,
    reason = "the same face as where there is something to do"
)]
impl Nearby {
    pub(super) fn connected(&self, _: &mut Io<'_>, _: PeerSlot, _: Side, _: bool) {}
    pub(super) fn invited(&self, _: &Io<'_>, _: PeerSlot, _: &Invitation) {}
    pub(super) fn disconnected(&self, _: PeerSlot) {}
    pub(super) fn granted(&self, _: PeerSlot, _: GrantId, _: &Access, _: Instant) {}
    pub(super) fn end_revoked(&self) {}
    pub(super) fn expect(&self, _: PeerSlot, _: &mut Expected) {}
}

/// Under which session a connection's link is known to [`SameHost`].
#[cfg(target_os = "linux")]
pub fn session(slot: PeerSlot) -> Session {
    Session(u64::from(slot.generation) << 32 | u64::from(slot.index))
}
