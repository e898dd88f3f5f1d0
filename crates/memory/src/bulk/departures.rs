//! All that leaves: parts on their streams and parts that wait for one.

use std::{fmt::Debug, time::Instant};

use super::{
    Wire,
    sending::{Sending, Sent},
    snapshot::Snapshots,
};
use crate::region::AccessError;

/// The parts of all transfers that one side sends.
#[derive(Debug)]
pub(super) struct Departures<S> {
    parts: Vec<Sending<S>>,
    pub(super) snapshots: Snapshots,
}

impl<S: Copy + Eq + Debug> Departures<S> {
    pub(super) fn new(clock: fn() -> Instant) -> Self {
        Self {
            parts: Vec::new(),
            snapshots: Snapshots::new(clock),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.parts.len()
    }

    /// Adds a part; the next `pump` sends it.
    pub(super) fn add(&mut self, part: Sending<S>) {
        self.parts.push(part);
    }

    /// Whether a part of this transfer is not handed over whole.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.parts.iter().any(|part| part.head.id == id)
    }

    /// Sends what the streams take: of the part on `only`, or of all. Parts that are through or lost leave the list; the first
    /// whose memory refused is returned with the reason.
    pub(super) fn pump<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        only: Option<S>,
        now: Instant,
    ) -> Option<(u64, AccessError)> {
        let mut refused = None;
        let Self { parts, snapshots } = self;
        parts.retain_mut(|part| {
            if refused.is_some() || (only.is_some() && part.stream != only) {
                return true;
            }
            match part.pump(wire, snapshots, now) {
                Sent::Waiting => true,
                Sent::All | Sent::Dead => false,
                Sent::Refused(error) => {
                    refused = Some((part.head.id, error));
                    false
                }
            }
        });
        refused
    }

    /// Of each part that is on its way: the transfer, bytes handed over of it, bytes of the whole.
    pub(super) fn progress(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.parts.iter().map(|part| {
            (
                part.head.id,
                part.handed_over(),
                u64::from(part.head.length),
            )
        })
    }

    /// Gives up all parts of a transfer.
    pub(super) fn abandon<W: Wire<Stream = S>>(&mut self, wire: &mut W, id: u64) {
        self.parts.retain(|part| {
            let ours = part.head.id == id;
            if ours && let Some(stream) = part.stream {
                wire.reset(stream);
            }
            !ours
        });
    }

    /// The peer does not want a stream any more.
    pub(super) fn stopped(&mut self, stream: S) {
        self.parts.retain(|part| part.stream != Some(stream));
    }

    /// Every stream is gone.
    pub(super) fn disconnected(&mut self) {
        self.parts.clear();
    }
}
