//! What is kept of an operation until it is answered.

use std::time::Instant;

use super::Outcome;
use crate::frame::Operation;

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Never sent.
    Queued,
    /// Sent at least once; the caller waits for the answer.
    Sent,
    /// Sent, the caller was told already; the answer will be dropped.
    Abandoned,
    /// Over. If it has to be sent after all, so that a fence does not wait for it, it goes as a NOP.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    ReadVersioned,
    Write,
    FetchAdd,
    CompareSwap,
    Nop,
}

/// One operation. `a` and `b` are its operands: version offset; operand; expected and desired.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) stage: Stage,
    pub(super) kind: Kind,
    pub(super) fence: bool,
    pub(super) handle: u16,
    pub(super) length: u32,
    pub(super) token: u64,
    pub(super) deadline: Option<Instant>,
    offset: u64,
    a: u64,
    b: u64,
    /// What a write writes.
    pub(super) data: Vec<u8>,
}

impl Pending {
    /// Keeps `operation`, whose bytes go into `data`, an empty vector.
    pub(super) fn new(operation: &Operation<'_>, mut data: Vec<u8>) -> Self {
        let (kind, offset, length, a, b) = match *operation {
            Operation::Read { offset, length } => (Kind::Read, offset, length, 0, 0),
            Operation::ReadVersioned {
                offset,
                length,
                version,
            } => (Kind::ReadVersioned, offset, length, version, 0),
            Operation::Write {
                offset,
                data: bytes,
            } => {
                data.extend_from_slice(bytes);
                (Kind::Write, offset, bytes.len() as u32, 0, 0)
            }
            Operation::FetchAdd { offset, operand } => (Kind::FetchAdd, offset, 8, operand, 0),
            Operation::CompareSwap {
                offset,
                expected,
                desired,
            } => (Kind::CompareSwap, offset, 8, expected, desired),
            Operation::Nop => (Kind::Nop, 0, 0, 0, 0),
        };
        let stage = Stage::Queued;
        Self {
            stage,
            kind,
            fence: false,
            handle: 0,
            length,
            token: 0,
            deadline: None,
            offset,
            a,
            b,
            data,
        }
    }

    /// What goes onto the wire.
    #[inline]
    pub(super) fn operation(&self) -> Operation<'_> {
        if matches!(self.stage, Stage::Done | Stage::Abandoned) {
            return Operation::Nop;
        }
        let (offset, length) = (self.offset, self.length);
        match self.kind {
            Kind::Read => Operation::Read { offset, length },
            Kind::ReadVersioned => Operation::ReadVersioned {
                offset,
                length,
                version: self.a,
            },
            Kind::Write => Operation::Write {
                offset,
                data: &self.data,
            },
            Kind::FetchAdd => Operation::FetchAdd {
                offset,
                operand: self.a,
            },
            Kind::CompareSwap => Operation::CompareSwap {
                offset,
                expected: self.a,
                desired: self.b,
            },
            Kind::Nop => Operation::Nop,
        }
    }

    /// Bytes that it keeps in flight, both ways together.
    #[inline]
    pub(super) const fn cost(&self) -> u64 {
        (self.length as u64) + 64
    }

    /// What is known of its effect when no answer comes any more.
    pub(super) const fn outcome_unanswered(&self) -> Outcome {
        let mutation = matches!(self.kind, Kind::Write | Kind::FetchAdd | Kind::CompareSwap);
        match self.stage {
            Stage::Sent if mutation => Outcome::Unknown,
            _ => Outcome::NotDelivered,
        }
    }
}
