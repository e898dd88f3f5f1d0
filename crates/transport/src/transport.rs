//! Byte streams to one peer, whatever carries them.
//!
//! The engine is driven by callbacks and turns. Tests and benches that compare it with another implementation want the plain
//! question (these bytes there, those bytes back), asked of both in the same words. This is that question. Nothing on the hot
//! path of the product goes through it.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::core::{
    Application, CloseReason, Direction, Io, PeerInfo, PeerSlot, Reading, StreamError, StreamId,
    Target, TargetId,
};
use crate::engine::{Engine, EngineOptions, StartError};

/// Why a [`Transport`] could not do what was asked.
#[derive(Debug)]
pub enum TransportError {
    /// It could not start.
    Start(StartError),
    /// The peer could not be reached, or is gone.
    Peer(CloseReason),
    /// The stream does not do it.
    Stream(StreamError),
    /// It took too long.
    Timeout,
    /// Another implementation's words.
    Other(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(out),
            Self::Peer(reason) => reason.fmt(out),
            Self::Stream(error) => error.fmt(out),
            Self::Timeout => out.write_str("it took too long"),
            Self::Other(message) => out.write_str(message),
        }
    }
}

impl std::error::Error for TransportError {}

/// Streams to one peer, one call at a time. Every call waits until it is done or a time limit of the implementation ends it.
pub trait Transport {
    /// Opens a stream in both directions whose first byte is its kind.
    ///
    /// # Errors
    /// When the peer is gone or takes no further stream.
    fn open(&mut self, kind: u8) -> Result<u64, TransportError>;

    /// Sends all of these bytes.
    ///
    /// # Errors
    /// When the peer is gone or does not want them.
    fn send(&mut self, stream: u64, bytes: &[u8]) -> Result<(), TransportError>;

    /// Ends our direction.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn finish(&mut self, stream: u64) -> Result<(), TransportError>;

    /// Waits until so many bytes have come, or the peer has finished, and takes all that is there.
    ///
    /// # Errors
    /// When the peer is gone or abandons the stream.
    fn receive(&mut self, stream: u64, at_least: usize) -> Result<Vec<u8>, TransportError>;
}

/// How long any call waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has come on one stream.
#[derive(Debug, Default)]
struct Incoming {
    bytes: Vec<u8>,
    ended: bool,
    reset: Option<u64>,
}

/// The application of an [`EngineTransport`]: keeps what comes until it is asked for.
#[derive(Debug, Default)]
pub struct Collector {
    peer: Option<PeerSlot>,
    gone: Option<CloseReason>,
    streams: HashMap<StreamId, Incoming>,
    /// Moves whenever a window opens: a writer that was cut short tries again.
    windows: u64,
}

impl Collector {
    fn peer(&self) -> Result<PeerSlot, TransportError> {
        match (self.peer, &self.gone) {
            (Some(peer), _) => Ok(peer),
            (None, Some(reason)) => Err(TransportError::Peer(reason.clone())),
            (None, None) => Err(TransportError::Timeout),
        }
    }
}

impl Application for Collector {
    fn connected(&mut self, _: &mut Io<'_>, peer: PeerSlot, _: &PeerInfo) {
        self.peer = Some(peer);
    }

    fn disconnected(&mut self, _: &mut Io<'_>, _: PeerSlot, reason: &CloseReason) {
        self.peer = None;
        self.gone = Some(reason.clone());
    }

    fn opened(&mut self, _: &mut Io<'_>, _: PeerSlot, _: StreamId, _: u8) -> Reading {
        Reading::Refuse
    }

    fn received(&mut self, _: &mut Io<'_>, _: PeerSlot, stream: StreamId, bytes: &[u8]) {
        self.streams
            .entry(stream)
            .or_default()
            .bytes
            .extend_from_slice(bytes);
    }

    fn finished(&mut self, _: &mut Io<'_>, _: PeerSlot, stream: StreamId) {
        self.streams.entry(stream).or_default().ended = true;
    }

    fn reset(&mut self, _: &mut Io<'_>, _: PeerSlot, stream: StreamId, code: u64) {
        self.streams.entry(stream).or_default().reset = Some(code);
    }

    fn writable(&mut self, _: &mut Io<'_>, _: PeerSlot, _: StreamId) {
        self.windows += 1;
    }

    fn unreachable(
        &mut self,
        _: &mut Io<'_>,
        _: TargetId,
        reason: &CloseReason,
        _: Option<Duration>,
    ) {
        self.gone = Some(reason.clone());
    }
}

/// The engine as a [`Transport`]: dials one peer and drives itself from the calling thread.
#[derive(Debug)]
pub struct EngineTransport {
    engine: Engine<Collector>,
}

impl EngineTransport {
    /// Dials, and waits until both sides are proved.
    ///
    /// # Errors
    /// When the engine does not start or the peer is not reached.
    pub fn connect(options: &EngineOptions, address: SocketAddr) -> Result<Self, TransportError> {
        let engine = Engine::start(options, Collector::default()).map_err(TransportError::Start)?;
        let target = Target {
            persistent: false,
            ..Target::at(address)
        };
        engine
            .with(|_, io| io.connect(target))
            .map_err(|limit| TransportError::Peer(CloseReason::Limit(limit)))?;
        let this = Self { engine };
        this.wait(|collector| collector.peer.is_some() || collector.gone.is_some())?;
        this.engine.with(|collector, _| collector.peer())?;
        Ok(this)
    }

    fn wait(&self, done: impl FnMut(&mut Collector) -> bool) -> Result<(), TransportError> {
        if self.engine.lease().spin(PATIENCE, done) {
            Ok(())
        } else {
            Err(TransportError::Timeout)
        }
    }
}

impl Transport for EngineTransport {
    fn open(&mut self, kind: u8) -> Result<u64, TransportError> {
        self.engine.with(|collector, io| {
            let stream = io
                .open(collector.peer()?, kind, Direction::Bidirectional, 0)
                .map_err(TransportError::Stream)?;
            collector.streams.insert(stream, Incoming::default());
            Ok(stream.0)
        })
    }

    fn send(&mut self, stream: u64, mut bytes: &[u8]) -> Result<(), TransportError> {
        while !bytes.is_empty() {
            let (taken, windows) = self.engine.with(|collector, io| {
                let taken = io
                    .write(collector.peer()?, StreamId(stream), bytes)
                    .map_err(TransportError::Stream)?;
                Ok((taken, collector.windows))
            })?;
            bytes = &bytes[taken..];
            if !bytes.is_empty() {
                self.wait(|collector| collector.windows > windows || collector.peer.is_none())?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, stream: u64) -> Result<(), TransportError> {
        self.engine.with(|collector, io| {
            io.finish(collector.peer()?, StreamId(stream))
                .map_err(TransportError::Stream)
        })
    }

    fn receive(&mut self, stream: u64, at_least: usize) -> Result<Vec<u8>, TransportError> {
        let id = StreamId(stream);
        self.wait(|collector| {
            let there = collector.streams.get(&id).is_none_or(|incoming| {
                incoming.bytes.len() >= at_least || incoming.ended || incoming.reset.is_some()
            });
            there || collector.peer.is_none()
        })?;
        self.engine.with(|collector, _| {
            let gone = collector.peer().err();
            let incoming = collector
                .streams
                .get_mut(&id)
                .ok_or(TransportError::Stream(StreamError::Closed))?;
            if let Some(code) = incoming.reset {
                return Err(TransportError::Stream(StreamError::Stopped(code)));
            }
            let whole = incoming.bytes.len() >= at_least || incoming.ended;
            match gone {
                Some(error) if !whole => Err(error),
                _ => Ok(std::mem::take(&mut incoming.bytes)),
            }
        })
    }
}
