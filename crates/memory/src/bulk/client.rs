//! The importing side of one session: reads into memory of its own, writes out of it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    time::Instant,
};

use bytes::Bytes;

use super::{
    Event, Head, MAX_PIECES, MAX_REPAIRS, MAX_TRANSFERS, Malformed, Message, Request, StartError,
    TransferError, TransferStatus, Wire, arrivals::Arrived, is_length, message::Ranges,
    placing::Placing, sending::Sending, streams::Streams,
};
use crate::region::{Access, Rights};

#[derive(Debug)]
enum Way {
    /// Into memory of ours.
    Read(Placing),
    /// Out of memory of ours. `begun`: a byte of it may have reached the server.
    Write { memory: Access, begun: bool },
}

impl Way {
    /// What is known when a transfer ends here, without asking the server.
    fn error(&self, status: TransferStatus) -> TransferError {
        match self {
            Self::Read(placing) => TransferError {
                status,
                placed: placing.placed_bytes(),
                exact: true,
            },
            Self::Write { begun, .. } => TransferError {
                status,
                placed: 0,
                exact: !begun,
            },
        }
    }
}

#[derive(Debug)]
struct Transfer {
    head: Head,
    way: Way,
    deadline: Option<Instant>,
    /// The server was asked to end this write.
    ending: bool,
}

/// Bulk transfers of one session at the importer; lives as long as the session, across connections.
///
/// # Cancellation
/// A cancelled read ends at once: its target holds what came until then. A cancelled write ends when the server has said how
/// much it placed, or at its deadline.
///
/// # Outcome
/// A write that ends by its deadline, or because the server lost the session, may have been placed in part or whole:
/// [`TransferError::exact`] is false. Within a session it is exact, whatever the connections did.
#[derive(Debug)]
pub struct Client<S> {
    transfers: BTreeMap<u64, Transfer>,
    /// Ended while there was no connection: the server still has to be told.
    untold: Vec<u64>,
    streams: Streams<S>,
    events: VecDeque<Event>,
    next_id: u64,
    connected: bool,
}

impl<S: Copy + Eq + Debug> Client<S> {
    /// Of a new session, not connected yet. `clock` is what codecs are timed by.
    pub fn new(clock: fn() -> Instant) -> Self {
        Self {
            transfers: BTreeMap::new(),
            untold: Vec::new(),
            streams: Streams::new(clock),
            events: VecDeque::new(),
            next_id: 0,
            connected: false,
        }
    }

    /// Its streams: what happens to them is told here.
    pub fn streams(&mut self) -> &mut Streams<S> {
        &mut self.streams
    }

    /// Reads `memory.length` bytes at `offset` of the grant's slice into all of `memory`. Returns the transfer's name.
    /// Without a connection it begins when there is one.
    ///
    /// # Errors
    /// [`StartError`]; nothing was begun.
    pub fn read<W: Wire<Stream = S>>(
        &mut self,
        wire: Option<&mut W>,
        request: Request,
    ) -> Result<u64, StartError> {
        let head = self.head(&request, true)?;
        let way = Way::Read(Placing::new(request.memory, 0, head.length, Rights::WRITE));
        self.transfers.insert(
            head.id,
            Transfer {
                head,
                way,
                deadline: request.deadline,
                ending: false,
            },
        );
        if let (true, Some(wire)) = (self.connected, wire) {
            ask_for(
                wire,
                &head,
                Ranges::cover(std::iter::once(0..u64::from(head.length))),
            );
        }
        Ok(head.id)
    }

    /// Writes all of `memory` to `offset` of the grant's slice. Returns the transfer's name. The memory is read block by block while
    /// it is sent, and again for what has to be sent again: it must not change until the transfer is over, or the destination
    /// gets a mixture. Without a connection it begins when there is one.
    ///
    /// # Errors
    /// [`StartError`]; nothing was begun.
    pub fn write<W: Wire<Stream = S>>(
        &mut self,
        wire: Option<&mut W>,
        request: Request,
        now: Instant,
    ) -> Result<u64, StartError> {
        let head = self.head(&request, false)?;
        let way = Way::Write {
            memory: request.memory,
            begun: false,
        };
        self.transfers.insert(
            head.id,
            Transfer {
                head,
                way,
                deadline: request.deadline,
                ending: false,
            },
        );
        if let (true, Some(wire)) = (self.connected, wire) {
            self.send(head.id, 0..head.length);
            self.pump(wire, None, now);
        }
        Ok(head.id)
    }

    fn head(&mut self, request: &Request, to_client: bool) -> Result<Head, StartError> {
        let Request {
            handle,
            offset,
            options,
            ..
        } = *request;
        let length = u32::try_from(request.memory.length)
            .ok()
            .filter(|length| is_length(*length))
            .ok_or(StartError::Length)?;
        offset
            .checked_add(u64::from(length))
            .ok_or(StartError::OutOfRange)?;
        if self.transfers.len() + self.untold.len() >= MAX_TRANSFERS {
            return Err(StartError::TooMany);
        }
        let id = self.next_id;
        self.next_id += 1;
        Ok(Head {
            id,
            offset,
            length,
            start: 0,
            handle,
            options,
            to_client,
        })
    }

    /// Gives a transfer up, see the type's documentation. Nothing happens if it is over already.
    pub fn cancel<W: Wire<Stream = S>>(&mut self, wire: Option<&mut W>, id: u64) {
        self.give_up(wire, id, TransferStatus::Cancelled);
    }

    /// Ends the transfers whose deadline has come.
    pub fn expire<W: Wire<Stream = S>>(&mut self, mut wire: Option<&mut W>, now: Instant) {
        let due = |transfer: &Transfer| transfer.deadline.is_some_and(|deadline| deadline <= now);
        while let Some((id, _)) = self.transfers.iter().find(|(_, transfer)| due(transfer)) {
            let id = *id;
            self.give_up(wire.as_deref_mut(), id, TransferStatus::Deadline);
        }
    }

    /// When [`expire`](Self::expire) is to be called next. O(transfers).
    pub fn deadline(&self) -> Option<Instant> {
        self.transfers
            .values()
            .filter_map(|transfer| transfer.deadline)
            .min()
    }

    fn give_up<W: Wire<Stream = S>>(
        &mut self,
        wire: Option<&mut W>,
        id: u64,
        status: TransferStatus,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        let wire = wire.filter(|_| self.connected);
        let error = transfer.way.error(status);
        // The server knows how much of a write it placed; a deadline does not wait for that.
        if !error.exact
            && status == TransferStatus::Cancelled
            && let Some(wire) = wire
        {
            if !transfer.ending {
                transfer.ending = true;
                self.streams.departures.abandon(wire, id);
                wire.control(&Message::Cancel { id }.encode());
            }
            return;
        }
        if let Some(wire) = wire {
            wire.control(&Message::Cancel { id }.encode());
            self.finish(Some(wire), id, Err(error));
        } else {
            self.finish(None::<&mut W>, id, Err(error));
        }
    }

    /// A message of the server.
    ///
    /// # Errors
    /// [`Malformed`] for one that no correct server sends.
    pub fn message<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        message: Message,
        now: Instant,
    ) -> Result<(), Malformed> {
        match message {
            Message::Missing { id, ranges } => {
                let Some(transfer) = self.transfers.get(&id) else {
                    return Ok(());
                };
                let inside = ranges.iter().all(|range| range.end <= transfer.head.length);
                if matches!(transfer.way, Way::Read(_))
                    || !inside
                    || self.streams.departures.count() > MAX_TRANSFERS * MAX_PIECES
                {
                    return Err(Malformed);
                }
                if !transfer.ending {
                    for range in ranges.iter() {
                        self.send(id, range);
                    }
                    self.pump(wire, None, now);
                }
                Ok(())
            }
            Message::Done { id, status, placed } => {
                let Some(transfer) = self.transfers.get(&id) else {
                    return Ok(());
                };
                let placed = match &transfer.way {
                    Way::Read(placing) if status != TransferStatus::Complete => {
                        placing.placed_bytes()
                    }
                    Way::Read(_) => return Err(Malformed),
                    Way::Write { .. } => u64::from(placed),
                };
                let error = TransferError {
                    status,
                    placed,
                    exact: true,
                };
                let result = if status == TransferStatus::Complete {
                    Ok(())
                } else {
                    Err(error)
                };
                self.finish(Some(wire), id, result);
                Ok(())
            }
            _ => Err(Malformed),
        }
    }

    /// Bytes of a stream, at `offset` in it.
    pub fn received<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        stream: S,
        offset: u64,
        bytes: Bytes,
        now: Instant,
    ) {
        let head = match self.streams.arrivals.receive(wire, stream, offset, bytes) {
            Arrived::Nothing | Arrived::Bad(None) => return,
            Arrived::Part(head) => head,
            Arrived::Bad(Some(head)) => return self.fail(wire, head.id, TransferStatus::Malformed),
        };
        let Some(Transfer {
            head: asked,
            way: Way::Read(placing),
            ..
        }) = self.transfers.get_mut(&head.id)
        else {
            // Cancelled meanwhile.
            return self.streams.arrivals.refuse(wire, stream);
        };
        if (head.length, head.to_client) != (asked.length, true) {
            return self.fail(wire, head.id, TransferStatus::Malformed);
        }
        while let Some((start, bytes)) = self.streams.arrivals.next_ready(stream) {
            if let Err(error) = placing.place(start, &bytes, now) {
                return self.fail(wire, head.id, error.into());
            }
        }
        let moved = placing.placed_bytes();
        if placing.is_complete() {
            self.finish(Some(wire), head.id, Ok(()));
        } else {
            report(&mut self.events, head.id, moved, u64::from(head.length));
        }
    }

    /// The server finished a stream. What of it is missing then was damaged: it is asked for again.
    pub fn finished<W: Wire<Stream = S>>(&mut self, wire: &mut W, stream: S) {
        let Some((head, part)) = self.streams.arrivals.finished(stream) else {
            return;
        };
        let Some(Transfer {
            head,
            way: Way::Read(placing),
            ..
        }) = self.transfers.get_mut(&head.id)
        else {
            return;
        };
        let Some(ranges) = placing.missing(part) else {
            return;
        };
        placing.repairs += 1;
        if placing.repairs > MAX_REPAIRS {
            let id = head.id;
            self.fail(wire, id, TransferStatus::Damaged);
        } else {
            ask_for(wire, head, ranges);
        }
    }

    /// A stream takes bytes again.
    pub fn writable<W: Wire<Stream = S>>(&mut self, wire: &mut W, stream: S, now: Instant) {
        self.pump(wire, Some(stream), now);
    }

    /// More streams may be opened.
    pub fn retry<W: Wire<Stream = S>>(&mut self, wire: &mut W, now: Instant) {
        self.pump(wire, None, now);
    }

    /// The connection is gone, and every stream with it. Transfers wait for the next.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.streams.disconnected();
    }

    /// There is a connection. `resumed`: the server has the session of before, or this is the first connection of it; otherwise
    /// everything that ran is over.
    pub fn connected<W: Wire<Stream = S>>(&mut self, wire: &mut W, resumed: bool) {
        self.connected = true;
        if !resumed {
            self.untold.clear();
            self.lose(&mut Some(wire));
            return;
        }
        for id in std::mem::take(&mut self.untold) {
            wire.control(&Message::Cancel { id }.encode());
            wire.control(&Message::Forget { id }.encode());
        }
        for (id, transfer) in &self.transfers {
            match &transfer.way {
                Way::Read(placing) => {
                    if let Some(ranges) = placing.all_missing() {
                        ask_for(wire, &transfer.head, ranges);
                    }
                }
                Way::Write { .. } if transfer.ending => {
                    wire.control(&Message::Cancel { id: *id }.encode());
                }
                Way::Write { .. } => {
                    wire.control(
                        &Message::Status {
                            id: *id,
                            length: transfer.head.length,
                        }
                        .encode(),
                    );
                }
            }
        }
    }

    /// Whether any transfer is not over, or the server must still be told of one that is.
    pub fn is_busy(&self) -> bool {
        !self.transfers.is_empty() || !self.untold.is_empty()
    }

    /// The session is given up: what runs is over, with an unknown outcome if it is a write that was begun.
    pub fn close<W: Wire<Stream = S>>(&mut self, mut wire: Option<&mut W>) {
        self.lose(&mut wire);
        self.untold.clear();
    }

    /// Ends everything that runs: the session is lost.
    fn lose<W: Wire<Stream = S>>(&mut self, wire: &mut Option<&mut W>) {
        while let Some((id, transfer)) = self.transfers.first_key_value() {
            let (id, status) = (*id, TransferStatus::SessionLost);
            let error = transfer.way.error(status);
            self.finish(wire.as_deref_mut(), id, Err(error));
        }
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Puts a part of a write in line.
    fn send(&mut self, id: u64, part: std::ops::Range<u32>) {
        if let Some(Transfer {
            head,
            way: Way::Write { memory, begun },
            ..
        }) = self.transfers.get_mut(&id)
        {
            *begun = true;
            let head = Head {
                start: part.start,
                ..*head
            };
            self.streams.departures.add(Sending::new(
                head,
                part.end,
                memory.clone(),
                0,
                Rights::READ,
            ));
        }
    }

    fn pump<W: Wire<Stream = S>>(&mut self, wire: &mut W, only: Option<S>, now: Instant) {
        while let Some((id, error)) = self.streams.departures.pump(wire, only, now) {
            // The caller's own memory is gone in the middle of a write: what was placed, the server says.
            let _ = error;
            self.give_up(Some(wire), id, TransferStatus::Cancelled);
        }
        for (id, moved, total) in self.streams.departures.progress() {
            report(&mut self.events, id, moved, total);
        }
    }

    fn fail<W: Wire<Stream = S>>(&mut self, wire: &mut W, id: u64, status: TransferStatus) {
        self.give_up(Some(wire), id, status);
    }

    fn finish<W: Wire<Stream = S>>(
        &mut self,
        wire: Option<&mut W>,
        id: u64,
        result: Result<(), TransferError>,
    ) {
        self.transfers.remove(&id);
        if let Some(wire) = wire {
            self.streams.abandon(wire, id);
            wire.control(&Message::Forget { id }.encode());
        } else {
            self.untold.push(id);
        }
        self.events
            .retain(|event| !matches!(event, Event::Progress { id: of, .. } if *of == id));
        self.events.push_back(Event::Finished { id, result });
    }
}

/// Adds a report; an older one of the same transfer that nobody collected is replaced.
fn report(events: &mut VecDeque<Event>, id: u64, moved: u64, total: u64) {
    let progress = Event::Progress { id, moved, total };
    match events
        .iter_mut()
        .find(|event| matches!(event, Event::Progress { id: of, .. } if *of == id))
    {
        Some(older) => *older = progress,
        None => events.push_back(progress),
    }
}

fn ask_for<W: Wire>(wire: &mut W, head: &Head, ranges: Ranges) {
    let Head {
        id,
        offset,
        length,
        handle,
        options,
        ..
    } = *head;
    wire.control(
        &Message::Read {
            id,
            offset,
            length,
            handle,
            options,
            ranges,
        }
        .encode(),
    );
}
