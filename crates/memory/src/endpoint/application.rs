//! What the engine tells the endpoint.

use bytes::Bytes;
use linkmesh_transport::core::{
    Application, CloseReason, Io, NodeId, PeerInfo, PeerSlot, Reading, StreamError, StreamId,
};

use super::{
    CLOSE_GUESSING, CLOSE_PROTOCOL, CLOSE_SESSION, CONTROL, Endpoint, LANE, LANES, NEARBY,
    REPLICAS, TO_CLIENT_BLOCKS, TRANSFERS,
    client_link::sink,
    grants::Door,
    nearby::Invitation,
    peers::{Half, Owner, ServerSide, send},
    transfers::StreamEnd,
};
use crate::server::{ServerConnection, ServerError};

impl Application for Endpoint {
    fn connected(&mut self, io: &mut Io<'_>, peer: PeerSlot, info: &PeerInfo) {
        let node = info.identity.node_id;
        self.peers.insert(peer, node);
        self.nearby
            .connected(io, peer, info.side, node == self.node);
        if let Some(at) = self.by_node.get(&node).copied() {
            self.attach(io, at);
            self.flush(io);
        }
        self.replicas.connected(peer, node);
        self.flush_replicas(io);
    }

    fn disconnected(&mut self, io: &mut Io<'_>, peer: PeerSlot, _: &CloseReason) {
        let Some(gone) = self.peers.remove(peer) else {
            return;
        };
        self.nearby.disconnected(peer);
        self.replicas.disconnected(peer);
        if let Some(mut server) = gone.server {
            Self::transfers_detached(&mut self.sessions, &server);
            server.connection.disconnected(&mut self.sessions, io.now());
            if let Some(at) = self.sessions.deadline() {
                self.due(at);
            }
        }
        if let Some(side) = gone.client {
            let link = &mut self.clients[side.client as usize];
            link.slot = None;
            link.client.disconnected();
            link.transfers.disconnected();
            self.attach(io, side.client);
            self.flush(io);
        }
    }

    fn revocations_changed(&mut self, io: &mut Io<'_>, is_revoked: &dyn Fn(&NodeId) -> bool) {
        Self::revocations_changed(self, io, is_revoked);
    }

    fn opened(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, kind: u8) -> Reading {
        if (TRANSFERS..=TO_CLIENT_BLOCKS).contains(&kind) {
            return self.transfers_opened(io, peer, stream, kind);
        }
        if kind == REPLICAS {
            return self.replicas.opened(peer, stream);
        }
        let Some(peer) = self.peers.get(peer) else {
            return Reading::Refuse;
        };
        if kind == NEARBY {
            let Some(invitation) = Invitation::opened(io, peer, stream) else {
                return Reading::Refuse;
            };
            peer.invitation = Some(invitation);
            return Reading::Ordered;
        }
        if !stream.is_bidirectional() {
            return Reading::Refuse;
        }
        match (kind, &mut peer.server) {
            (CONTROL, old) => {
                // The client gave the old streams up; that they are finished may come later than this.
                if let Some(mut old) = old.take() {
                    Self::transfers_detached(&mut self.sessions, &old);
                    old.connection.disconnected(&mut self.sessions, io.now());
                }
                let connection = ServerConnection::new(peer.node, LANES);
                peer.server = Some(ServerSide {
                    connection,
                    control: stream,
                    lanes: Vec::new(),
                    paused: [false; LANES],
                    transfers: None,
                });
                Reading::Ordered
            }
            (LANE, Some(server)) if server.lanes.len() < LANES => {
                server.lanes.push(stream);
                Reading::Ordered
            }
            _ => Reading::Refuse,
        }
    }

    fn received(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, bytes: &[u8]) {
        let Some(this) = self.peers.get(peer) else {
            return;
        };
        let Some(owner) = this.owner(stream) else {
            if self.replicas.owns(peer, stream) {
                self.with_replicas(io.now(), |replicas, around| {
                    replicas.received(io, peer, bytes, around);
                });
            }
            return;
        };
        match owner {
            Owner::ServerLane(lane) => {
                let Some(server) = &mut this.server else {
                    return;
                };
                let result = server
                    .connection
                    .receive(&mut self.sessions, lane, bytes, io.now());
                if server.connection.is_stopped(lane) && !server.paused[lane] {
                    server.paused[lane] = true;
                    io.pause(peer, stream);
                }
                if let Err(error) = result {
                    io.close(peer, close_code(&error));
                }
            }
            Owner::ServerControl => self.server_control(io, peer, bytes),
            Owner::Invitation => {
                let invitation = this.invitation.as_mut();
                if !invitation.is_some_and(|invitation| invitation.received(bytes)) {
                    io.close(peer, CLOSE_PROTOCOL);
                }
            }
            Owner::ClientLane(_) | Owner::ClientControl => {
                let Some(at) = this.client.as_ref().map(|side| side.client) else {
                    return;
                };
                let link = &mut self.clients[at as usize];
                let mut sink = sink(
                    &mut self.queues,
                    &mut self.remotes,
                    &mut link.imports,
                    &mut link.expected,
                    at,
                );
                let result = match owner {
                    Owner::ClientLane(lane) => link.client.receive(lane, bytes, &mut sink),
                    _ => link.client.receive_control(bytes, &mut sink),
                };
                self.mark(at);
                if result.is_err() {
                    io.close(peer, CLOSE_PROTOCOL);
                }
                if owner == Owner::ClientControl {
                    self.begin_transfers(io, at, false);
                }
            }
            Owner::Transfers(half) => {
                if !self.transfers_said(io, peer, half, bytes) {
                    io.close(peer, CLOSE_PROTOCOL);
                }
            }
            // Blocks come in order: where in the stream they lie, their frames say.
            Owner::Bulk(half) => {
                self.transfers_received(io, peer, half, stream, 0, Bytes::copy_from_slice(bytes));
            }
        }
    }

    fn received_at(
        &mut self,
        io: &mut Io<'_>,
        peer: PeerSlot,
        stream: StreamId,
        offset: u64,
        bytes: Bytes,
    ) {
        let owner = self.peers.get(peer).and_then(|peer| peer.owner(stream));
        if let Some(Owner::Bulk(half)) = owner {
            self.transfers_received(io, peer, half, stream, offset, bytes);
        }
    }

    fn delivered(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        self.transfer_ended(io, peer, stream, StreamEnd::Delivered);
    }

    fn settled(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        self.send_server(io, peer);
        self.flush(io);
    }

    fn writable(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        let Some(this) = self.peers.get(peer) else {
            return;
        };
        match this.owner(stream) {
            Some(Owner::ServerControl | Owner::ServerLane(_)) => self.send_server(io, peer),
            Some(Owner::ClientControl | Owner::ClientLane(_)) => {
                if let Some(at) = this.client.as_ref().map(|side| side.client) {
                    self.send_client(io, at);
                }
            }
            Some(Owner::Transfers(half)) => self.transfers_writable(io, peer, half, None),
            Some(Owner::Bulk(half)) => self.transfers_writable(io, peer, half, Some(stream)),
            None if self.replicas.owns(peer, stream) => self.replicas.writable(io, peer),
            Some(Owner::Invitation) | None => {}
        }
    }

    fn streams_available(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        self.transfers_writable(io, peer, Half::Server, None);
        self.transfers_writable(io, peer, Half::Client, None);
        self.replicas.writable(io, peer);
        let Some(this) = self.peers.get(peer) else {
            return;
        };
        let at = match &this.client {
            Some(side) => side.client,
            None => match self.by_node.get(&this.node) {
                Some(at) => *at,
                None => return,
            },
        };
        self.attach(io, at);
        self.mark(at);
        self.flush(io);
        self.begin_transfers(io, at, false);
    }

    fn finished(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        if self.transfer_ended(io, peer, stream, StreamEnd::Finished) {
            return;
        }
        let Some(this) = self.peers.get(peer) else {
            return;
        };
        match this.owner(stream) {
            // The client has ended its session, which it says on the control stream first, or it is broken.
            Some(Owner::ServerControl) => {
                if let Some(mut server) = this.server.take() {
                    Self::transfers_detached(&mut self.sessions, &server);
                    server.connection.disconnected(&mut self.sessions, io.now());
                    let transfers = server.transfers.map(|control| control.stream);
                    for stream in server
                        .lanes
                        .into_iter()
                        .chain([server.control])
                        .chain(transfers)
                    {
                        // The connection may be going: then there is nothing to finish.
                        let _ = io.finish(peer, stream);
                    }
                }
            }
            Some(Owner::ClientControl | Owner::ClientLane(_) | Owner::Transfers(Half::Client)) => {
                io.close(peer, CLOSE_PROTOCOL);
            }
            Some(Owner::Invitation) => {
                if let Some(invitation) = this.invitation.take() {
                    self.nearby.invited(io, peer, &invitation);
                }
            }
            Some(Owner::ServerLane(_) | Owner::Transfers(Half::Server) | Owner::Bulk(_)) | None => {
            }
        }
    }

    fn reset(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, _: u64) {
        // A hole in a lane cannot be repaired; a new connection can.
        if !self.transfer_ended(io, peer, stream, StreamEnd::Reset) && self.owns(peer, stream) {
            io.close(peer, CLOSE_PROTOCOL);
        }
    }

    fn stopped(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, _: u64) {
        if !self.transfer_ended(io, peer, stream, StreamEnd::Stopped) && self.owns(peer, stream) {
            io.close(peer, CLOSE_PROTOCOL);
        }
    }

    fn timeout(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        self.sessions.end_leases(now);
        self.deadline = self.sessions.deadline();
        for at in 0..self.clients.len() as u32 {
            let link = &mut self.clients[at as usize];
            if link.client.deadline().is_some_and(|due| due <= now) {
                let mut sink = sink(
                    &mut self.queues,
                    &mut self.remotes,
                    &mut link.imports,
                    &mut link.expected,
                    at,
                );
                link.client.expire(now, &mut sink);
            }
            if let Some(due) = link.client.deadline() {
                self.due(due);
            }
            self.expire_transfers(io, at);
        }
        self.with_replicas(now, |replicas, around| replicas.timeout(io, around));
    }

    fn deadline(&self) -> Option<std::time::Instant> {
        self.deadline
    }
}

fn close_code(error: &ServerError) -> u64 {
    match error {
        ServerError::Attach(_) | ServerError::Superseded => CLOSE_SESSION,
        _ => CLOSE_PROTOCOL,
    }
}

impl Endpoint {
    /// Tells the transfers of the end of one of their streams; false if it is none of theirs.
    fn transfer_ended(
        &mut self,
        io: &mut Io<'_>,
        peer: PeerSlot,
        stream: StreamId,
        end: StreamEnd,
    ) -> bool {
        let owner = self.peers.get(peer).and_then(|peer| peer.owner(stream));
        if let Some(Owner::Bulk(half)) = owner {
            self.transfers_ended(io, peer, half, stream, end);
            return true;
        }
        false
    }

    /// True if the stream is one of the endpoint's: what the engine says of it is for the endpoint.
    pub fn owns(&mut self, peer: PeerSlot, stream: StreamId) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|peer| peer.owner(stream).is_some())
            || self.replicas.owns(peer, stream)
    }

    fn server_control(&mut self, io: &mut Io<'_>, slot: PeerSlot, bytes: &[u8]) {
        let unix_ms = (self.unix_ms)(io.now());
        let Some(peer) = self.peers.get(slot) else {
            return;
        };
        let Some(server) = &mut peer.server else {
            return;
        };
        let mut door = Door {
            exports: &mut self.exports,
            verifier: &*self.verifier,
            unix_ms,
            refusals: &mut peer.refusals,
            nearby: &self.nearby,
            slot,
            is_shut: false,
        };
        let result =
            server
                .connection
                .receive_control(&mut self.sessions, &mut door, bytes, io.now());
        if door.is_shut {
            io.close(slot, CLOSE_GUESSING);
        } else if let Err(error) = result {
            io.close(slot, close_code(&error));
        }
    }

    /// Lets a peer's streams take the replies, and goes on where replies had to wait.
    fn send_server(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        let Some(server) = self.peers.get(slot).and_then(|peer| peer.server.as_mut()) else {
            return;
        };
        loop {
            let mut result = send(io, slot, server.control, server.connection.control_output());
            let mut waiting = 0;
            for (lane, stream) in server.lanes.iter().enumerate() {
                let output = server.connection.output(lane);
                result = result.and(send(io, slot, *stream, output));
                waiting += output.len();
            }
            if matches!(result, Err(StreamError::Stopped(_) | StreamError::Closed)) {
                io.close(slot, CLOSE_PROTOCOL);
                return;
            }
            if !server.paused.contains(&true) || waiting > 0 {
                return;
            }
            if let Err(error) = server.connection.resume(&mut self.sessions, io.now()) {
                io.close(slot, close_code(&error));
                return;
            }
            for (lane, stream) in server.lanes.iter().enumerate() {
                if server.paused[lane] && !server.connection.is_stopped(lane) {
                    server.paused[lane] = false;
                    io.resume(slot, *stream);
                }
            }
            if server
                .lanes
                .iter()
                .enumerate()
                .all(|(lane, _)| server.connection.output(lane).is_empty())
            {
                return;
            }
        }
    }

    /// Tells every peer which of its grants are dead.
    pub(super) fn announce_revoked(&mut self, io: &mut Io<'_>) {
        self.nearby.end_revoked();
        for peer in self.peers.iter_mut() {
            let Some(server) = &mut peer.server else {
                continue;
            };
            server
                .connection
                .announce_revoked(&mut self.sessions, |access| {
                    access.revoked.load(std::sync::atomic::Ordering::Relaxed)
                        || access.region.is_revoked()
                });
            // The engine tells of a stream that takes nothing more by itself.
            let _ = send(
                io,
                peer.slot,
                server.control,
                server.connection.control_output(),
            );
        }
    }
}
