//! The streams of one side: what leaves and what arrives. What either side is told of them is the same.

use std::{fmt::Debug, time::Instant};

use super::{StreamKind, Wire, arrivals::Arrivals, departures::Departures};

/// Streams that carry parts of transfers, of a [`Client`](super::Client) or a [`Server`](super::Server).
#[derive(Debug)]
pub struct Streams<S> {
    pub(super) departures: Departures<S>,
    pub(super) arrivals: Arrivals<S>,
}

impl<S: Copy + Eq + Debug> Streams<S> {
    pub(super) fn new(clock: fn() -> Instant) -> Self {
        Self {
            departures: Departures::new(clock),
            arrivals: Arrivals::new(),
        }
    }

    /// Bytes a second of the path to the other side, for the choice of compression; `None` while unknown.
    pub fn set_path_speed(&mut self, bytes_per_second: Option<f64>) {
        self.departures.snapshots.set_path_speed(bytes_per_second);
    }

    /// The other side opened a stream of this kind.
    pub fn opened(&mut self, stream: S, kind: StreamKind) {
        self.arrivals.opened(stream, kind);
    }

    /// The other side gave a stream up; why, it says by a message.
    pub fn reset(&mut self, stream: S) {
        self.arrivals.reset(stream);
    }

    /// The other side wants no more of a stream; why, it says by a message.
    pub fn stopped(&mut self, stream: S) {
        self.departures.stopped(stream);
    }

    /// Gives up all parts of a transfer.
    pub(super) fn abandon<W: Wire<Stream = S>>(&mut self, wire: &mut W, id: u64) {
        self.departures.abandon(wire, id);
        self.arrivals.abandon(wire, id);
    }

    /// Every stream is gone with its connection.
    pub(super) fn disconnected(&mut self) {
        self.departures.disconnected();
        self.arrivals.disconnected();
    }
}
