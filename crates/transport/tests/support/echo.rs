//! An application that sends numbered bytes, has them echoed, and checks each one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use linkmesh_transport::core::{
    Application, CloseReason, Direction, Io, NodeId, PeerInfo, PeerSlot, Reading, StreamId,
    TargetId,
};

/// Bytes are sent back.
pub const ECHO: u8 = 1;
/// Bytes are placed where they belong, unordered.
pub const BULK: u8 = 2;

/// The byte at a position of every stream.
pub fn pattern(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Connected(PeerSlot, [u8; 16]),
    Disconnected(PeerSlot, CloseReason),
    Unreachable(TargetId, CloseReason, Option<Duration>),
    Finished(StreamId),
    Delivered(StreamId),
    Stopped(StreamId, u64),
    Reset(StreamId, u64),
    Closing,
    StreamsAvailable,
    /// Of the nodes that this one has met, those on the new list.
    Revoked(Vec<NodeId>),
}

#[derive(Debug, Default)]
struct Sending {
    total: u64,
    sent: u64,
    echoed: u64,
}

/// Both ends: echoes what comes with `ECHO`, collects `BULK`, and sends what the test asks it to.
#[derive(Debug, Default)]
pub struct Echo {
    pub events: Vec<Event>,
    sending: HashMap<(PeerSlot, StreamId), Sending>,
    /// What is to be sent back, and whether the peer has finished.
    echoing: HashMap<(PeerSlot, StreamId), (Vec<u8>, bool)>,
    /// Bytes of bulk streams: which have come.
    pub bulk: HashMap<(PeerSlot, StreamId), Vec<bool>>,
    pub received: u64,
    /// Say a last word of so many bytes when closing.
    pub last_words: usize,
    /// Pause echo streams at their first bytes.
    pub pause: bool,
    pub paused: Vec<(PeerSlot, StreamId)>,
    /// Echoes that other threads ask for.
    pub queue: Arc<Mutex<Vec<u64>>>,
    met: Vec<NodeId>,
}

impl Echo {
    pub fn peers(&self) -> Vec<PeerSlot> {
        let mut peers = Vec::new();
        for event in &self.events {
            match event {
                Event::Connected(peer, _) => peers.push(*peer),
                Event::Disconnected(peer, _) => peers.retain(|known| known != peer),
                _ => {}
            }
        }
        peers
    }

    pub fn disconnects(&self) -> Vec<CloseReason> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Disconnected(_, reason) => Some(reason.clone()),
                _ => None,
            })
            .collect()
    }

    /// Opens a stream and sends `total` bytes on it as the window allows.
    pub fn send(&mut self, io: &mut Io<'_>, peer: PeerSlot, kind: u8, total: u64) -> StreamId {
        let direction = if kind == ECHO {
            Direction::Bidirectional
        } else {
            Direction::Unidirectional
        };
        let stream = io.open(peer, kind, direction, 0).expect("a stream");
        self.sending.insert(
            (peer, stream),
            Sending {
                total,
                ..Sending::default()
            },
        );
        self.pump(io, peer, stream);
        stream
    }

    fn pump(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        if let Some(sending) = self.sending.get_mut(&(peer, stream)) {
            while sending.sent < sending.total {
                let end = sending.total.min(sending.sent + 10_000);
                let bytes: Vec<u8> = (sending.sent..end).map(pattern).collect();
                // Closed: this side is leaving, and what was taken before is delivered.
                let Ok(taken) = io.write(peer, stream, &bytes) else {
                    return;
                };
                sending.sent += taken as u64;
                if taken < bytes.len() {
                    return;
                }
                if sending.sent == sending.total {
                    io.finish(peer, stream).expect("an open stream");
                }
            }
        }
        if let Some((waiting, ended)) = self.echoing.get_mut(&(peer, stream)) {
            let taken = io.write(peer, stream, waiting).unwrap_or(0);
            waiting.drain(..taken);
            if *ended && waiting.is_empty() {
                // Closed already when this side is leaving.
                let _ = io.finish(peer, stream);
                self.echoing.remove(&(peer, stream));
            }
        }
    }

    /// Whether every echo has come back whole.
    pub fn is_done(&self) -> bool {
        self.sending
            .values()
            .all(|sending| sending.sent == sending.total && sending.echoed == sending.total)
    }

    /// Bytes that have come back.
    pub fn received_back(&self) -> u64 {
        self.sending.values().map(|sending| sending.echoed).sum()
    }

    /// Bytes that the engine has taken.
    pub fn sent(&self) -> u64 {
        self.sending.values().map(|sending| sending.sent).sum()
    }

    /// Whether everything was handed to the network.
    pub fn is_sent(&self) -> bool {
        self.sending
            .values()
            .all(|sending| sending.sent == sending.total)
    }

    pub fn forget_streams(&mut self) {
        self.sending.clear();
    }
}

impl Application for Echo {
    fn poll(&mut self, io: &mut Io<'_>) {
        let asked = std::mem::take(&mut *self.queue.lock().unwrap());
        for bytes in asked {
            let peer = self.peers()[0];
            self.send(io, peer, ECHO, bytes);
        }
    }

    fn before_sleep(&mut self) -> bool {
        self.queue.lock().unwrap().is_empty()
    }

    fn connected(&mut self, _: &mut Io<'_>, peer: PeerSlot, info: &PeerInfo) {
        self.met.push(info.identity.node_id);
        self.events
            .push(Event::Connected(peer, info.identity.boot_epoch));
    }

    fn revocations_changed(&mut self, _: &mut Io<'_>, is_revoked: &dyn Fn(&NodeId) -> bool) {
        let revoked = self.met.iter().filter(|node| is_revoked(node));
        self.events.push(Event::Revoked(revoked.copied().collect()));
    }

    fn disconnected(&mut self, io: &mut Io<'_>, peer: PeerSlot, reason: &CloseReason) {
        assert!(
            io.info(peer).is_none(),
            "a peer that is gone is not known any more"
        );
        self.events.push(Event::Disconnected(peer, reason.clone()));
        self.sending.retain(|(of, _), _| *of != peer);
        self.echoing.retain(|(of, _), _| *of != peer);
    }

    fn opened(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId, kind: u8) -> Reading {
        match kind {
            ECHO => {
                self.echoing.insert((peer, stream), (Vec::new(), false));
                if self.pause {
                    io.pause(peer, stream);
                    self.paused.push((peer, stream));
                }
                Reading::Ordered
            }
            BULK => Reading::Unordered,
            _ => Reading::Refuse,
        }
    }

    fn received(&mut self, _: &mut Io<'_>, peer: PeerSlot, stream: StreamId, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        if let Some((waiting, _)) = self.echoing.get_mut(&(peer, stream)) {
            waiting.extend_from_slice(bytes);
            return;
        }
        let Some(sending) = self.sending.get_mut(&(peer, stream)) else {
            return;
        };
        for &byte in bytes {
            assert_eq!(
                byte,
                pattern(sending.echoed),
                "byte {} of {stream:?}",
                sending.echoed
            );
            sending.echoed += 1;
        }
        assert!(
            sending.echoed <= sending.sent,
            "more came back than was sent"
        );
    }

    fn received_at(
        &mut self,
        _: &mut Io<'_>,
        peer: PeerSlot,
        stream: StreamId,
        offset: u64,
        bytes: Bytes,
    ) {
        self.received += bytes.len() as u64;
        let placed = self.bulk.entry((peer, stream)).or_default();
        let end = offset as usize + bytes.len();
        if placed.len() < end {
            placed.resize(end, false);
        }
        for (position, &byte) in (offset..).zip(bytes.iter()) {
            assert_eq!(byte, pattern(position), "byte {position} of {stream:?}");
            assert!(
                !std::mem::replace(&mut placed[position as usize], true),
                "byte {position} came twice"
            );
        }
    }

    fn finished(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        self.events.push(Event::Finished(stream));
        if let Some((_, ended)) = self.echoing.get_mut(&(peer, stream)) {
            *ended = true;
            self.pump(io, peer, stream);
        }
    }

    fn reset(&mut self, _: &mut Io<'_>, _: PeerSlot, stream: StreamId, code: u64) {
        self.events.push(Event::Reset(stream, code));
    }

    fn stopped(&mut self, _: &mut Io<'_>, peer: PeerSlot, stream: StreamId, code: u64) {
        self.sending.remove(&(peer, stream));
        self.events.push(Event::Stopped(stream, code));
    }

    fn delivered(&mut self, _: &mut Io<'_>, _: PeerSlot, stream: StreamId) {
        self.events.push(Event::Delivered(stream));
    }

    fn writable(&mut self, io: &mut Io<'_>, peer: PeerSlot, stream: StreamId) {
        self.pump(io, peer, stream);
    }

    fn streams_available(&mut self, _: &mut Io<'_>, _: PeerSlot) {
        self.events.push(Event::StreamsAvailable);
    }

    fn settled(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        let streams: Vec<_> = self
            .echoing
            .keys()
            .filter(|(of, _)| *of == peer)
            .map(|(_, stream)| *stream)
            .collect();
        for stream in streams {
            self.pump(io, peer, stream);
        }
    }

    fn unreachable(
        &mut self,
        _: &mut Io<'_>,
        target: TargetId,
        reason: &CloseReason,
        retry_in: Option<Duration>,
    ) {
        self.events
            .push(Event::Unreachable(target, reason.clone(), retry_in));
    }

    fn closing(&mut self, io: &mut Io<'_>, peer: PeerSlot) {
        self.events.push(Event::Closing);
        if self.last_words > 0 {
            let stream = io
                .open(peer, BULK, Direction::Unidirectional, 0)
                .expect("a stream");
            let bytes: Vec<u8> = (0..self.last_words as u64).map(pattern).collect();
            assert_eq!(io.write(peer, stream, &bytes), Ok(bytes.len()));
        }
    }
}
