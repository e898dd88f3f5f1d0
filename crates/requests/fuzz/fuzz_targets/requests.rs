//! Frames of requests between nodes: however bytes are cut, the same frames come out; a node that sends anything, on any
//! stream and in the ring, is understood or refused; and of two honest ends nothing is lost, doubled or overtaken, wherever
//! streams and ring stop taking.
//!
//! `npm run fuzz -- requests --minutes 10`.
#![no_main]

use std::{collections::VecDeque, ops::ControlFlow};

use libfuzzer_sys::fuzz_target;
use linkmesh_requests::{
    Arrivals, Departures, FRAME_STREAMS, FrameReader, Malformed, RingOver, RingSource, Ways,
    frame::{HEADER_BYTES, Header, MAX_FRAME_BYTES, aligned},
};

#[derive(Default)]
struct Ring(VecDeque<Vec<u8>>);

impl RingSource for Ring {
    fn read(&mut self, most: usize, mut show: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let count = most.min(self.0.len());
        self.0.drain(..count).for_each(|piece| show(&piece));
        Ok(count)
    }
}

fuzz_target!(|input: (Vec<(u8, &[u8])>, &[u8])| {
    let (pieces, schedule) = input;
    cutting_changes_nothing(&pieces);
    a_hostile_node(&pieces);
    honest_ends(schedule);
});

type Frames = (Vec<([u8; HEADER_BYTES], Vec<u8>)>, bool);

fn read<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> Frames {
    let mut reader = FrameReader::default();
    let mut frames = Vec::new();
    for piece in pieces {
        let result = reader.read(piece, |header, content| {
            assert!((HEADER_BYTES..=MAX_FRAME_BYTES).contains(&(header.length() as usize)));
            assert!(HEADER_BYTES + content.len() <= header.length() as usize);
            assert_eq!(content.len() as u32, header.body() + header.extras());
            assert_eq!(Header::from_lane(&header.to_lane()).to_wire(), header.to_wire());
            frames.push((header.to_wire(), content.to_vec()));
            Ok(ControlFlow::Continue(()))
        });
        match result {
            Ok(left) => assert_eq!(left, 0, "nobody broke off"),
            Err(Malformed) => return (frames, false),
        }
    }
    (frames, true)
}

fn cutting_changes_nothing(pieces: &[(u8, &[u8])]) {
    let whole: Vec<u8> = pieces.iter().flat_map(|(_, bytes)| *bytes).copied().collect();
    let at_once = read(std::iter::once(&*whole));
    assert_eq!(read(pieces.iter().map(|(_, bytes)| *bytes)), at_once);
    assert_eq!(read(whole.chunks(1)), at_once);
    let length: usize = at_once.0.iter().map(|(_, content)| HEADER_BYTES + content.len()).sum();
    assert!(length <= whole.len(), "more came out than went in");
}

fn a_hostile_node(pieces: &[(u8, &[u8])]) {
    let (mut arrivals, mut ring) = (Arrivals::default(), Ring::default());
    let mut taken = 0;
    let mut sent = 0;
    let mut take = |header: Header, _: &[u8]| {
        taken += header.length() as usize;
        // Whoever takes may refuse, too.
        if header.id() == u32::MAX { Err(Malformed) } else { Ok(()) }
    };
    for (place, bytes) in pieces {
        sent += bytes.len();
        let result = match usize::from(*place) % (FRAME_STREAMS + 3) {
            index if index < FRAME_STREAMS => match arrivals.index(index) {
                Some(at) => arrivals.stream(at, bytes, &mut ring, &mut take),
                None => {
                    assert!(arrivals.open(index));
                    Ok(())
                }
            },
            FRAME_STREAMS => {
                ring.0.push_back(bytes.to_vec());
                Ok(())
            }
            _ if arrivals.reads_ring() => {
                arrivals.ring(&mut ring, usize::from(*place) >> 4, &mut take).map(drop)
            }
            _ => Ok(()),
        };
        if result.is_err() {
            break;
        }
    }
    assert!(taken <= sent, "more came out than went in");
    assert!(arrivals.ids().count() <= FRAME_STREAMS);
}

/// What lies between two ends; takes as much as the input says.
#[derive(Default)]
struct Between<'s> {
    schedule: std::slice::Iter<'s, u8>,
    streams: [VecDeque<u8>; FRAME_STREAMS],
    ring: Ring,
    is_over: bool,
}

impl Between<'_> {
    /// Everything, once the input has ended: so what was sent arrives.
    fn share(&mut self, of: usize) -> usize {
        self.schedule.next().map_or(of, |byte| of * usize::from(*byte) / 255)
    }
}

impl Ways for Between<'_> {
    fn stream(&mut self, index: usize, bytes: &[u8]) -> usize {
        let taken = self.share(bytes.len());
        self.streams[index].extend(&bytes[..taken]);
        taken
    }

    fn ring(&mut self, bytes: &[u8]) -> Result<usize, RingOver> {
        if self.is_over {
            return Err(RingOver);
        }
        let taken = self.share(bytes.len());
        if taken > 0 {
            self.ring.0.push_back(bytes[..taken].to_vec());
        }
        Ok(taken)
    }
}

const REQUESTS: usize = 8;

fn honest_ends(schedule: &[u8]) {
    let mut between = Between { schedule: schedule.iter(), ..Between::default() };
    let (mut departures, mut arrivals) = (Departures::default(), Arrivals::default());
    for index in 0..FRAME_STREAMS {
        assert!(arrivals.open(index));
    }
    let (mut sent, mut seen) = ([0_u32; REQUESTS], [0_u32; REQUESTS]);
    let mut has_moved = false;
    loop {
        let is_ended = between.schedule.len() == 0;
        match between.schedule.next() {
            Some(&step) if step < 128 => {
                let id = usize::from(step) % REQUESTS;
                let length = 4 + between.schedule.next().map_or(0, |byte| usize::from(*byte));
                departures.bytes(id as u32).extend_from_slice(&frame(id as u32, sent[id], length));
                sent[id] += 1;
            }
            Some(128..160) if !has_moved => {
                has_moved = true;
                departures.move_to_ring();
            }
            Some(160..168) => between.is_over = true,
            _ => {}
        }
        let is_flushed = departures.flush(&mut between);
        let mut take = |header: Header, content: &[u8]| {
            let id = header.id() as usize;
            assert_eq!(content[..4], seen[id].to_le_bytes(), "request {id} is out of order");
            seen[id] += 1;
            Ok(())
        };
        for index in 0..FRAME_STREAMS {
            let count = between.share(between.streams[index].len());
            let bytes: Vec<u8> = between.streams[index].drain(..count).collect();
            arrivals.stream(index, &bytes, &mut between.ring, &mut take).unwrap();
        }
        if arrivals.reads_ring() {
            let most = between.share(8);
            arrivals.ring(&mut between.ring, most, &mut take).unwrap();
        }
        let is_quiet = between.streams.iter().all(VecDeque::is_empty) && between.ring.0.is_empty();
        if is_ended && is_flushed && is_quiet {
            break;
        }
    }
    assert_eq!(seen, sent, "something is lost");
}

fn frame(id: u32, number: u32, length: usize) -> Vec<u8> {
    let mut header = Header::way(3);
    header.set_id(id);
    header.set_body(length as u32);
    header.set_length((HEADER_BYTES + aligned(length)) as u32);
    let mut bytes = header.to_wire().to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.resize(header.length() as usize, 0);
    bytes
}
