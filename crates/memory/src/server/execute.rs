//! One operation on the memory it names.

use std::time::Instant;

use crate::{
    frame::{Operation, Status},
    region::{Access, AccessError, Rights},
    session::{Place, Record, Window},
};

/// The sequence was above what the client may use.
#[derive(Debug)]
pub(super) struct BeyondWindow;

/// Executes `operation` once, or repeats its saved result, and appends the data of its reply to `out`.
#[inline]
pub(super) fn answer(
    window: &mut Window,
    access: Option<&Access>,
    sequence: u64,
    operation: &Operation<'_>,
    now: Instant,
    out: &mut Vec<u8>,
) -> Result<Status, BeyondWindow> {
    let repeated = match window.find(sequence) {
        Place::Fresh => false,
        Place::Executed(record) if record.saved => {
            append_value(operation, record.status, record.value, out);
            return Ok(record.status);
        }
        // A read is read again; what was skipped as a NOP stays skipped.
        Place::Executed(_) if operation.is_mutation() => return Ok(refuse(Status::Stale, 0, out)),
        Place::Executed(_) => true,
        Place::Stale => return Ok(refuse(Status::Stale, 0, out)),
        Place::Beyond => return Err(BeyondWindow),
    };
    let start = out.len();
    let (status, value) = match execute(access, operation, now, out) {
        Ok(value) => (Status::Ok, value),
        Err(Refusal(status, limit)) => {
            // A read may have made room for its bytes.
            out.truncate(start);
            (status, limit)
        }
    };
    if !repeated {
        window.keep(
            sequence,
            Record {
                status,
                value,
                saved: operation.is_mutation(),
            },
        );
    }
    if status != Status::Ok {
        return Ok(refuse(status, value, out));
    }
    Ok(status)
}

struct Refusal(Status, u64);

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let (status, limit) = Status::refusal(error);
        Self(status, limit)
    }
}

/// Executes and appends the data of a success. The value is what has to be kept of it.
#[inline]
fn execute(
    access: Option<&Access>,
    operation: &Operation<'_>,
    now: Instant,
    out: &mut Vec<u8>,
) -> Result<u64, Refusal> {
    if *operation == Operation::Nop {
        return Ok(0);
    }
    let access = access.ok_or(Refusal(Status::UnknownHandle, 0))?;
    let region = &access.region;
    match *operation {
        Operation::Read { offset, length } => {
            let at = access.check(Rights::READ, offset, length.into(), now)?;
            region.read(at, room(out, length as usize))?;
            Ok(0)
        }
        Operation::ReadVersioned {
            offset,
            length,
            version,
        } => {
            let at = access.check(Rights::READ, offset, length.into(), now)?;
            let version = access.check(Rights::READ, version, 8, now)?;
            let target = room(out, 16 + length as usize);
            let (versions, bytes) = target.split_at_mut(16);
            let (before, after) = region.read_versioned(at, bytes, version)?;
            versions[..8].copy_from_slice(&before.to_le_bytes());
            versions[8..].copy_from_slice(&after.to_le_bytes());
            Ok(0)
        }
        Operation::Write { offset, data } => {
            let at = access.check(Rights::WRITE, offset, data.len() as u64, now)?;
            region.write(at, data)?;
            Ok(0)
        }
        Operation::FetchAdd { offset, operand } => {
            let at = access.check(Rights::ATOMIC, offset, 8, now)?;
            let old = region.fetch_add(at, operand)?;
            out.extend_from_slice(&old.to_le_bytes());
            Ok(old)
        }
        Operation::CompareSwap {
            offset,
            expected,
            desired,
        } => {
            let at = access.check(Rights::ATOMIC, offset, 8, now)?;
            let old = region.compare_swap(at, expected, desired)?;
            out.extend_from_slice(&old.to_le_bytes());
            Ok(old)
        }
        Operation::Nop => Ok(0),
    }
}

/// Appends `length` zero bytes and lends them.
#[inline]
fn room(out: &mut Vec<u8>, length: usize) -> &mut [u8] {
    let start = out.len();
    out.resize(start + length, 0);
    &mut out[start..]
}

fn refuse(status: Status, limit: u64, out: &mut Vec<u8>) -> Status {
    out.extend_from_slice(&limit.to_le_bytes());
    status
}

/// Appends the data of a result that was kept.
fn append_value(operation: &Operation<'_>, status: Status, value: u64, out: &mut Vec<u8>) {
    let atomic = matches!(
        operation,
        Operation::FetchAdd { .. } | Operation::CompareSwap { .. }
    );
    if status != Status::Ok || atomic {
        out.extend_from_slice(&value.to_le_bytes());
    }
}
