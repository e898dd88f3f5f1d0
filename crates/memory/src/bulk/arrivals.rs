//! All that arrives: the streams that the peer opened.

use std::fmt::Debug;

use bytes::Bytes;

use super::{Head, StreamKind, Wire, incoming::Incoming};
use crate::compress::Decompressor;

/// The streams on which parts of transfers come.
#[derive(Debug)]
pub(super) struct Arrivals<S> {
    streams: Vec<Incoming<S>>,
    decompressor: Decompressor,
}

/// What a stream said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Nothing that could be used yet, or the stream is not known any more.
    Nothing,
    /// Bytes of this transfer may be ready.
    Part(Head),
    /// The peer broke the protocol on it; the stream was stopped. The transfer, if its head was readable.
    Bad(Option<Head>),
}

impl<S: Copy + Eq + Debug> Arrivals<S> {
    pub(super) fn new() -> Self {
        Self {
            streams: Vec::new(),
            decompressor: Decompressor::new(),
        }
    }

    pub(super) fn opened(&mut self, stream: S, kind: StreamKind) {
        self.streams.push(Incoming::new(stream, kind));
    }

    fn find(&mut self, stream: S) -> Option<&mut Incoming<S>> {
        self.streams
            .iter_mut()
            .find(|incoming| incoming.stream == stream)
    }

    /// Takes bytes of a stream.
    pub(super) fn receive<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        stream: S,
        offset: u64,
        bytes: Bytes,
    ) -> Arrived {
        let Self {
            streams,
            decompressor,
        } = self;
        let Some(incoming) = streams
            .iter_mut()
            .find(|incoming| incoming.stream == stream)
        else {
            return Arrived::Nothing;
        };
        if incoming.receive(offset, bytes, decompressor).is_err() {
            let head = incoming.head();
            self.refuse(wire, stream);
            return Arrived::Bad(head);
        }
        incoming.head().map_or(Arrived::Nothing, Arrived::Part)
    }

    /// The next bytes of a stream that can be placed.
    pub(super) fn next_ready(&mut self, stream: S) -> Option<(u32, Bytes)> {
        self.find(stream)?.next_ready()
    }

    /// The stream ended: which part of which transfer it was to bring.
    pub(super) fn finished(&mut self, stream: S) -> Option<(Head, std::ops::Range<u32>)> {
        let at = self
            .streams
            .iter()
            .position(|incoming| incoming.stream == stream)?;
        let incoming = self.streams.swap_remove(at);
        let head = incoming.head()?;
        Some((head, head.start..incoming.end))
    }

    /// The peer gave the stream up.
    pub(super) fn reset(&mut self, stream: S) {
        self.streams.retain(|incoming| incoming.stream != stream);
    }

    /// Nothing more of this stream is wanted.
    pub(super) fn refuse<W: Wire<Stream = S>>(&mut self, wire: &mut W, stream: S) {
        wire.stop(stream);
        self.reset(stream);
    }

    /// Nothing more of this transfer is wanted.
    pub(super) fn abandon<W: Wire<Stream = S>>(&mut self, wire: &mut W, id: u64) {
        self.streams.retain(|incoming| {
            let ours = incoming.head().is_some_and(|head| head.id == id);
            if ours {
                wire.stop(incoming.stream);
            }
            !ours
        });
    }

    /// Every stream is gone.
    pub(super) fn disconnected(&mut self) {
        self.streams.clear();
    }
}
