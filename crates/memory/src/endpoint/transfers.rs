//! Bulk transfers on the connections of both halves.
//!
//! The importing side opens one control stream for them per connection in use, when it is first needed and its grants stand; the bytes go on
//! one-way streams of either side, by kinds that say which half they are for. State that must survive a connection
//! is with the session ([`bulk::Server`]) and with the client link ([`bulk::Client`]).

use std::time::Instant;

use bytes::Bytes;
use linkmesh_transport::core::{Direction, Io, PeerSlot, Reading, StreamId};

use super::{
    CLOSE_PROTOCOL, CallError, Endpoint, PRIORITY, RemoteId, TO_CLIENT_BLOCKS, TO_CLIENT_PLAIN,
    TO_SERVER_BLOCKS, TO_SERVER_PLAIN, TRANSFERS,
    peers::{BulkStream, Half, TransferControl, send},
};
use crate::{
    bulk::{self, Dead, Event, Grants, Malformed, Options, Request, StreamKind, Wire},
    client::SubmitError,
    compress::Compression,
    frame::Imported,
    outgoing::Outgoing,
    region::{Access, Rights, check_range},
    session::Session,
};

/// Answers about transfers that a peer may leave unread.
const MAX_CONTROL_OUTPUT: usize = 64 * 1024;
/// Code of streams that are given up; the reason is said on the control stream.
const GIVEN_UP: u64 = 0;

/// A bulk transfer that one of this node's threads hands in. Without an order to any other operation.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Which import.
    pub remote: RemoteId,
    /// Where in its slice.
    pub offset: u64,
    /// Memory of the caller: all of it is read into, or written from. It stays until the transfer is over and must not change
    /// while it is written from.
    pub memory: Access,
    /// From the caller to the remote region, or the other way.
    pub is_write: bool,
    /// Checked, compressed.
    pub options: Options,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// Comes back with the completion; its high half says into which queue.
    pub token: u64,
}

/// One connection, lent to a half's transfers for a call.
struct PeerWire<'a, 'b> {
    io: &'a mut Io<'b>,
    slot: PeerSlot,
    half: Half,
    control: &'a mut Outgoing,
    streams: &'a mut Vec<BulkStream>,
}

impl Wire for PeerWire<'_, '_> {
    type Stream = StreamId;

    fn open(&mut self, kind: StreamKind) -> Option<StreamId> {
        let kind = match (self.half, kind) {
            (Half::Client, StreamKind::Plain) => TO_SERVER_PLAIN,
            (Half::Client, StreamKind::Blocks) => TO_SERVER_BLOCKS,
            (Half::Server, StreamKind::Plain) => TO_CLIENT_PLAIN,
            (Half::Server, StreamKind::Blocks) => TO_CLIENT_BLOCKS,
        };
        let stream = self
            .io
            .open(self.slot, kind, Direction::Unidirectional, 0)
            .ok()?;
        self.streams.push(BulkStream {
            stream,
            half: self.half,
        });
        Some(stream)
    }

    fn write(&mut self, stream: StreamId, block: &mut Bytes) -> Result<(), Dead> {
        self.io
            .write_block(self.slot, stream, block)
            .map(|_| ())
            .map_err(|_| Dead)
    }

    fn finish(&mut self, stream: StreamId) {
        // Stopped meanwhile: then nobody waits for its end.
        let _ = self.io.finish(self.slot, stream);
    }

    fn reset(&mut self, stream: StreamId) {
        self.io.reset(self.slot, stream, GIVEN_UP);
        self.streams.retain(|bulk| bulk.stream != stream);
    }

    fn stop(&mut self, stream: StreamId) {
        self.io.stop(self.slot, stream, GIVEN_UP);
        self.streams.retain(|bulk| bulk.stream != stream);
    }

    fn control(&mut self, message: &[u8]) {
        self.control.tail().extend_from_slice(message);
    }
}

type Serving = bulk::Server<StreamId>;
type Using = bulk::Client<StreamId>;

impl Endpoint {
    /// Begins a bulk transfer of up to [`MAX_TRANSFER_BYTES`](bulk::MAX_TRANSFER_BYTES) (longer ones are
    /// [`split`](bulk::split)). Returns its number, to cancel it by. Progress and end come with the completions.
    ///
    /// # Errors
    /// [`CallError`]: nothing was begun.
    pub fn transfer(&mut self, io: &mut Io<'_>, transfer: Transfer) -> Result<u64, CallError> {
        let now = io.now();
        let remote = self
            .remotes
            .get(transfer.remote)
            .ok_or(CallError::UnknownRemote)?;
        let at = remote.client;
        let Some(link) = self.clients.get(at as usize) else {
            return Err(CallError::Replicated {
                reason: "bulk transfers are not for replicated regions: at most 64 KiB an operation",
            });
        };
        let Imported {
            rights,
            length,
            compression,
        } = link
            .client
            .allows(remote.handle)
            .ok_or(CallError::Submit(SubmitError::UnknownHandle))?;
        let needed = if transfer.is_write {
            Rights::WRITE
        } else {
            Rights::READ
        };
        if !rights.contains(needed) {
            return Err(CallError::Submit(SubmitError::Rights {
                needed,
                granted: rights,
            }));
        }
        check_range(transfer.offset, transfer.memory.length, length)
            .map_err(|error| CallError::Submit(SubmitError::Access(error)))?;
        if transfer.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(CallError::Submit(SubmitError::DeadlinePast));
        }
        if self.queues.is_full(transfer.token) {
            return Err(CallError::Undrained {
                limit: super::MAX_UNDRAINED,
            });
        }
        self.begin_transfers(io, at, true);
        let request = Request {
            handle: remote.handle,
            offset: transfer.offset,
            memory: Access {
                compression,
                ..transfer.memory
            },
            options: Options {
                compress: transfer.options.compress && compression != Compression::None,
                ..transfer.options
            },
            deadline: transfer.deadline,
        };
        let is_write = transfer.is_write;
        let slot = self.clients[at as usize].slot;
        let speed = slot.and_then(|slot| path_speed(io, slot));
        let id = self
            .use_transfers(io, at, |client, wire| {
                client.streams().set_path_speed(speed);
                if is_write {
                    client.write(wire, request, now)
                } else {
                    client.read(wire, request)
                }
            })
            .map_err(CallError::Transfer)?;
        self.clients[at as usize]
            .transfer_tokens
            .insert(id, transfer.token);
        if let Some(deadline) = transfer.deadline {
            self.due(deadline);
        }
        self.report_transfers(at);
        Ok(id)
    }

    /// Gives up the transfer that [`transfer`](Self::transfer) numbered `id`; see [`bulk::Client`] for when it ends. False if
    /// the import is gone.
    pub fn cancel_transfer(&mut self, io: &mut Io<'_>, remote: RemoteId, id: u64) -> bool {
        let Some(remote) = self.remotes.get(remote) else {
            return false;
        };
        if remote.client == super::replicas::REPLICATED {
            return false;
        }
        self.use_transfers(io, remote.client, |client, wire| client.cancel(wire, id));
        self.report_transfers(remote.client);
        true
    }

    /// Opens the control stream of transfers when the session and its grants stand and there is something to transfer.
    pub(super) fn begin_transfers(&mut self, io: &mut Io<'_>, at: u32, now_needed: bool) {
        let link = &mut self.clients[at as usize];
        if !link.transfers.is_busy() {
            // Nothing ran in an earlier session that could have been lost with it.
            link.transfers_session = None;
        }
        let Some(slot) = link.slot.filter(|_| link.client.is_ready()) else {
            return;
        };
        if !now_needed && !link.transfers.is_busy() {
            return;
        }
        let Some(side) = self.peers.get(slot).and_then(|peer| peer.client.as_mut()) else {
            return;
        };
        if side.transfers.is_some() {
            return;
        }
        // Without a place for a stream, `streams_available` comes here again.
        let Ok(stream) = io.open(slot, TRANSFERS, Direction::Bidirectional, PRIORITY) else {
            return;
        };
        side.transfers = Some(TransferControl::new(stream));
        let session = link.client.incarnation();
        let resumed = link.transfers_session.is_none() || link.transfers_session == session;
        link.transfers_session = session;
        self.use_transfers(io, at, |client, wire| {
            if let Some(wire) = wire {
                client.connected(wire, resumed);
            }
        });
        self.report_transfers(at);
    }

    /// Calls `with` with a link's transfers and, if it has a connection for them, that; then sends what was said.
    fn use_transfers<R>(
        &mut self,
        io: &mut Io<'_>,
        at: u32,
        with: impl FnOnce(&mut Using, Option<&mut PeerWire<'_, '_>>) -> R,
    ) -> R {
        let link = &mut self.clients[at as usize];
        let peer = link.slot.and_then(|slot| self.peers.get(slot));
        let connection = peer.and_then(|peer| {
            let control = peer.client.as_mut()?.transfers.as_mut()?;
            Some((peer.slot, control, &mut peer.bulk))
        });
        let Some((slot, control, streams)) = connection else {
            return with(&mut link.transfers, None);
        };
        let TransferControl { stream, output, .. } = control;
        let mut wire = PeerWire {
            io,
            slot,
            half: Half::Client,
            control: output,
            streams,
        };
        let result = with(&mut link.transfers, Some(&mut wire));
        // The engine tells of a stream that takes nothing more by itself.
        let _ = send(io, slot, *stream, output);
        result
    }

    /// Calls `with` with the transfers of the session that the peer holds; then sends what was said. `None` without one.
    fn serve_transfers<R>(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        with: impl FnOnce(&mut Serving, &mut PeerWire<'_, '_>, Grants<'_>) -> R,
    ) -> Option<R> {
        let peer = self.peers.get(slot)?;
        let server = peer.server.as_mut()?;
        let control = server.transfers.as_mut()?;
        let session = self.sessions.get(server.connection.key()?)?;
        let Session {
            transfers, handles, ..
        } = session;
        let handles = &*handles;
        let transfers = transfers.get_or_insert_with(|| Box::new(bulk::Server::new(Instant::now)));
        let mut wire = PeerWire {
            io,
            slot,
            half: Half::Server,
            control: &mut control.output,
            streams: &mut peer.bulk,
        };
        let result = with(transfers, &mut wire, &|handle| handles.get(handle).cloned());
        // As above.
        let _ = send(io, slot, control.stream, &mut control.output);
        if control.output.len() > MAX_CONTROL_OUTPUT {
            io.close(slot, CLOSE_PROTOCOL);
        }
        Some(result)
    }

    /// The peer opened a stream of the transfers.
    pub(super) fn transfers_opened(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        stream: StreamId,
        kind: u8,
    ) -> Reading {
        let Some(peer) = self.peers.get(slot) else {
            return Reading::Refuse;
        };
        let (half, plain) = match kind {
            TRANSFERS => {
                let Some(server) = &mut peer.server else {
                    return Reading::Refuse;
                };
                if server.transfers.is_some() || !stream.is_bidirectional() {
                    return Reading::Refuse;
                }
                server.transfers = Some(TransferControl::new(stream));
                // Streams of an earlier connection of the session are gone for it.
                let served = self.serve_transfers(io, slot, |server, _, _| server.disconnected());
                return if served.is_some() {
                    Reading::Ordered
                } else {
                    Reading::Refuse
                };
            }
            TO_SERVER_PLAIN => (Half::Server, true),
            TO_SERVER_BLOCKS => (Half::Server, false),
            TO_CLIENT_PLAIN => (Half::Client, true),
            _ => (Half::Client, false),
        };
        let stream_kind = if plain {
            StreamKind::Plain
        } else {
            StreamKind::Blocks
        };
        let known = match half {
            Half::Server => self
                .serve_transfers(io, slot, |server, _, _| {
                    server.streams().opened(stream, stream_kind);
                })
                .is_some(),
            Half::Client => match peer.client.as_ref().map(|side| side.client) {
                Some(at) => {
                    self.clients[at as usize]
                        .transfers
                        .streams()
                        .opened(stream, stream_kind);
                    true
                }
                None => false,
            },
        };
        if !known {
            return Reading::Refuse;
        }
        if let Some(peer) = self.peers.get(slot) {
            peer.bulk.push(BulkStream { stream, half });
        }
        if plain {
            Reading::Unordered
        } else {
            Reading::Ordered
        }
    }

    /// Bytes of a transfer's stream.
    pub(super) fn transfers_received(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        half: Half,
        stream: StreamId,
        offset: u64,
        bytes: Bytes,
    ) {
        let now = io.now();
        match half {
            Half::Server => {
                self.serve_transfers(io, slot, |server, wire, grants| {
                    server.received(wire, stream, offset, bytes, grants, now);
                });
            }
            Half::Client => self.with_link_of(io, slot, |client, wire| {
                client.received(wire, stream, offset, bytes, now);
            }),
        }
    }

    /// Messages about transfers. False if the peer broke the protocol.
    pub(super) fn transfers_said(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        half: Half,
        mut bytes: &[u8],
    ) -> bool {
        let now = io.now();
        let speed = path_speed(io, slot);
        let mut reader = match self.control_of(slot, half) {
            Some(control) => std::mem::take(&mut control.reader),
            None => return true,
        };
        let result = loop {
            let message = match reader.next(&mut bytes) {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(malformed),
            };
            let mut result: Result<(), Malformed> = Ok(());
            match half {
                Half::Server => {
                    let served = self.serve_transfers(io, slot, |server, wire, grants| {
                        server.streams().set_path_speed(speed);
                        server.message(wire, message, grants, now)
                    });
                    result = served.unwrap_or(Ok(()));
                }
                Half::Client => self.with_link_of(io, slot, |client, wire| {
                    result = client.message(wire, message, now);
                }),
            }
            if result.is_err() {
                break result;
            }
        };
        if let Some(control) = self.control_of(slot, half) {
            control.reader = reader;
        }
        result.is_ok()
    }

    /// A stream that the peer opened is finished or given up, or the peer wants no more of one of ours.
    pub(super) fn transfers_ended(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        half: Half,
        stream: StreamId,
        end: StreamEnd,
    ) {
        if let Some(peer) = self.peers.get(slot) {
            peer.bulk.retain(|bulk| bulk.stream != stream);
        }
        match (half, end) {
            (_, StreamEnd::Delivered) => {}
            (Half::Server, StreamEnd::Finished) => {
                self.serve_transfers(io, slot, |server, wire, _| server.finished(wire, stream));
            }
            (Half::Server, StreamEnd::Reset) => {
                self.serve_transfers(io, slot, |server, _, _| server.streams().reset(stream));
            }
            (Half::Server, StreamEnd::Stopped) => {
                self.serve_transfers(io, slot, |server, _, _| server.streams().stopped(stream));
            }
            (Half::Client, StreamEnd::Finished) => {
                self.with_link_of(io, slot, |client, wire| client.finished(wire, stream));
            }
            (Half::Client, StreamEnd::Reset) => {
                self.with_link_of(io, slot, |client, _| client.streams().reset(stream));
            }
            (Half::Client, StreamEnd::Stopped) => {
                self.with_link_of(io, slot, |client, _| client.streams().stopped(stream));
            }
        }
    }

    /// A stream of ours takes bytes again; `None`: more streams may be opened, or the control stream takes bytes again.
    pub(super) fn transfers_writable(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        half: Half,
        stream: Option<StreamId>,
    ) {
        let now = io.now();
        match (half, stream) {
            (Half::Server, Some(stream)) => {
                self.serve_transfers(io, slot, |server, wire, _| {
                    server.writable(wire, stream, now);
                });
            }
            (Half::Server, None) => {
                self.serve_transfers(io, slot, |server, wire, _| server.retry(wire, now));
            }
            (Half::Client, Some(stream)) => {
                self.with_link_of(io, slot, |client, wire| client.writable(wire, stream, now));
            }
            (Half::Client, None) => {
                self.with_link_of(io, slot, |client, wire| client.retry(wire, now));
            }
        }
    }

    /// The server half of a connection is going: its session's transfers wait for the next.
    pub(super) fn transfers_detached(
        sessions: &mut crate::session::Sessions,
        server: &super::peers::ServerSide,
    ) {
        // None if another connection holds the session already: then its streams are not these.
        let session = server.connection.key().and_then(|key| sessions.get(key));
        if let Some(transfers) = session.and_then(|session| session.transfers.as_mut()) {
            transfers.disconnected();
        }
    }

    /// Ends transfers whose deadline has come.
    pub(super) fn expire_transfers(&mut self, io: &mut Io<'_>, at: u32) {
        let now = io.now();
        if self.clients[at as usize]
            .transfers
            .deadline()
            .is_some_and(|due| due <= now)
        {
            self.use_transfers(io, at, |client, wire| client.expire(wire, now));
            self.report_transfers(at);
        }
        if let Some(due) = self.clients[at as usize].transfers.deadline() {
            self.due(due);
        }
    }

    /// The node is given up: its transfers are over.
    pub(super) fn close_transfers(&mut self, io: &mut Io<'_>, at: u32) {
        #[allow(
            clippy::redundant_closure_for_method_calls,
            reason = "the path is not general enough over the wire's lifetimes"
        )]
        self.use_transfers(io, at, |client, wire| client.close(wire));
        self.report_transfers(at);
    }

    fn with_link_of(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        with: impl FnOnce(&mut Using, &mut PeerWire<'_, '_>),
    ) {
        let side = self.peers.get(slot).and_then(|peer| peer.client.as_ref());
        let Some(at) = side.map(|side| side.client) else {
            return;
        };
        self.use_transfers(io, at, |client, wire| {
            if let Some(wire) = wire {
                with(client, wire);
            }
        });
        self.report_transfers(at);
    }

    fn control_of(&mut self, slot: PeerSlot, half: Half) -> Option<&mut TransferControl> {
        let peer = self.peers.get(slot)?;
        match half {
            Half::Server => peer.server.as_mut()?.transfers.as_mut(),
            Half::Client => peer.client.as_mut()?.transfers.as_mut(),
        }
    }

    /// Puts what happened to a link's transfers into the queues of their threads.
    fn report_transfers(&mut self, at: u32) {
        let link = &mut self.clients[at as usize];
        while let Some(event) = link.transfers.poll_event() {
            match event {
                Event::Progress { id, moved, total } => {
                    if let Some(token) = link.transfer_tokens.get(&id) {
                        self.queues.progress(*token, moved, total);
                    }
                }
                Event::Finished { id, result } => {
                    if let Some(token) = link.transfer_tokens.remove(&id) {
                        self.queues.transferred(token, result);
                    }
                }
            }
        }
    }
}

/// How a stream of a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The peer finished it, all of it was handed over.
    Finished,
    /// The peer gave it up.
    Reset,
    /// The peer wants no more of ours.
    Stopped,
    /// Ours is through.
    Delivered,
}

/// Bytes a second that the path carries, as far as congestion control knows.
fn path_speed(io: &Io<'_>, slot: PeerSlot) -> Option<f64> {
    let stats = io.stats(slot)?;
    let seconds = stats.rtt.as_secs_f64();
    (seconds > 0.0).then(|| stats.cwnd as f64 / seconds)
}
