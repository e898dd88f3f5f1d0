//! From live memory to bytes that never change: what is queued for sending may be sent again much later.

use std::{collections::VecDeque, time::Instant};

use bytes::{Bytes, BytesMut};

use super::{
    BLOCK_BYTES, Options,
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
    pub(super) advisor: Advisor,
    /// What time it is, to measure the codecs by.
    clock: fn() -> Instant,
}

impl Snapshots {
    pub(super) fn new(clock: fn() -> Instant) -> Self {
        Self {
            handed_out: VecDeque::new(),
            compressor: Compressor::new(),
            advisor: Advisor::new(),
            clock,
        }
    }

    /// `length` bytes (at most [`BLOCK_BYTES`]) at `offset` of `memory`'s slice, as they are at this moment.
    pub(super) fn take(
        &mut self,
        memory: &Access,
        needed: Rights,
        offset: u64,
        length: usize,
        options: Options,
        now: Instant,
    ) -> Result<Bytes, AccessError> {
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
        if options.compress
            && let Some(codec) = self.advisor.choose(raw)
        {
            let before = (self.clock)();
            let wire = self.compressor.compress(codec, raw);
            let took = (self.clock)().saturating_duration_since(before);
            self.advisor
                .note(codec, length, wire.map(<[u8]>::len), took);
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
