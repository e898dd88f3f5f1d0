//! Frames from one node, in the order in which they were sent, whichever way they came.
//!
//! A frame goes over the stream of its request, or over the ring. Between the two ways lies a mark on every stream: `MOVED`
//! when what follows is in the ring, `BACK` when it is on the stream again. The ring is read once all streams have moved;
//! a stream that is back waits until the ring is empty. So nothing overtakes anything, and nothing is lost when the ring
//! ends, because what was published in it can still be read.

use std::ops::ControlFlow;

use crate::FRAME_STREAMS;
use crate::frame::{BACK, Header, MOVED};
use crate::reader::{FrameReader, Malformed};

/// Where the bytes of the ring come from.
pub trait RingSource {
    /// Shows up to `most` pieces of what was published before the call; how many there were.
    ///
    /// # Errors
    /// [`Malformed`]: the other end has spoilt the ring.
    fn read(&mut self, most: usize, show: impl FnMut(&[u8])) -> Result<usize, Malformed>;
}

/// Without a ring there is nothing in it, and nobody says that there is.
impl<Source: RingSource> RingSource for Option<Box<Source>> {
    fn read(&mut self, most: usize, show: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        match self {
            Some(ring) => ring.read(most, show),
            None => Err(Malformed),
        }
    }
}

/// One stream.
#[derive(Debug)]
struct Stream<Id> {
    id: Id,
    frames: FrameReader,
    moved: bool,
    back: bool,
    /// Came after `BACK` while other streams have not even moved.
    held: Vec<u8>,
}

/// The receiving end of one node. `Id`: how its streams are told apart.
#[derive(Debug)]
pub struct Arrivals<Id> {
    streams: Vec<Stream<Id>>,
    ring: FrameReader,
}

impl<Id> Default for Arrivals<Id> {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            ring: FrameReader::default(),
        }
    }
}

impl<Id: Copy + PartialEq> Arrivals<Id> {
    /// A stream with frames was opened. False when there are as many as there may be.
    pub fn open(&mut self, id: Id) -> bool {
        let fits = self.streams.len() < FRAME_STREAMS;
        if fits {
            self.streams.push(Stream {
                id,
                frames: FrameReader::default(),
                moved: false,
                back: false,
                held: Vec::new(),
            });
        }
        fits
    }

    /// Streams that carry frames.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.streams.iter().map(|stream| stream.id)
    }

    /// Which of them this is.
    pub fn index(&self, id: Id) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }

    /// True while frames come over the ring.
    pub fn reads_ring(&self) -> bool {
        self.all_moved() && !self.streams.iter().any(|stream| stream.back)
    }

    fn all_moved(&self) -> bool {
        self.streams.len() == FRAME_STREAMS && self.streams.iter().all(|stream| stream.moved)
    }

    /// Bytes of a stream.
    ///
    /// # Errors
    /// [`Malformed`]: this node is not understood.
    pub fn stream(
        &mut self,
        index: usize,
        bytes: &[u8],
        ring: &mut impl RingSource,
        take: &mut impl FnMut(Header, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let moved = self.all_moved();
        self.read_stream(index, bytes, ring, take)?;
        if !moved && self.all_moved() {
            for index in 0..self.streams.len() {
                let held = std::mem::take(&mut self.streams[index].held);
                if self.streams[index].back {
                    self.empty_ring(ring, take)?;
                    self.read_stream(index, &held, ring, take)?;
                }
            }
        }
        Ok(())
    }

    fn read_stream(
        &mut self,
        index: usize,
        mut bytes: &[u8],
        ring: &mut impl RingSource,
        take: &mut impl FnMut(Header, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if self.streams[index].back && !self.all_moved() {
                // Bounded by the window of the stream: the others are about to move.
                self.streams[index].held.extend_from_slice(bytes);
                return Ok(());
            }
            let Stream {
                frames,
                moved,
                back,
                ..
            } = &mut self.streams[index];
            let before = *back;
            let left = frames.read(bytes, |header, content| {
                match header.kind() {
                    MOVED if !*moved => *moved = true,
                    BACK if *moved && !*back => {
                        *back = true;
                        return Ok(ControlFlow::Break(()));
                    }
                    MOVED | BACK => return Err(Malformed),
                    // Between the two marks nothing belongs on a stream.
                    _ if *moved && !*back => return Err(Malformed),
                    _ => take(header, content)?,
                }
                Ok(ControlFlow::Continue(()))
            })?;
            let came_back = *back && !before;
            bytes = &bytes[bytes.len() - left..];
            if came_back && self.all_moved() {
                self.empty_ring(ring, take)?;
            }
        }
        Ok(())
    }

    /// Up to `most` pieces of what the ring holds; how many there were. Only while [`reads_ring`](Self::reads_ring).
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub fn ring(
        &mut self,
        ring: &mut impl RingSource,
        most: usize,
        take: &mut impl FnMut(Header, &[u8]) -> Result<(), Malformed>,
    ) -> Result<usize, Malformed> {
        let mut understood = Ok(());
        let frames = &mut self.ring;
        let pieces = ring.read(most, |piece| {
            if understood.is_ok() {
                understood = frames
                    .read(piece, |header, content| {
                        if matches!(header.kind(), MOVED | BACK) {
                            return Err(Malformed);
                        }
                        take(header, content).map(ControlFlow::Continue)
                    })
                    .map(|_| ());
            }
        })?;
        understood.map(|()| pieces)
    }

    /// Everything: its writer has stopped, so what is published now is all. What it had begun with comes anew on a stream.
    fn empty_ring(
        &mut self,
        ring: &mut impl RingSource,
        take: &mut impl FnMut(Header, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.ring(ring, usize::MAX, take)?;
        self.ring.forget();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::departures::{Departures, RingOver, Ways};
    use crate::frame::{HEADER_BYTES, aligned};

    /// Streams and a ring between two ends, as fast or slow as a seed wants.
    #[derive(Default)]
    struct Between {
        streams: [VecDeque<u8>; FRAME_STREAMS],
        ring: VecDeque<Vec<u8>>,
        over: bool,
        random: u64,
    }

    impl Between {
        fn random(&mut self, below: usize) -> usize {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            (self.random % below as u64) as usize
        }
    }

    impl Ways for Between {
        fn stream(&mut self, index: usize, bytes: &[u8]) -> usize {
            let taken = self.random(bytes.len() + 1);
            self.streams[index].extend(&bytes[..taken]);
            taken
        }

        fn ring(&mut self, bytes: &[u8]) -> Result<usize, RingOver> {
            if self.over {
                return Err(RingOver);
            }
            let taken = self.random(bytes.len() + 1);
            if taken > 0 {
                self.ring.push_back(bytes[..taken].to_vec());
            }
            Ok(taken)
        }
    }

    impl RingSource for VecDeque<Vec<u8>> {
        fn read(&mut self, most: usize, mut show: impl FnMut(&[u8])) -> Result<usize, Malformed> {
            let count = most.min(self.len());
            self.drain(..count).for_each(|piece| show(&piece));
            Ok(count)
        }
    }

    fn frame(id: u32, body: u32, length: usize) -> Vec<u8> {
        let mut header = Header::way(3);
        header.set_id(id);
        header.set_body(4);
        header.set_length((HEADER_BYTES + aligned(length)) as u32);
        let mut bytes = header.to_wire().to_vec();
        bytes.extend_from_slice(&body.to_le_bytes());
        bytes.resize(header.length() as usize, 0);
        bytes
    }

    /// Frames of 16 requests while the ring comes, and ends in the middle of a frame: each request's own frames arrive once
    /// and in order.
    #[test]
    fn nothing_is_lost_or_overtaken_between_streams_and_ring() {
        for seed in 1..=2_000_u64 {
            let mut between = Between {
                random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                ..Between::default()
            };
            let (mut departures, mut arrivals) = (Departures::default(), Arrivals::default());
            for index in 0..FRAME_STREAMS {
                assert!(arrivals.open(index));
            }
            let (moves_at, ends_at) = (between.random(60), 60 + between.random(60));
            let mut sent = [0_u32; 16];
            let mut seen = [0_u32; 16];
            for step in 0.. {
                if step < 200 {
                    let id = between.random(16);
                    let length = 4 + between.random(300);
                    departures
                        .bytes(id as u32)
                        .extend_from_slice(&frame(id as u32, sent[id], length));
                    sent[id] += 1;
                }
                if step == moves_at {
                    departures.move_to_ring();
                }
                if step == ends_at {
                    between.over = true;
                }
                let flushed = departures.flush(&mut between);
                let mut take = |header: Header, content: &[u8]| {
                    let number = u32::from_le_bytes(content.try_into().unwrap());
                    let seen = &mut seen[header.id() as usize];
                    assert_eq!(number, *seen, "seed {seed}, request {}", header.id());
                    *seen += 1;
                    Ok(())
                };
                let index = between.random(FRAME_STREAMS);
                let count = between.random(between.streams[index].len() + 1);
                let bytes: Vec<u8> = between.streams[index].drain(..count).collect();
                arrivals
                    .stream(index, &bytes, &mut between.ring, &mut take)
                    .unwrap();
                if arrivals.reads_ring() {
                    let most = between.random(4);
                    arrivals.ring(&mut between.ring, most, &mut take).unwrap();
                }
                let quiet = between.streams.iter().all(VecDeque::is_empty);
                if step > 200 && flushed && quiet {
                    break;
                }
                assert!(step < 100_000, "seed {seed} does not end");
            }
            assert_eq!(seen, sent, "seed {seed}");
            assert!(!departures.uses_ring() && !departures.is_waiting());
        }
    }

    #[test]
    fn marks_that_no_honest_node_sends_are_refused() {
        let mut ring = VecDeque::new();
        let mut ignore = |_: Header, _: &[u8]| Ok(());
        for marks in [&[BACK][..], &[MOVED, MOVED], &[MOVED, 3]] {
            let mut arrivals = Arrivals::default();
            arrivals.open(0);
            let bytes: Vec<u8> = marks
                .iter()
                .flat_map(|kind| Header::way(*kind).to_wire())
                .collect();
            assert_eq!(
                arrivals.stream(0, &bytes, &mut ring, &mut ignore),
                Err(Malformed)
            );
        }
    }
}
