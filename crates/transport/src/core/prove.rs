//! From a finished TLS handshake to a peer that the application may know.
//!
//! Both sides send HELLO with their proof as soon as it is made, verify the other's, answer ACCEPT, and are connected when
//! they have both verified and been accepted. So `connected` never comes at one side while the other refuses.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{Dir, ReadError};
use rustls_pki_types::CertificateDer;

use super::Core;
use super::application::Application;
use super::auth::{AuthDone, AuthJob, Outcome, Task};
use super::authenticator::{
    AuthError, Channel, EXPORTER_LABEL, JOIN_ALPN, MAX_JOIN_REQUEST_BYTES, PeerIdentity, Side,
};
use super::close::{CloseCode, CloseReason};
use super::config::Configs;
use super::control::{self, FEATURES, Frame, VERSION};
use super::io::Io;
use super::link::{Link, Phase, code};
use super::peer::{PeerInfo, PeerSlot, StreamId};

impl Link {
    /// Appends to the control stream what it takes, and keeps the rest for when it is writable. A window that the
    /// application has filled can stand against it.
    pub(super) fn flush_control(&mut self) {
        let Some(stream) = self.control.stream else {
            return;
        };
        let mut stream = self.connection.send_stream(stream.proto());
        let mut written = 0;
        while written < self.control.outbox.len() {
            match stream.write(&self.control.outbox[written..]) {
                Ok(count) => written += count,
                Err(_) => break,
            }
        }
        self.control.outbox.drain(..written);
        if self.control.outbox.is_empty() {
            self.control.outbox = Vec::new();
            if std::mem::take(&mut self.control.finishing) {
                // Stopped by the peer already: then it does not matter.
                let _ = stream.finish();
            }
        }
    }

    /// Everything that the control stream has, and whether it has ended.
    fn read_control(&mut self) -> Result<(Vec<Bytes>, bool), ()> {
        let Some(stream) = self.control.stream else {
            return Ok((Vec::new(), false));
        };
        let mut stream = self.connection.recv_stream(stream.proto());
        // Read to its end before: a late duplicate may still announce it.
        let Ok(mut chunks) = stream.read(true) else {
            return Ok((Vec::new(), true));
        };
        let mut taken = Vec::new();
        let ended = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => taken.push(chunk.bytes),
                Ok(None) => break true,
                Err(ReadError::Blocked) => break false,
                Err(ReadError::Reset(_)) => return Err(()),
            }
        };
        let _ = chunks.finalize();
        Ok((taken, ended))
    }
}

impl Core {
    /// TLS is done.
    pub(super) fn handshake_done(&mut self, now: Instant, slot: PeerSlot) {
        let boot_epoch = self.boot_epoch;
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        link.allowance = None;
        let session = link.connection.crypto_session();
        let mut exporter = [0; 64];
        if session
            .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
            .is_err()
        {
            return self.close_with(now, slot, CloseCode::Protocol);
        }
        let certificates = session
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let joining = session
            .handshake_data()
            .and_then(|any| any.downcast::<HandshakeData>().ok())
            .is_some_and(|data| data.protocol.as_deref() == Some(JOIN_ALPN));
        let channel = Channel {
            side: link.side,
            exporter,
            peer_certificates: certificates.map_or_else(Vec::new, |certificates| *certificates),
            boot_epoch,
        };
        link.channel = Some(Box::new(channel.clone()));
        if joining {
            link.phase = Phase::Joining;
        } else {
            link.phase = Phase::Proving;
            self.auth_jobs.push_back(AuthJob {
                peer: slot,
                task: Task::Prove(channel),
            });
        }
        let Some(link) = self.links.at(slot.index) else {
            return;
        };
        if link.side == Side::Client {
            // Every peer allows at least two streams, and this is the first.
            link.control.stream = link.connection.streams().open(Dir::Bi).map(StreamId::from);
            if let Some(stream) = link.control.stream {
                // Before everything else: it is what the rest waits for.
                let _ = link
                    .connection
                    .send_stream(stream.proto())
                    .set_priority(i32::MAX);
            }
        }
        self.accept_control(now, slot);
    }

    /// The dialled side learns its control stream: the first that the peer opens.
    pub(super) fn accept_control(&mut self, now: Instant, slot: PeerSlot) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        if link.control.stream.is_none()
            && link.side == Side::Server
            && link.phase != Phase::Handshake
        {
            let Some(stream) = link.connection.streams().accept(Dir::Bi) else {
                return;
            };
            link.control.stream = Some(stream.into());
            let _ = link.connection.send_stream(stream).set_priority(i32::MAX);
            link.flush_control();
            self.control_readable(now, slot);
        }
    }

    /// The control stream has something.
    pub(super) fn control_readable(&mut self, now: Instant, slot: PeerSlot) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        let Ok((chunks, ended)) = link.read_control() else {
            return self.close_with(now, slot, CloseCode::Protocol);
        };
        for bytes in chunks {
            let Some(link) = self.links.get_mut(slot) else {
                return;
            };
            if link.control.push(&bytes).is_err() {
                return self.close_with(now, slot, CloseCode::Protocol);
            }
            if link.phase == Phase::Joining {
                match link.control.message(MAX_JOIN_REQUEST_BYTES) {
                    Ok(None) => {}
                    Ok(Some(request)) => {
                        if let Some(channel) = link.channel.take() {
                            self.auth_jobs.push_back(AuthJob {
                                peer: slot,
                                task: Task::Join(*channel, request),
                            });
                        }
                    }
                    Err(control::Malformed) => {
                        return self.close_with(now, slot, CloseCode::Protocol);
                    }
                }
                continue;
            }
            loop {
                let Some(link) = self.links.get_mut(slot) else {
                    return;
                };
                match link.control.next() {
                    Ok(None) => break,
                    Ok(Some(frame)) => self.control_frame(now, slot, frame),
                    Err(control::Malformed) => {
                        return self.close_with(now, slot, CloseCode::Protocol);
                    }
                }
            }
        }
        let phase = self
            .links
            .get(slot)
            .map(|link| (link.phase, link.control.goodbye.is_some()));
        if ended && matches!(phase, Some((Phase::Proving | Phase::Open, false))) {
            self.close_with(now, slot, CloseCode::Protocol);
        }
    }

    fn control_frame(&mut self, now: Instant, slot: PeerSlot, frame: Frame) {
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        match frame {
            Frame::Hello {
                version,
                features,
                proof,
            } => {
                if version != VERSION {
                    return self.close_with(now, slot, CloseCode::Version);
                }
                link.control.features = features & FEATURES;
                if let Some(channel) = &link.channel {
                    let channel = Channel::clone(channel);
                    self.auth_jobs.push_back(AuthJob {
                        peer: slot,
                        task: Task::Verify(channel, proof),
                    });
                }
            }
            // Noted by `Control`, acted upon when the turn's events have been told (see `serve`).
            Frame::Accept | Frame::Goodbye { .. } => {}
        }
    }

    /// A helper thread is through with its work.
    pub fn auth_done(&mut self, now: Instant, done: AuthDone) {
        let slot = done.peer;
        if let Outcome::Noticed(length, result) = &done.outcome {
            return self.noticed(now, *length, result);
        }
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        if !matches!(link.phase, Phase::Proving | Phase::Joining) {
            return;
        }
        match done.outcome {
            Outcome::Proved(Ok(proof)) => {
                control::hello(&mut link.control.outbox, VERSION, FEATURES, &proof);
                link.flush_control();
            }
            Outcome::Verified(Ok(identity)) => self.verified(now, slot, identity),
            Outcome::Joined(Ok(reply)) => {
                link.control
                    .outbox
                    .extend_from_slice(&(reply.len() as u32).to_le_bytes());
                link.control.outbox.extend_from_slice(&reply);
                // The joining node closes when it has read the reply; `give_up_at` does if it does not.
                link.control.finishing = true;
                link.flush_control();
            }
            Outcome::Noticed(..) => {}
            Outcome::Proved(Err(error))
            | Outcome::Verified(Err(error))
            | Outcome::Joined(Err(error)) => {
                self.close_for(
                    now,
                    slot,
                    CloseCode::NotAuthenticated,
                    CloseReason::NotAuthenticated(error),
                );
            }
        }
    }

    fn verified(&mut self, now: Instant, slot: PeerSlot, identity: PeerIdentity) {
        let Some(link) = self.links.get(slot) else {
            return;
        };
        let expected = link
            .target
            .and_then(|target| self.targets.get(&target)?.target.expected);
        if let Some(expected) = expected.filter(|expected| *expected != identity.node_id) {
            let reason = CloseReason::WrongNode {
                expected,
                actual: identity.node_id,
            };
            return self.close_for(now, slot, CloseCode::WrongNode, reason);
        }
        if self.authenticator.is_revoked(&identity.node_id) {
            let error = AuthError {
                code: "revoked",
                message: "the peer's node has been revoked".into(),
            };
            return self.close_for(
                now,
                slot,
                CloseCode::Revoked,
                CloseReason::NotAuthenticated(error),
            );
        }
        let most = self.limits.connections_per_node;
        if !self.per_node.enter(identity.node_id, most) {
            let reason = CloseReason::Limit("connections_per_node");
            return self.close_for(now, slot, CloseCode::TooManyConnections, reason);
        }
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        link.identity = Some(identity);
        control::accept(&mut link.control.outbox);
        link.flush_control();
    }

    /// Whether a peer has verified and been accepted, and is to be made known now.
    pub(super) fn is_established(link: &Link) -> bool {
        link.phase == Phase::Proving && link.identity.is_some() && link.control.accepted
    }

    /// Makes a proved peer known.
    pub(super) fn establish<A: Application>(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        application: &mut A,
    ) {
        let window = Configs::receive_window(&self.limits);
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        let Some(identity) = link.identity.clone() else {
            return;
        };
        link.phase = Phase::Open;
        link.give_up_at = None;
        link.channel = None;
        link.connection.set_receive_window(window);
        let info = Arc::new(PeerInfo {
            identity,
            address: link.connection.remote_address(),
            side: link.side,
            target: link.target,
            features: link.control.features,
        });
        link.info = Some(info.clone());
        let (side, source) = (link.side, link.source);
        self.leave_handshake(side, source);
        self.stats.established += 1;
        self.stats.peers += 1;
        if let Some(target) = info.target {
            self.target_connected(now, slot, target);
        }
        self.notify(slot);
        application.connected(&mut Io::new(now, self), slot, &info);
    }

    /// Ends a connection with a reason of this side.
    pub(super) fn close_for(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        close: CloseCode,
        reason: CloseReason,
    ) {
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        if link.reason.is_none() {
            link.reason = Some(reason);
        }
        link.connection.close(now, code(close as u64), Bytes::new());
    }

    /// Ends a connection with a code that says it all.
    pub(super) fn close_with(&mut self, now: Instant, slot: PeerSlot, close: CloseCode) {
        self.close_for(now, slot, close, CloseReason::Local(close as u64));
    }

    /// Ends a connection on behalf of the application.
    pub(super) fn close_peer(&mut self, now: Instant, slot: PeerSlot, value: u64) {
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        if link.reason.is_none() {
            link.reason = Some(CloseReason::Local(value));
        }
        link.connection.close(now, code(value), Bytes::new());
    }
}
