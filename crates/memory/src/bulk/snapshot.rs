//! From live memory to bytes that never change: what is queued for sending may be sent again much later.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use super::{
    BLOCK_BYTES, Head,
    block::{BLOCK_HEAD_BYTES, BlockHead},
};
use crate::{
    compress::{Advisor, Compressor},
    region::{Access, AccessError, Rights},
};

/// Buffers that are kept for reuse: 4 MiB.
const MAX_KEPT: usize = 32;
const BUFFER_BYTES: usize = BLOCK_HEAD_BYTES + BLOCK_BYTES;

/// Copies blocks out of regions, into frames where that was asked for.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// Buffers that were handed out, oldest first: the first that nobody else holds any more is used again.
    handed_out: VecDeque<Bytes>,
    compressor: Compressor,
    /// What blocks of a region gave says nothing about another's: one per grant of the session, by its number.
    advisors: HashMap<u16, Advisor>,
    path_speed: Option<f64>,
    /// What time it is, to measure the codecs by.
    clock: fn() -> Instant,
}

impl Snapshots {
    pub(super) fn new(clock: fn() -> Instant) -> Self {
        Self {
            handed_out: VecDeque::new(),
            compressor: Compressor::new(),
            advisors: HashMap::new(),
            path_speed: None,
            clock,
        }
    }

    /// Bytes a second of the path.
    pub(super) fn set_path_speed(&mut self, bytes_per_second: Option<f64>) {
        self.path_speed = bytes_per_second;
    }

    /// `length` bytes (at most [`BLOCK_BYTES`]) at `offset` of `memory`'s slice, as they are at this moment, in the form
    /// that the transfer of `head` asks for.
    pub(super) fn take(
        &mut self,
        head: &Head,
        memory: &Access,
        needed: Rights,
        offset: u64,
        length: usize,
        now: Instant,
    ) -> Result<Bytes, AccessError> {
        let Head {
            handle, options, ..
        } = *head;
        let place = memory.check(needed, offset, length as u64, now)?;
        let mut buffer = self.buffer();
        let (head, body) = buffer.split_at_mut(BLOCK_HEAD_BYTES);
        let raw = &mut body[..length];
        memory.region.read(place, raw)?;
        if !options.is_framed() {
            return Ok(self
                .hand_out(buffer)
                .slice(BLOCK_HEAD_BYTES..BLOCK_HEAD_BYTES + length));
        }
        let mut block = BlockHead {
            raw: length as u32,
            wire: length as u32,
            codec: None,
            crc: crc32c::crc32c(raw),
        };
        let advisor = options.compress.then(|| {
            let advisor = self.advisors.entry(handle).or_default();
            advisor.set_path_speed(self.path_speed);
            advisor
        });
        if let Some(advisor) = advisor
            && let Some(codec) = advisor.choose(memory.compression, raw)
        {
            let before = (self.clock)();
            let wire = self.compressor.compress(codec, raw);
            let took = (self.clock)().saturating_duration_since(before);
            advisor.note(codec, length, wire.map(<[u8]>::len), took);
            if let Some(wire) = wire {
                block.wire = wire.len() as u32;
                block.codec = Some(codec);
                raw[..wire.len()].copy_from_slice(wire);
            }
        }
        head.copy_from_slice(&block.encode());
        let end = BLOCK_HEAD_BYTES + block.wire as usize;
        Ok(self.hand_out(buffer).slice(..end))
    }

    /// A whole buffer, used before if one came back.
    fn buffer(&mut self) -> BytesMut {
        let reused = match self.handed_out.front() {
            Some(oldest) if oldest.is_unique() => self.handed_out.pop_front(),
            _ => None,
        };
        reused
            .and_then(|oldest| oldest.try_into_mut().ok())
            .filter(|buffer| buffer.len() == BUFFER_BYTES)
            .unwrap_or_else(|| BytesMut::zeroed(BUFFER_BYTES))
    }

    fn hand_out(&mut self, buffer: BytesMut) -> Bytes {
        let buffer = buffer.freeze();
        if self.handed_out.len() == MAX_KEPT {
            self.handed_out.pop_front();
        }
        self.handed_out.push_back(buffer.clone());
        buffer
    }
}
