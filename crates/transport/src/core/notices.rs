//! What every member must know of the network, passed from peer to peer: who is revoked, which roots are believed.
//!
//! A notice is an opaque signed object of the identity ([`Authenticator::notices`](super::Authenticator::notices)). Each goes on
//! a one-way stream of its own, of a kind that no application sees, to every peer that connects and to all peers when it
//! changes. The receiver checks it on a helper thread; what is new to it is in force there at once and passed on.

use std::time::Instant;

use bytes::Bytes;

use super::Core;
use super::auth::{AuthJob, Task};
use super::authenticator::{AuthError, MAX_NOTICE_BYTES};
use super::link::{Link, Phase};
use super::peer::{Direction, PeerSlot, StreamId};
use super::serve::REFUSED_KIND;

/// The first kind of stream that is the engine's own. Those below are the application's.
pub(super) const OWN_KINDS: u8 = 0xf0;
/// The kind of a stream with one notice.
const NOTICE: u8 = 0xf0;
/// Notices come after the control stream and before all else: what they say is wanted within the second.
const PRIORITY: i32 = i32::MAX - 1;
/// Bytes of unchecked notices that all peers together may make this node hold.
const MAX_HELD_BYTES: usize = 64 << 20;

/// The notices of one connection that are on their way. Most connections never have one.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// What the peer is to have, with its stream once that could be opened.
    outgoing: Vec<(Option<StreamId>, Bytes)>,
    incoming: Vec<(StreamId, Vec<u8>)>,
}

impl Link {
    /// Puts notices on their way, or on the list of those that wait.
    fn send_notices(&mut self, notices: &[Bytes]) {
        if notices.is_empty() || self.phase != Phase::Open {
            return;
        }
        let known = self.notices.get_or_insert_default();
        // What waits for a stream is older than what comes now.
        known.outgoing.retain(|(stream, _)| stream.is_some());
        known
            .outgoing
            .extend(notices.iter().map(|notice| (None, notice.clone())));
        self.go_on_with_notices();
    }

    /// Writes as much as windows and limits let through.
    pub(super) fn go_on_with_notices(&mut self) {
        let Some(mut notices) = self.notices.take() else {
            return;
        };
        notices.outgoing.retain_mut(|(stream, rest)| {
            let stream = match *stream {
                Some(stream) => stream,
                None => match self.open(NOTICE, Direction::Unidirectional, PRIORITY) {
                    Ok(opened) => {
                        if let Some(state) = self.stream_mut(opened) {
                            state.own = true;
                        }
                        *stream.insert(opened)
                    }
                    // It is tried again when the peer allows more streams.
                    Err(_) => return true,
                },
            };
            // A peer that stops it does not want to know.
            let gone = self.write_block(stream, rest).is_err();
            if gone || rest.is_empty() {
                let _ = self.finish(stream);
                return false;
            }
            true
        });
        if !notices.outgoing.is_empty() || !notices.incoming.is_empty() {
            self.notices = Some(notices);
        }
    }
}

impl Core {
    fn notices(&self) -> Vec<Bytes> {
        let all = self.authenticator.notices();
        all.into_iter().map(Bytes::from).collect()
    }

    /// Tells a peer that has just been connected.
    pub(super) fn notify(&mut self, slot: PeerSlot) {
        let notices = self.notices();
        if let Some(link) = self.links.touch(slot) {
            link.send_notices(&notices);
        }
    }

    /// Tells every peer, if there is something new to tell.
    pub(super) fn notify_all(&mut self) {
        let epoch = self.authenticator.notice_epoch();
        if epoch == self.notice_epoch {
            return;
        }
        self.notice_epoch = epoch;
        let notices = self.notices();
        for index in self.links.indexes() {
            if let Some(link) = self.links.at(index)
                && link.info.is_some()
            {
                link.send_notices(&notices);
                self.links.mark(index);
            }
        }
    }

    /// A stream of one of the engine's own kinds was opened by the peer. Whether it is known.
    pub(super) fn own_opened(&mut self, slot: PeerSlot, stream: StreamId, kind: u8) -> bool {
        let Some(link) = self.links.get_mut(slot) else {
            return false;
        };
        if kind != NOTICE || stream.is_bidirectional() {
            return false;
        }
        let notices = link.notices.get_or_insert_default();
        notices.incoming.push((stream, Vec::new()));
        true
    }

    /// Bytes of one of the engine's own streams.
    pub(super) fn own_received(&mut self, slot: PeerSlot, stream: StreamId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        let incoming = link.notices.as_deref_mut().and_then(|notices| {
            let mut all = notices.incoming.iter_mut();
            all.find(|(known, _)| *known == stream)
        });
        let Some((_, held)) = incoming else { return };
        if held.len() + bytes.len() > MAX_NOTICE_BYTES
            || self.notice_bytes + bytes.len() > MAX_HELD_BYTES
        {
            self.stats.notices_refused += 1;
            link.stop(stream, REFUSED_KIND);
            self.own_ended(slot, stream, false);
            return;
        }
        held.extend_from_slice(bytes);
        self.notice_bytes += bytes.len();
    }

    /// One of the engine's own streams has ended; `whole` when the peer finished it.
    pub(super) fn own_ended(&mut self, slot: PeerSlot, stream: StreamId, whole: bool) {
        let Some(notices) = self
            .links
            .get_mut(slot)
            .and_then(|link| link.notices.as_deref_mut())
        else {
            return;
        };
        let Some(at) = notices
            .incoming
            .iter()
            .position(|(known, _)| *known == stream)
        else {
            return;
        };
        let (_, bytes) = notices.incoming.swap_remove(at);
        if whole {
            self.auth_jobs.push_back(AuthJob {
                peer: slot,
                task: Task::Notice(bytes),
            });
        } else {
            self.notice_bytes -= bytes.len();
        }
    }

    /// What came of checking a notice of `length` bytes.
    pub(super) fn noticed(
        &mut self,
        now: Instant,
        length: usize,
        result: &Result<bool, AuthError>,
    ) {
        self.notice_bytes -= length;
        match result {
            // In force, here and for everybody who is connected, in this turn.
            Ok(true) => self.revocation_at = Some(now),
            Ok(false) => {}
            Err(_) => self.stats.notices_refused += 1,
        }
    }

    /// Gives back what a connection that is over held.
    pub(super) fn drop_notices(&mut self, slot: PeerSlot) {
        let notices = self
            .links
            .get_mut(slot)
            .and_then(|link| link.notices.take());
        for (_, bytes) in notices.into_iter().flat_map(|notices| notices.incoming) {
            self.notice_bytes -= bytes.len();
        }
    }
}
