//! Opening, filling and closing tables: the cold half. Look-ups are in `hot`.

use linkmesh_registry::Status;
use linkmesh_tables::{
    ByteRing, CompressedRadixArena, FingerprintedIdTable, RadixError, RecordRing, RingError,
    TableError,
};
use napi::bindgen_prelude::*;
use napi::sys;
use napi_derive::napi;

use crate::args::{TextError, text};
use crate::hot::integer_key;
use crate::named::{ID_TABLES, NamedRing, RADIX_ARENAS, RINGS, Table};
use crate::state::{Failure, ThreadState};

type Checked<T> = std::result::Result<T, Failure>;

/// Longest name of a table.
const MAX_NAME_BYTES: usize = 256;
const MAX_CAPACITY: f64 = (1u32 << 28) as f64;
/// Largest ring, as in `linkmesh_tables`.
const MAX_RING_BYTES: f64 = (1u32 << 28) as f64;
/// Longest byte key, as in `linkmesh_tables`.
const MAX_KEY_BYTES: usize = 65_536;
/// Longest path pattern, as in `linkmesh_tables`.
const MAX_PATTERN_BYTES: usize = 4_096;

pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Failure {
    Failure::new(Status::InvalidArgument, message).field(field)
}

/// A string argument, refused when it is none or has a lone surrogate.
fn read_text(env: &Env, value: &Unknown<'_>, field: &str) -> Checked<String> {
    text(env.raw(), value.raw(), |bytes, _| {
        String::from_utf8_lossy(bytes).into_owned()
    })
    .map_err(|error| match error {
        TextError::NotText => invalid(field, format!("{field} is a string")),
        TextError::LoneSurrogate => invalid(
            field,
            format!("{field} has a surrogate without its partner"),
        ),
        TextError::TooLong => Failure::new(Status::LimitExceeded, format!("{field} is too long"))
            .field(field)
            .limit(match field {
                "key" => MAX_KEY_BYTES as f64,
                "name" => MAX_NAME_BYTES as f64,
                _ => MAX_PATTERN_BYTES as f64,
            }),
    })
}

/// A table's name, or `None` for a table of the caller's own.
fn name(env: &Env, name: &Unknown<'_>) -> Checked<Option<String>> {
    if matches!(name.get_type(), Ok(ValueType::Null | ValueType::Undefined)) {
        return Ok(None);
    }
    let name = read_text(env, name, "name")?;
    if name.is_empty() {
        return Err(invalid(
            "name",
            "a table's name is not empty; leave it out for a table of your own",
        )
        .limit(1.0));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(too_long("name", name.len(), MAX_NAME_BYTES));
    }
    Ok(Some(name))
}

fn whole(value: f64, field: &str, most: f64) -> Checked<usize> {
    if value.fract() != 0.0 || !value.is_finite() || value < 0.0 {
        return Err(invalid(
            field,
            format!("{field} is a whole number, not {value}"),
        ));
    }
    if value > most {
        return Err(
            Failure::new(Status::LimitExceeded, format!("{field} is at most {most}"))
                .field(field)
                .limit(most),
        );
    }
    Ok(value as usize)
}

fn value_of(value: f64) -> Checked<u32> {
    whole(value, "value", f64::from(u32::MAX - 1)).map(|value| value as u32)
}

fn keep(state: &mut ThreadState, table: Table) -> Checked<f64> {
    state.tables.insert(table).map(f64::from).ok_or_else(|| {
        Failure::new(Status::LimitExceeded, "too many open tables in this thread")
            .field("tables")
            .limit(f64::from(1 << 17))
    })
}

enum Key {
    Number(u64),
    Bytes(Vec<u8>),
}

fn key_of(env: &Env, value: &Unknown<'_>) -> Checked<Key> {
    match value
        .get_type()
        .map_err(|error| invalid("key", error.reason.clone()))?
    {
        ValueType::Number => {
            let mut number = 0.0;
            // SAFETY: the environment and the value belong to the running call.
            unsafe { sys::napi_get_value_double(env.raw(), value.raw(), &raw mut number) };
            integer_key(number).map(Key::Number).ok_or_else(|| {
                invalid(
                    "key",
                    format!("a number key is a safe integer, not {number}"),
                )
            })
        }
        ValueType::String => checked_bytes(read_text(env, value, "key")?.into_bytes()),
        _ => {
            // SAFETY: `from_napi_value` checks that the value is a Uint8Array.
            let bytes = unsafe { Uint8Array::from_napi_value(env.raw(), value.raw()) }
                .map_err(|_| invalid("key", "a key is a string, a number or a Uint8Array"))?;
            checked_bytes(bytes.to_vec())
        }
    }
}

/// The limits of a byte key, for every call that takes one: a key that cannot be in a table is a mistake.
fn checked_bytes(bytes: Vec<u8>) -> Checked<Key> {
    match bytes.len() {
        0 => Err(invalid("key", "the key is empty").limit(1.0)),
        length if length > MAX_KEY_BYTES => Err(too_long("key", length, MAX_KEY_BYTES)),
        _ => Ok(Key::Bytes(bytes)),
    }
}

fn too_long(field: &str, length: usize, limit: usize) -> Failure {
    Failure::new(
        Status::LimitExceeded,
        format!("{length} bytes are too many"),
    )
    .field(field)
    .limit(limit as f64)
}

#[napi]
pub fn id_table_open(env: &Env, table: Unknown<'_>, capacity: f64) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let capacity = whole(capacity, "capacity", MAX_CAPACITY)?;
        let table = ID_TABLES.open(name(env, &table)?, || {
            FingerprintedIdTable::with_capacity(capacity).map_err(table_error)
        })?;
        keep(state, Table::Id(table))
    })
}

fn id_table(state: &ThreadState, handle: u32) -> Checked<&FingerprintedIdTable> {
    match state.tables.get(handle) {
        Some(Table::Id(table)) => Ok(table),
        _ => Err(Failure::stale("table")),
    }
}

#[napi]
pub fn id_table_set(env: &Env, table: u32, key: Unknown<'_>, value: f64) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let table = id_table(state, table)?;
        let value = value_of(value)?;
        match key_of(env, &key)? {
            Key::Number(key) => table.insert_u64(key, value),
            Key::Bytes(key) => table.insert_bytes(&key, value),
        }
        .map(|_| 0.0)
        .map_err(table_error)
    })
}

#[napi]
pub fn id_table_delete(env: &Env, table: u32, key: Unknown<'_>) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let table = id_table(state, table)?;
        let removed = match key_of(env, &key)? {
            Key::Number(key) => table.remove_u64(key),
            Key::Bytes(key) => table.remove_bytes(&key),
        };
        Ok(f64::from(u8::from(removed.is_some())))
    })
}

#[napi]
pub fn id_table_size(env: &Env, table: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| id_table(state, table).map(|table| table.len() as f64))
}

#[napi]
pub fn id_table_bytes(env: &Env, table: u32) -> f64 {
    ThreadState::of(env)
        .edge_number(|state| id_table(state, table).map(|table| table.memory_bytes() as f64))
}

#[napi]
pub fn radix_open(env: &Env, table: Unknown<'_>) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let arena = RADIX_ARENAS.open(name(env, &table)?, || {
            CompressedRadixArena::new().map_err(radix_error)
        })?;
        keep(state, Table::Radix(arena))
    })
}

fn arena(state: &ThreadState, handle: u32) -> Checked<&CompressedRadixArena> {
    match state.tables.get(handle) {
        Some(Table::Radix(arena)) => Ok(arena),
        _ => Err(Failure::stale("table")),
    }
}

#[napi]
pub fn radix_insert(env: &Env, table: u32, pattern: Unknown<'_>, value: f64, syntax: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let arena = arena(state, table)?;
        let value = value_of(value)?;
        let pattern = read_text(env, &pattern, "pattern")?;
        match syntax {
            0 => arena.insert_pattern(&pattern, value),
            1 => arena.insert_prefix(pattern.as_bytes(), value),
            _ => return Err(invalid("syntax", "the syntax is 0 (pattern) or 1 (prefix)")),
        }
        .map(|_| 0.0)
        .map_err(radix_error)
    })
}

#[napi]
pub fn radix_delete(env: &Env, table: u32, pattern: Unknown<'_>, syntax: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let arena = arena(state, table)?;
        let pattern = read_text(env, &pattern, "pattern")?;
        let removed = match syntax {
            0 => arena.remove_pattern(&pattern).map_err(radix_error)?,
            1 => arena
                .remove_prefix(pattern.as_bytes())
                .map_err(radix_error)?,
            _ => return Err(invalid("syntax", "the syntax is 0 (pattern) or 1 (prefix)")),
        };
        Ok(f64::from(u8::from(removed.is_some())))
    })
}

#[napi]
pub fn radix_names(env: &Env, table: u32, pattern_id: u32) -> String {
    ThreadState::of(env).edge_text(|state| {
        let names = arena(state, table)?.names(pattern_id);
        names.map_or(Ok(String::new()), |names| crate::mesh::json(&names))
    })
}

#[napi]
pub fn radix_size(env: &Env, table: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| arena(state, table).map(|arena| arena.len() as f64))
}

#[napi]
pub fn ring_open(env: &Env, table: Unknown<'_>, kind: u32, capacity_bytes: f64) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let many = match kind {
            0 => false,
            1 => true,
            _ => {
                return Err(invalid(
                    "kind",
                    "the kind is 0 (one producer, one consumer) or 1 (many of both)",
                ));
            }
        };
        let bytes = whole(capacity_bytes, "capacityBytes", MAX_RING_BYTES)?;
        // A capacity outside the limits is refused even when the ring exists and the capacity does not matter.
        ByteRing::check_capacity(bytes).map_err(ring_error)?;
        let ring = RINGS.open(name(env, &table)?, || {
            let ring = if many {
                ByteRing::mpmc(bytes)
            } else {
                ByteRing::spsc(bytes)
            };
            ring.map(|ring| NamedRing { many, ring })
                .map_err(ring_error)
        })?;
        if ring.many != many {
            return Err(invalid(
                "kind",
                "a ring of that name exists with the other kind",
            ));
        }
        keep(state, Table::Ring(ring))
    })
}

#[napi]
pub fn ring_length(env: &Env, ring: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| match state.tables.get(ring) {
        Some(Table::Ring(named)) => Ok(named.ring.len() as f64),
        _ => Err(Failure::stale("ring")),
    })
}

#[napi]
pub fn table_close(env: &Env, table: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        state
            .tables
            .remove(table)
            .map(|_| 0.0)
            .ok_or_else(|| Failure::stale("table"))
    })
}

fn table_error(error: TableError) -> Failure {
    match error {
        TableError::KeyEmpty => invalid("key", error.to_string()).limit(1.0),
        TableError::ValueReserved => invalid("value", error.to_string()),
        TableError::KeyTooLong { limit, .. } => {
            Failure::new(Status::LimitExceeded, error.to_string())
                .field("key")
                .limit(limit as f64)
        }
        TableError::Capacity { limit } | TableError::KeyBytes { limit } => {
            Failure::new(Status::LimitExceeded, error.to_string())
                .field("capacity")
                .limit(limit as f64)
        }
        _ => Failure::new(Status::LimitExceeded, error.to_string()).field("capacity"),
    }
}

fn radix_error(error: RadixError) -> Failure {
    use linkmesh_tables::PatternReason::{TooLong, TooManyCaptures, TooManySegments};
    let words = error.to_string();
    let limited = |limit: usize| {
        Failure::new(Status::LimitExceeded, words.clone())
            .field("pattern")
            .limit(limit as f64)
    };
    match &error {
        RadixError::Pattern(pattern) => match pattern.reason {
            TooLong { limit } | TooManyCaptures { limit } | TooManySegments { limit } => {
                limited(limit)
            }
            _ => invalid("pattern", words),
        },
        RadixError::PrefixTooLong { limit, .. } | RadixError::ArenaFull { limit } => {
            limited(*limit)
        }
        RadixError::ValueReserved => invalid("value", words),
        RadixError::OutOfMemory => Failure::new(Status::LimitExceeded, words).field("pattern"),
        _ => invalid("pattern", words),
    }
}

fn ring_error(error: RingError) -> Failure {
    let words = error.to_string();
    match error {
        RingError::Capacity { capacity, min, .. } if capacity < min => {
            invalid("capacityBytes", words).limit(min as f64)
        }
        RingError::Capacity { max, .. } => Failure::new(Status::LimitExceeded, words)
            .field("capacityBytes")
            .limit(max as f64),
        _ => Failure::new(Status::LimitExceeded, words).field("capacityBytes"),
    }
}
