//! Look-ups in tables, and records through rings.
#![allow(non_snake_case, reason = "the names are the contract's")]

use linkmesh_registry::Status;
use linkmesh_tables::epoch::Guard;
use linkmesh_tables::{FingerprintedIdTable, RecordRing, RingError};

use super::entry::{INVALID, NO_MATCH, STALE, hot};
use crate::args::{Args, Batch, Joint, TextError};
use crate::named::Table;
use crate::state::ThreadState;

/// "No value" in an array of u32.
const ABSENT: u32 = u32::MAX;

hot! {
    fn idTableGetString(state, args: 2) {
        with_id_table(state, args.u32(0), |table, guard| {
            match args.text(1, |bytes, _| table.get_bytes(bytes, guard)) {
                Ok(value) => value.map_or(NO_MATCH, i64::from),
                Err(TextError::NotText) => INVALID,
                // Neither can have been inserted.
                Err(TextError::LoneSurrogate | TextError::TooLong) => NO_MATCH,
            }
        })
    }
    fn idTableGetNumber(state, args: 2) {
        with_id_table(state, args.u32(0), |table, guard| {
            let Some(key) = args.f64(1).and_then(integer_key) else { return INVALID };
            table.get_u64(key, guard).map_or(NO_MATCH, i64::from)
        })
    }
    fn idTableGetBytes(state, args: 2) {
        with_id_table(state, args.u32(0), |table, guard| {
            let Some(key) = args.bytes(1) else { return INVALID };
            table.get_bytes(key, guard).map_or(NO_MATCH, i64::from)
        })
    }
    fn idTableGetManyU32(state, args: 3) {
        with_id_table(state, args.u32(0), |table, guard| {
            match (args.words(1), args.words(2)) {
                (Some(keys), Some(out)) if out.len() >= keys.len() && apart(keys, out) => {
                    table.get_many_u32(keys, out, guard) as i64
                }
                _ => INVALID,
            }
        })
    }
    fn idTableGetManyU64(state, args: 3) {
        with_id_table(state, args.u32(0), |table, guard| {
            match (args.longs(1), args.words(2)) {
                (Some(keys), Some(out)) if out.len() >= keys.len() && apart(keys, out) => {
                    table.get_many_u64(keys, out, guard) as i64
                }
                _ => INVALID,
            }
        })
    }
    fn idTableGetManyStrings(state, args: 4) {
        let Some(Table::Id(table)) = args.u32(0).and_then(|handle| state.tables.get(handle)) else { return STALE };
        let guard = state.reader.pin();
        each_string(&mut state.batch, args, |bytes| table.get_bytes(bytes, &guard))
    }

    fn radixMatch(state, args: 3) {
        let Some(Table::Radix(arena)) = args.u32(0).and_then(|handle| state.tables.get(handle)) else { return STALE };
        let guard = state.reader.pin();
        let spans = if args.count > 2 { args.words(2) } else { None };
        let found = args.text(1, |path, ascii| {
            // 32 captures at most: the pattern parser refuses more.
            let mut captures = [0u32; 64];
            let found = arena.match_path(path, &mut captures, &guard)?;
            if let Some(spans) = spans {
                let used = found.captures * 2;
                if spans.len() >= used + 2 {
                    spans[0] = found.pattern_id;
                    spans[1] = found.captures as u32;
                    spans[2..used + 2].copy_from_slice(&captures[..used]);
                    if !ascii {
                        spans[2..used + 2].iter_mut().for_each(|at| *at = utf16_offset(path, *at));
                    }
                }
            }
            Some(found.value)
        });
        match found {
            Ok(value) => value.map_or(NO_MATCH, i64::from),
            Err(TextError::NotText) => INVALID,
            Err(_) => NO_MATCH,
        }
    }
    fn radixMatchMany(state, args: 4) {
        let Some(Table::Radix(arena)) = args.u32(0).and_then(|handle| state.tables.get(handle)) else { return STALE };
        let guard = state.reader.pin();
        each_string(&mut state.batch, args, |path| arena.match_path(path, &mut [0u32; 64], &guard).map(|found| found.value))
    }
    fn radixLongestPrefix(state, args: 2) {
        let Some(Table::Radix(arena)) = args.u32(0).and_then(|handle| state.tables.get(handle)) else { return STALE };
        let guard = state.reader.pin();
        match args.text(1, |key, _| arena.longest_prefix(key, &guard)) {
            Ok(value) => value.map_or(NO_MATCH, i64::from),
            Err(TextError::NotText) => INVALID,
            Err(_) => NO_MATCH,
        }
    }

    fn ringPush(state, args: 2) {
        let Some(Table::Ring(ring)) = args.u32(0).and_then(|handle| state.tables.get(handle)) else { return STALE };
        let Some(record) = args.bytes(1) else { return INVALID };
        match ring.ring.push(record) {
            Ok(()) => 0,
            Err(RingError::Full) => Status::RingFull as i64,
            // A second thread on a side that is for one.
            Err(RingError::Busy) => INVALID,
            Err(_) => Status::LimitExceeded as i64,
        }
    }
    fn ringPop(state, args: 2) {
        let Some(Table::Ring(ring)) = args.u32(0).and_then(|handle| state.tables.get(handle)) else { return STALE };
        let Some(out) = args.bytes(1) else { return INVALID };
        match ring.ring.pop(out) {
            Ok(Some(length)) => length as i64,
            Ok(None) => NO_MATCH,
            Err(RingError::Busy) => INVALID,
            Err(_) => Status::LimitExceeded as i64,
        }
    }
}

#[inline(always)]
fn with_id_table(
    state: &ThreadState,
    handle: Option<u32>,
    body: impl FnOnce(&FingerprintedIdTable, &Guard<'_>) -> i64,
) -> i64 {
    let Some(Table::Id(table)) = handle.and_then(|handle| state.tables.get(handle)) else {
        return STALE;
    };
    let guard = state.reader.pin();
    body(table, &guard)
}

/// A number is a key when it is a safe integer; negative ones keep their two's complement.
#[inline(always)]
#[expect(clippy::float_cmp, reason = "exactly this number or none")]
pub(crate) fn integer_key(value: f64) -> Option<u64> {
    // There and back is two instructions; `fract` calls the mathematics library. NaN equals nothing.
    let whole = value as i64;
    (whole as f64 == value && value.abs() <= 9_007_199_254_740_991.0).then_some(whole as u64)
}

/// True when two arrays of the caller share no byte, so that one may be written while the other is read.
fn apart<A, B>(a: &[A], b: &[B]) -> bool {
    let (a, b) = (a.as_ptr_range(), b.as_ptr_range());
    a.end as usize <= b.start as usize || b.end as usize <= a.start as usize
}

/// Looks up each of the strings joined in argument 1, cut by the lengths of argument 2, into argument 3.
fn each_string(
    batch: &mut Batch,
    args: &Args<4>,
    mut look_up: impl FnMut(&[u8]) -> Option<u32>,
) -> i64 {
    let (Some(lengths), Some(out)) = (args.words(2), args.words(3)) else {
        return INVALID;
    };
    if out.len() < lengths.len() || !apart(lengths, out) {
        return INVALID;
    }
    let Some(joined) = batch.read(args.env, args.values[1]) else {
        return INVALID;
    };
    let mut found = 0;
    let mut start = 0usize;
    for (length, out) in lengths.iter().zip(out) {
        let end = start + *length as usize;
        let answer = match joined {
            Joint::Ascii(bytes) => match bytes.get(start..end) {
                Some(key) => look_up(key),
                None => return INVALID,
            },
            // Cut first, then decode: two halves of a pair that meet at a seam are two lone surrogates.
            Joint::Units(units) => match units.get(start..end) {
                Some(key) => String::from_utf16(key)
                    .ok()
                    .and_then(|key| look_up(key.as_bytes())),
                None => return INVALID,
            },
        };
        *out = answer.map_or(ABSENT, |value| {
            found += 1;
            value
        });
        start = end;
    }
    found
}

/// Offset in UTF-16 units of a byte offset that lies on a character's edge.
fn utf16_offset(text: &[u8], byte: u32) -> u32 {
    text[..byte as usize].iter().fold(0, |units, byte| {
        units + u32::from(byte & 0xC0 != 0x80) + u32::from(*byte >= 0xF0)
    })
}
