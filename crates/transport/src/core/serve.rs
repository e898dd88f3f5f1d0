//! Telling the application what the packets of a turn have brought.

use std::time::Instant;

use quinn_proto::{ConnectionError, Dir, Event, ReadError, StreamEvent};

use super::Core;
use super::application::{Application, Reading};
use super::close::CloseReason;
use super::io::Io;
use super::link::{Link, Phase};
use super::notices::OWN_KINDS;
use super::peer::{PeerSlot, StreamId};

/// Bytes taken from a stream before the application is asked again whether it wants more.
const READ_BATCH: usize = 64 * 1024;
/// The code of a stream whose kind the application refuses.
pub(super) const REFUSED_KIND: u64 = 1;

fn reason(error: ConnectionError) -> CloseReason {
    match error {
        ConnectionError::TimedOut => CloseReason::TimedOut,
        ConnectionError::Reset => CloseReason::Reset,
        ConnectionError::ApplicationClosed(close) => {
            CloseReason::Peer(close.error_code.into_inner())
        }
        ConnectionError::LocallyClosed => CloseReason::Closing,
        other => CloseReason::Transport(other.to_string()),
    }
}

/// What taking bytes off a stream came to.
enum Taken {
    More,
    Dry,
    Finished,
    Reset(u64),
}

impl Link {
    /// When this connection wants to be looked at.
    pub(super) fn due(&mut self) -> Option<Instant> {
        [self.connection.poll_timeout(), self.give_up_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes the kind byte off a stream that the peer opened.
    fn take_kind(&mut self, stream: StreamId) -> Result<u8, Taken> {
        let mut stream = self.connection.recv_stream(stream.proto());
        let Ok(mut chunks) = stream.read(true) else {
            return Err(Taken::Dry);
        };
        let taken = match chunks.next(1) {
            Ok(Some(chunk)) => Ok(chunk.bytes[0]),
            Ok(None) => Err(Taken::Finished),
            Err(ReadError::Blocked) => Err(Taken::Dry),
            Err(ReadError::Reset(code)) => Err(Taken::Reset(code.into_inner())),
        };
        let _ = chunks.finalize();
        taken
    }

    /// Moves up to a batch of chunks from a stream to `out`.
    fn take(
        &mut self,
        stream: StreamId,
        ordered: bool,
        out: &mut Vec<(u64, bytes::Bytes)>,
    ) -> Taken {
        let mut stream = self.connection.recv_stream(stream.proto());
        let Ok(mut chunks) = stream.read(ordered) else {
            return Taken::Dry;
        };
        let mut room = READ_BATCH;
        let taken = loop {
            match chunks.next(room) {
                Ok(Some(chunk)) => {
                    room -= chunk.bytes.len();
                    out.push((chunk.offset, chunk.bytes));
                    if room == 0 {
                        break Taken::More;
                    }
                }
                Ok(None) => break Taken::Finished,
                Err(ReadError::Blocked) => break Taken::Dry,
                Err(ReadError::Reset(code)) => break Taken::Reset(code.into_inner()),
            }
        };
        // What it would have sent is sent anyway: the link is served in this turn.
        let _ = chunks.finalize();
        taken
    }
}

impl Core {
    /// Tells the application everything that has happened since the last call. `transmit` follows.
    pub fn settle<A: Application>(&mut self, now: Instant, application: &mut A) {
        for slot in std::mem::take(&mut self.resumed) {
            self.read_resumed(now, slot, application);
        }
        let mut position = 0;
        while let Some(index) = self.links.dirty(position) {
            position += 1;
            self.serve(now, index, application);
        }
        if !self.reports.is_empty() {
            self.report(now, application);
        }
    }

    fn read_resumed<A: Application>(&mut self, now: Instant, slot: PeerSlot, application: &mut A) {
        let Some(link) = self.links.touch(slot) else {
            return;
        };
        link.resumed = false;
        let streams: Vec<StreamId> = link
            .streams
            .iter()
            .filter(|state| state.receiving && !state.paused)
            .map(|state| state.id)
            .collect();
        for stream in streams {
            self.read(now, slot, stream, application);
        }
        application.settled(&mut Io::new(now, self), slot);
    }

    fn serve<A: Application>(&mut self, now: Instant, index: u32, application: &mut A) {
        let Some(link) = self.links.at(index) else {
            return;
        };
        let slot = link.slot;
        let mut delivered = false;
        let mut readable = std::mem::take(&mut self.readable);
        while let Some(event) = self.links.at(index).and_then(|link| link.connection.poll()) {
            match event {
                Event::Stream(StreamEvent::Readable { id }) => {
                    let id = StreamId::from(id);
                    if !readable.contains(&id) {
                        readable.push(id);
                    }
                }
                Event::Stream(event) => {
                    delivered |= self.stream_event(now, slot, &event, &mut readable, application);
                }
                Event::Connected => self.handshake_done(now, slot),
                Event::ConnectionLost { reason: error } => {
                    if let Some(link) = self.links.at(index)
                        && link.reason.is_none()
                    {
                        link.reason = Some(reason(error));
                    }
                }
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {
                }
            }
        }
        for stream in readable.drain(..) {
            let Some(link) = self.links.at(index) else {
                break;
            };
            if link.control.stream == Some(stream) {
                self.control_readable(now, slot);
            } else if link.info.is_some() {
                delivered |= self.read(now, slot, stream, application);
            }
        }
        self.readable = readable;
        if self.links.get(slot).is_some_and(Self::is_established) {
            self.establish(now, slot, application);
            delivered |= self.accept_streams(now, slot, application);
        }
        if delivered {
            application.settled(&mut Io::new(now, self), slot);
        }
        self.goodbyes(now, slot, application);
        self.endpoint_events(now, index, application);
    }

    /// Takes the streams that the peer has opened, and reads what they have.
    fn accept_streams<A: Application>(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        application: &mut A,
    ) -> bool {
        let mut delivered = false;
        for dir in [Dir::Bi, Dir::Uni] {
            loop {
                let Some(link) = self.links.get_mut(slot) else {
                    return delivered;
                };
                if link.info.is_none() {
                    return delivered;
                }
                let Some(stream) = link.connection.streams().accept(dir) else {
                    break;
                };
                link.accept(stream.into());
                delivered |= self.read(now, slot, stream.into(), application);
            }
        }
        delivered
    }

    fn stream_event<A: Application>(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        event: &StreamEvent,
        readable: &mut Vec<StreamId>,
        application: &mut A,
    ) -> bool {
        let Some(link) = self.links.get_mut(slot) else {
            return false;
        };
        let known = link.info.is_some();
        let control = link.control.stream;
        match *event {
            StreamEvent::Opened { .. } => {
                self.accept_control(now, slot);
                return self.accept_streams(now, slot, application);
            }
            StreamEvent::Writable { id } if control == Some(id.into()) => link.flush_control(),
            StreamEvent::Writable { id } | StreamEvent::Stopped { id, .. }
                if link.stream_mut(id.into()).is_some_and(|state| state.own) =>
            {
                link.go_on_with_notices();
            }
            StreamEvent::Writable { id } if known => {
                application.writable(&mut Io::new(now, self), slot, id.into());
                return true;
            }
            StreamEvent::Finished { id } if known && control != Some(id.into()) => {
                application.delivered(&mut Io::new(now, self), slot, id.into());
                return true;
            }
            StreamEvent::Stopped { id, error_code } if known && control != Some(id.into()) => {
                // RFC 9000 §3.5: a stopped stream is answered by a reset.
                let _ = link.connection.send_stream(id).reset(error_code);
                link.end(id.into(), true);
                application.stopped(
                    &mut Io::new(now, self),
                    slot,
                    id.into(),
                    error_code.into_inner(),
                );
                return true;
            }
            StreamEvent::Available { .. } if known => {
                link.go_on_with_notices();
                application.streams_available(&mut Io::new(now, self), slot);
                return true;
            }
            StreamEvent::Readable { id } => readable.push(id.into()),
            _ => {}
        }
        false
    }

    /// Hands over what a stream has. Whether the application was told anything.
    fn read<A: Application>(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        stream: StreamId,
        application: &mut A,
    ) -> bool {
        let mut told = false;
        loop {
            let Some(link) = self.links.get_mut(slot) else {
                return told;
            };
            let Some(state) = link.stream_mut(stream) else {
                return told;
            };
            if !state.receiving || state.paused {
                return told;
            }
            if !state.announced {
                told |= match link.take_kind(stream) {
                    Ok(kind) => self.announce(now, slot, stream, kind, application),
                    Err(Taken::Dry) => return told,
                    // It ended before it said what it is: nobody has heard of it.
                    Err(_) => {
                        link.end(stream, false);
                        link.reset(stream, REFUSED_KIND);
                        return told;
                    }
                };
                continue;
            }
            let ordered = state.reading == Reading::Ordered;
            let own = state.own;
            // The peer's streams carry the kind byte in front of what the application counts.
            let skipped = u64::from(stream.0 & 1 != link.own_bit());
            let mut chunks = std::mem::take(&mut self.chunks);
            let taken = link.take(stream, ordered, &mut chunks);
            for (offset, bytes) in chunks.drain(..) {
                let wanted =
                    |link: &mut Link| link.stream_mut(stream).is_some_and(|state| state.receiving);
                // The application may have closed the peer or stopped the stream in the call before.
                if !self.links.get_mut(slot).is_some_and(wanted) {
                    break;
                }
                if own {
                    self.own_received(slot, stream, &bytes);
                    continue;
                }
                told = true;
                let mut io = Io::new(now, self);
                if ordered {
                    application.received(&mut io, slot, stream, &bytes);
                } else {
                    application.received_at(&mut io, slot, stream, offset - skipped, bytes);
                }
            }
            chunks.clear();
            self.chunks = chunks;
            match taken {
                Taken::More => {}
                Taken::Dry => return told,
                Taken::Finished | Taken::Reset(_) => {
                    let Some(link) = self.links.get_mut(slot) else {
                        return told;
                    };
                    if !link.stream_mut(stream).is_some_and(|state| state.receiving) {
                        return told;
                    }
                    link.end(stream, false);
                    if own {
                        self.own_ended(slot, stream, matches!(taken, Taken::Finished));
                        return told;
                    }
                    let mut io = Io::new(now, self);
                    match taken {
                        Taken::Reset(code) => application.reset(&mut io, slot, stream, code),
                        _ => application.finished(&mut io, slot, stream),
                    }
                    return true;
                }
            }
        }
    }

    fn announce<A: Application>(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        stream: StreamId,
        kind: u8,
        application: &mut A,
    ) -> bool {
        let own = kind >= OWN_KINDS;
        let reading = if !own {
            application.opened(&mut Io::new(now, self), slot, stream, kind)
        } else if self.own_opened(slot, stream, kind) {
            Reading::Ordered
        } else {
            Reading::Refuse
        };
        let Some(link) = self.links.touch(slot) else {
            return true;
        };
        if let Some(state) = link.stream_mut(stream) {
            state.announced = true;
            state.reading = reading;
            state.own = own;
        }
        if reading == Reading::Refuse {
            link.stop(stream, REFUSED_KIND);
            link.reset(stream, REFUSED_KIND);
        }
        !own
    }

    /// Passes on what quinn-proto's halves have to tell each other, and clears away a connection that is over.
    fn endpoint_events<A: Application>(&mut self, now: Instant, index: u32, application: &mut A) {
        let Some(link) = self.links.at(index) else {
            return;
        };
        let (slot, handle) = (link.slot, link.handle);
        let mut drained = link.connection.is_drained();
        while let Some(event) = self
            .links
            .at(index)
            .and_then(|link| link.connection.poll_endpoint_events())
        {
            drained |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(handle, event)
                && let Some(link) = self.links.at(index)
            {
                link.connection.handle_event(event);
            }
        }
        let Some(link) = self.links.at(index) else {
            return;
        };
        if link.connection.is_closed() && link.phase != Phase::Closed {
            self.closed(now, slot, application);
        }
        if drained {
            self.links.remove(index);
        }
    }

    /// A connection has closed: everybody is told, and what it held is given back.
    fn closed<A: Application>(&mut self, now: Instant, slot: PeerSlot, application: &mut A) {
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        let before = std::mem::replace(&mut link.phase, Phase::Closed);
        link.give_up_at = None;
        link.streams = Vec::new();
        link.channel = None;
        self.drop_notices(slot);
        let Some(link) = self.links.get_mut(slot) else {
            return;
        };
        let reason = link.reason.clone().unwrap_or(CloseReason::Closing);
        let (side, source) = (link.side, link.source);
        let (target, info) = (link.target, link.info.take());
        let address = link.connection.remote_address();
        if let Some(identity) = link.identity.take() {
            self.per_node.leave(&identity.node_id);
        }
        if matches!(before, Phase::Handshake | Phase::Proving | Phase::Joining) {
            self.leave_handshake(side, source);
            if before != Phase::Joining {
                self.stats.failed += 1;
            }
            if let Some(target) = target {
                self.dial_failed(now, target, reason);
            }
            return;
        }
        if info.is_some() {
            self.stats.peers -= 1;
            if let Some(target) = target {
                let silent = (reason == CloseReason::TimedOut).then_some(address);
                self.target_lost(now, target, silent);
            }
            application.disconnected(&mut Io::new(now, self), slot, &reason);
        }
    }
}

impl Link {
    /// The lowest bit of the ids of streams that this side opens (RFC 9000 §2.1).
    fn own_bit(&self) -> u64 {
        match self.side {
            super::authenticator::Side::Client => 0,
            super::authenticator::Side::Server => 1,
        }
    }
}
