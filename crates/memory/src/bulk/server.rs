//! The exporting side of one session: sends what is read, places what is written.

use std::{collections::BTreeMap, fmt::Debug, time::Instant};

use bytes::Bytes;

use super::{
    Head, MAX_PIECES, MAX_REPAIRS, MAX_TRANSFERS, Malformed, Message, Options, RangeSet,
    TransferStatus, Wire, arrivals::Arrived, message::Ranges, placing::Placing, sending::Sending,
    streams::Streams,
};
use crate::{
    compress::Compression,
    region::{Access, Rights},
};

/// Separate ranges of forgotten transfers; a correct client counts its transfers and needs few.
const MAX_FORGOTTEN_RANGES: usize = 1024;

/// A write, until the client has read how it ended.
#[derive(Debug)]
enum Write {
    Running { placing: Placing, head: Head },
    Ended { status: TransferStatus, placed: u32 },
}

/// The grants of the session: from the client's number to what it allows.
pub type Grants<'a> = &'a dyn Fn(u16) -> Option<Access>;

/// Bulk transfers of one session at the exporter; lives as long as the session, across connections.
///
/// Reads leave no trace here: a client that was cut off asks again for what it misses. Of a write is kept which bytes
/// were placed, so that after a reconnect only the gaps are sent, and no byte is ever placed twice; and how it ended, until the
/// client says that it knows.
#[derive(Debug)]
pub struct Server<S> {
    writes: BTreeMap<u64, Write>,
    forgotten: RangeSet,
    streams: Streams<S>,
}

impl<S: Copy + Eq + Debug> Server<S> {
    /// Of a new session. `clock` is what codecs are timed by.
    pub fn new(clock: fn() -> Instant) -> Self {
        Self {
            writes: BTreeMap::new(),
            forgotten: RangeSet::new(),
            streams: Streams::new(clock),
        }
    }

    /// Its streams: what happens to them is told here.
    pub fn streams(&mut self) -> &mut Streams<S> {
        &mut self.streams
    }

    /// A message of the client.
    ///
    /// # Errors
    /// [`Malformed`] for one that no correct client sends.
    pub fn message<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        message: Message,
        grants: Grants<'_>,
        now: Instant,
    ) -> Result<(), Malformed> {
        match message {
            Message::Read { .. } => self.read(wire, message, grants, now)?,
            Message::Status { id, length } => self.status(wire, id, length)?,
            Message::Cancel { id } => {
                if self.streams.departures.contains(id) {
                    self.streams.departures.abandon(wire, id);
                } else if self.writes.contains_key(&id) || self.has_room() {
                    self.end(wire, id, TransferStatus::Cancelled);
                } else {
                    return Err(Malformed);
                }
            }
            Message::Forget { id } => {
                self.streams.abandon(wire, id);
                self.writes.remove(&id);
                self.forgotten
                    .insert(id..id.checked_add(1).ok_or(Malformed)?);
                if self.forgotten.count() > MAX_FORGOTTEN_RANGES {
                    return Err(Malformed);
                }
            }
            Message::Missing { .. } | Message::Done { .. } => return Err(Malformed),
        }
        Ok(())
    }

    fn status<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        id: u64,
        length: u32,
    ) -> Result<(), Malformed> {
        let ranges = match self.writes.get(&id) {
            Some(Write::Ended { status, placed }) => {
                done(wire, id, *status, *placed);
                return Ok(());
            }
            Some(Write::Running { placing, head }) if head.length == length => {
                placing.all_missing()
            }
            Some(Write::Running { .. }) => return Err(Malformed),
            // Nothing of it came.
            None => Some(Ranges::cover(std::iter::once(0..u64::from(length)))),
        };
        if let Some(ranges) = ranges {
            wire.control(&Message::Missing { id, ranges }.encode());
        }
        Ok(())
    }

    fn read<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        message: Message,
        grants: Grants<'_>,
        now: Instant,
    ) -> Result<(), Malformed> {
        let Message::Read {
            id,
            offset,
            length,
            handle,
            options,
            ranges,
        } = message
        else {
            return Err(Malformed);
        };
        if self.streams.departures.count() + MAX_PIECES > MAX_TRANSFERS * MAX_PIECES {
            done(wire, id, TransferStatus::TooMany, 0);
            return Ok(());
        }
        let access = match usable(grants, handle, Rights::READ, offset, length, now) {
            Ok(access) => access,
            Err(status) => {
                done(wire, id, status, 0);
                return Ok(());
            }
        };
        // Whoever does not own the region may take compressed blocks, not order them.
        let options = Options {
            compress: options.compress && access.compression != Compression::None,
            ..options
        };
        for range in ranges.iter() {
            let head = Head {
                id,
                offset,
                length,
                start: range.start,
                handle,
                options,
                to_client: true,
            };
            self.streams.departures.add(Sending::new(
                head,
                range.end,
                access.clone(),
                offset,
                Rights::READ,
            ));
        }
        self.retry(wire, now);
        Ok(())
    }

    /// Bytes of a stream, at `offset` in it.
    pub fn received<W: Wire<Stream = S>>(
        &mut self,
        wire: &mut W,
        stream: S,
        offset: u64,
        bytes: Bytes,
        grants: Grants<'_>,
        now: Instant,
    ) {
        let head = match self.streams.arrivals.receive(wire, stream, offset, bytes) {
            Arrived::Nothing => return,
            Arrived::Part(head) => head,
            Arrived::Bad(head) => {
                if let Some(head) = head {
                    self.end(wire, head.id, TransferStatus::Malformed);
                }
                return;
            }
        };
        if let Err(status) = self.enter(&head, grants, now) {
            self.streams.arrivals.refuse(wire, stream);
            if let Some(status) = status {
                self.end(wire, head.id, status);
            }
            return;
        }
        let Some(Write::Running { placing, .. }) = self.writes.get_mut(&head.id) else {
            return;
        };
        while let Some((start, bytes)) = self.streams.arrivals.next_ready(stream) {
            if let Err(error) = placing.place(start, &bytes, now) {
                self.end(wire, head.id, error.into());
                return;
            }
        }
        if placing.is_complete() {
            self.end(wire, head.id, TransferStatus::Complete);
        }
    }

    /// Makes sure that the write of `head` is running. An error refuses the stream and, with a status, ends the write.
    fn enter(
        &mut self,
        head: &Head,
        grants: Grants<'_>,
        now: Instant,
    ) -> Result<(), Option<TransferStatus>> {
        if head.to_client {
            return Err(Some(TransferStatus::Malformed));
        }
        match self.writes.get(&head.id) {
            Some(Write::Running { head: first, .. }) => {
                let same = (first.offset, first.length, first.handle)
                    == (head.offset, head.length, head.handle);
                if same {
                    Ok(())
                } else {
                    Err(Some(TransferStatus::Malformed))
                }
            }
            // Late bytes of what is over.
            Some(Write::Ended { .. }) => Err(None),
            None if self
                .forgotten
                .contains(&(head.id..head.id.saturating_add(1))) =>
            {
                Err(None)
            }
            // A correct client never has more, and one that does gets no record.
            None if !self.has_room() => Err(None),
            None => {
                let access = usable(
                    grants,
                    head.handle,
                    Rights::WRITE,
                    head.offset,
                    head.length,
                    now,
                )?;
                let placing = Placing::new(access, head.offset, head.length, Rights::WRITE);
                self.writes.insert(
                    head.id,
                    Write::Running {
                        placing,
                        head: *head,
                    },
                );
                Ok(())
            }
        }
    }

    fn has_room(&self) -> bool {
        self.writes.len() < MAX_TRANSFERS
    }

    /// Ends a write that is not over yet, and says how it ended either way.
    fn end<W: Wire<Stream = S>>(&mut self, wire: &mut W, id: u64, status: TransferStatus) {
        let (status, placed) = match self.writes.get(&id) {
            Some(Write::Ended { status, placed }) => (*status, *placed),
            Some(Write::Running { placing, .. }) => (status, placing.placed_bytes() as u32),
            None => (status, 0),
        };
        self.writes.insert(id, Write::Ended { status, placed });
        self.streams.arrivals.abandon(wire, id);
        done(wire, id, status, placed);
    }

    /// The client finished a stream. What of it is missing then was damaged: it is asked for again.
    pub fn finished<W: Wire<Stream = S>>(&mut self, wire: &mut W, stream: S) {
        let Some((head, part)) = self.streams.arrivals.finished(stream) else {
            return;
        };
        let Some(Write::Running { placing, .. }) = self.writes.get_mut(&head.id) else {
            return;
        };
        let Some(ranges) = placing.missing(part) else {
            return;
        };
        placing.repairs += 1;
        if placing.repairs > MAX_REPAIRS {
            self.end(wire, head.id, TransferStatus::Damaged);
        } else {
            wire.control(
                &Message::Missing {
                    id: head.id,
                    ranges,
                }
                .encode(),
            );
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

    fn pump<W: Wire<Stream = S>>(&mut self, wire: &mut W, only: Option<S>, now: Instant) {
        while let Some((id, error)) = self.streams.departures.pump(wire, only, now) {
            self.streams.departures.abandon(wire, id);
            done(wire, id, error.into(), 0);
        }
    }

    /// The connection is gone, and every stream with it. The session goes on.
    pub fn disconnected(&mut self) {
        self.streams.disconnected();
    }
}

/// The access behind a handle, if it allows this.
fn usable(
    grants: Grants<'_>,
    handle: u16,
    needed: Rights,
    offset: u64,
    length: u32,
    now: Instant,
) -> Result<Access, TransferStatus> {
    let access = grants(handle).ok_or(TransferStatus::UnknownHandle)?;
    access.check(needed, offset, u64::from(length), now)?;
    Ok(access)
}

fn done<W: Wire>(wire: &mut W, id: u64, status: TransferStatus, placed: u32) {
    wire.control(&Message::Done { id, status, placed }.encode());
}
