//! How far a backup is, as the primary knows it, and what it is sent next.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Epoch, Message, Outbox, Position, To,
    log::Log,
    member::Core,
    message::{CHUNK, MAX_BATCH, MAX_BATCH_BYTES},
};

/// Changes that may be on their way to one backup.
const WINDOW: u64 = 2048;
/// Bytes of a state that may be.
const SNAPSHOT_WINDOW: u64 = 8 * CHUNK as u64;

/// A state on its way to whoever needs it.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    position: Position,
    bytes: Bytes,
}

#[derive(Debug)]
struct Sending {
    state: Shared,
    /// Bytes that arrived.
    received: u64,
    /// Bytes that were sent.
    sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has not said yet in this epoch.
    Unknown,
    /// On our sequence; it was sent everything up to `sent`.
    Follows { sent: u64 },
    /// What it has is not ours, or longer ago than we remember: it needs a whole state.
    Strayed,
}

#[derive(Debug)]
pub(super) struct Follower {
    pub(super) member: u8,
    /// Its state is ours up to here; 0 while that is not known.
    pub(super) matched: u64,
    standing: Standing,
    /// The latest of our rounds that it answered.
    pub(super) round: u64,
    heard: Option<Instant>,
    snapshot: Option<Sending>,
    /// `matched` and the bytes of the state that arrived, at the last tick.
    progress: (u64, u64),
}

impl Follower {
    pub(super) const fn new(member: u8) -> Self {
        Self {
            member,
            matched: 0,
            standing: Standing::Unknown,
            round: 0,
            heard: None,
            snapshot: None,
            progress: (0, 0),
        }
    }

    pub(super) fn is_heard_since(&self, patience: Duration, now: Instant) -> bool {
        self.heard
            .is_some_and(|heard| now.saturating_duration_since(heard) <= patience)
    }

    pub(super) fn answered(
        &mut self,
        log: &Log,
        round: u64,
        position: Position,
        received: Option<(Position, u64)>,
        now: Instant,
    ) {
        self.heard = Some(now);
        self.round = self.round.max(round);
        if log.contains(position) {
            self.matched = self.matched.max(position.index);
            let sent = match self.standing {
                Standing::Follows { sent } => sent.max(self.matched),
                Standing::Unknown | Standing::Strayed => self.matched,
            };
            self.standing = Standing::Follows { sent };
            self.snapshot = None;
            return;
        }
        if let (Some(sending), Some((of, bytes))) = (&mut self.snapshot, received)
            && of == sending.state.position
        {
            sending.received = sending
                .received
                .max(bytes.min(sending.state.bytes.len() as u64));
            sending.sent = sending.sent.max(sending.received);
        }
        // Once it was ours it stays ours: else this is an old answer.
        if self.standing == Standing::Unknown {
            self.standing = Standing::Strayed;
        }
    }

    /// What was not answered since the last time is sent again.
    pub(super) fn send_again(&mut self) {
        let received = self.snapshot.as_ref().map_or(0, |sending| sending.received);
        let progress = (self.matched, received);
        if progress == std::mem::replace(&mut self.progress, progress) {
            if let Some(sending) = &mut self.snapshot {
                sending.sent = sending.received;
            }
            if let Standing::Follows { sent } = &mut self.standing {
                *sent = self.matched;
            }
        }
    }

    pub(super) fn send(
        &mut self,
        core: &Core,
        epoch: Epoch,
        round: u64,
        is_round: bool,
        shared: &mut Option<Shared>,
        out: &mut Outbox,
    ) {
        let before = out.len();
        match self.standing {
            Standing::Unknown => {}
            Standing::Follows { sent } if core.log.at(sent).is_some() => {
                self.send_changes(core, epoch, round, sent, out);
            }
            Standing::Follows { .. } | Standing::Strayed => {
                self.standing = Standing::Strayed;
                self.send_state(core, epoch, shared, out);
            }
        }
        // A state's parts carry no round.
        if is_round && (out.len() == before || self.snapshot.is_some()) {
            let message = Message::Append {
                epoch,
                round,
                previous: core.state.position(),
                entries: Vec::new(),
            };
            out.push((To::Member(self.member), message));
        }
    }

    fn send_changes(
        &mut self,
        core: &Core,
        epoch: Epoch,
        round: u64,
        mut sent: u64,
        out: &mut Outbox,
    ) {
        let last = core.state.position().index;
        while sent < last && sent - self.matched < WINDOW {
            let Some(previous) = core.log.at(sent) else {
                break;
            };
            let mut bytes = 0;
            let entries: Vec<_> = core
                .log
                .after(sent)
                .take(MAX_BATCH)
                .take_while(|entry| {
                    let fits = bytes < MAX_BATCH_BYTES;
                    bytes += entry.size();
                    fits
                })
                .cloned()
                .collect();
            sent += entries.len() as u64;
            let message = Message::Append {
                epoch,
                round,
                previous,
                entries,
            };
            out.push((To::Member(self.member), message));
        }
        self.standing = Standing::Follows { sent };
    }

    fn send_state(
        &mut self,
        core: &Core,
        epoch: Epoch,
        shared: &mut Option<Shared>,
        out: &mut Outbox,
    ) {
        // One that can be followed by the changes we remember, made once for all who need it.
        let usable = |state: &Shared| core.log.contains(state.position);
        if !self
            .snapshot
            .as_ref()
            .is_some_and(|sending| usable(&sending.state))
        {
            if !shared.as_ref().is_some_and(usable) {
                *shared = None;
            }
            let state = shared.get_or_insert_with(|| Shared {
                position: core.state.position(),
                bytes: core.state.encode().into(),
            });
            self.snapshot = Some(Sending {
                state: state.clone(),
                received: 0,
                sent: 0,
            });
        }
        let Some(sending) = &mut self.snapshot else {
            return;
        };
        let total = sending.state.bytes.len() as u64;
        while sending.sent < total && sending.sent - sending.received < SNAPSHOT_WINDOW {
            let end = total.min(sending.sent + CHUNK as u64);
            let message = Message::Snapshot {
                epoch,
                position: sending.state.position,
                total,
                offset: sending.sent,
                bytes: sending
                    .state
                    .bytes
                    .slice(sending.sent as usize..end as usize),
            };
            out.push((To::Member(self.member), message));
            sending.sent = end;
        }
    }
}
