//! The hot functions: called per message or per look-up, registered directly through Node-API.
//!
//! Each is one `hot!` entry, in the order of `ts/binding/contract.ts`. The body gets the thread's state and
//! the arguments and answers with a number; a negative one is a [`Status`]. Bodies take no lock and do not
//! allocate, but for those that say so, and never call JavaScript. A panic becomes `Status::Internal`.
#![allow(non_snake_case, reason = "the names are the contract's")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use linkmesh_registry::Status;
use linkmesh_routing::{Completed, Picked, Qos, hash_key};
use linkmesh_tables::epoch::Guard;
use linkmesh_tables::{RecordRing, RingError};
use napi::sys;

use crate::args::{Args, Batch, Joint, TextError, number};
use crate::engine::Engine;
use crate::named::Table;
use crate::state::{Failure, ThreadState};

const NO_MATCH: i64 = Status::NoMatch as i64;
const STALE: i64 = Status::StaleHandle as i64;
const INVALID: i64 = Status::InvalidArgument as i64;
const CLOSED: i64 = Status::Closed as i64;
/// "No value" in an array of u32.
const ABSENT: u32 = u32::MAX;

/// Declares hot functions and `register`, which attaches them to the exports of an environment.
macro_rules! hot {
    ($($(#[$doc:meta])* fn $name:ident($state:ident, $args:ident: $count:literal) $body:block)*) => {
        $($(#[$doc])*
        unsafe extern "C" fn $name(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
            let mut args = Args::<$count> { env, count: $count, values: [ptr::null_mut(); $count] };
            let mut data = ptr::null_mut();
            // SAFETY: Node-API calls this with a live environment and call info. `count` says how many
            // values fit. `data` is the pointer given at registration: this environment's `ThreadState`,
            // which lives until the environment is gone and to which no other reference exists, because
            // functions of this addon never call back into JavaScript.
            let $state = unsafe {
                sys::napi_get_cb_info(
                    env,
                    info,
                    &raw mut args.count,
                    args.values.as_mut_ptr(),
                    ptr::null_mut(),
                    &raw mut data,
                );
                &mut *data.cast::<ThreadState>()
            };
            let $args = &args;
            let answer = match catch_unwind(AssertUnwindSafe(|| -> i64 { $body })) {
                Ok(answer) => answer,
                Err(payload) => i64::from($state.panicked(&*payload)),
            };
            number(env, answer)
        })*

        /// Attaches every hot function to `exports`, with `state` as its data.
        ///
        /// # Safety
        /// `env` and `exports` belong to the running module registration; `state` outlives the environment.
        pub(crate) unsafe fn register(env: sys::napi_env, exports: sys::napi_value, state: *mut ThreadState) {
            let entries: &[(&str, sys::napi_callback)] = &[$((concat!(stringify!($name), "\0"), Some($name))),*];
            for (name, function) in entries {
                let mut value = ptr::null_mut();
                // SAFETY: as the caller promises; the name is NUL-terminated and its length given without it.
                unsafe {
                    sys::napi_create_function(
                        env,
                        name.as_ptr().cast(),
                        name.len() as isize - 1,
                        *function,
                        state.cast(),
                        &raw mut value,
                    );
                    sys::napi_set_named_property(env, exports, name.as_ptr().cast(), value);
                }
            }
        }
    };
}

hot! {
    // --- the binding itself -----------------------------------------------------------------------------

    /// Twin of the C++ floor's empty function: what a crossing costs.
    fn floorEmpty(_state, _args: 1) { 0 }
    /// Twin of the floor's u32 → u32.
    fn floorU32(_state, args: 1) { args.u32(0).map_or(INVALID, i64::from) }
    /// Twin of the floor's (u32, u32) → u32.
    fn floorU32U32(_state, args: 2) {
        match (args.u32(0), args.u32(1)) {
            (Some(a), Some(b)) => i64::from(a ^ b),
            _ => INVALID,
        }
    }
    /// Twin of the floor's latin1 → u32: reads the text, answers its length.
    fn floorLatin1(_state, args: 1) {
        args.text(0, |bytes, _| bytes.len() as i64).unwrap_or(INVALID)
    }
    fn hashKey(_state, args: 1) {
        args.text(0, |bytes, _| i64::from(hash_key(bytes))).unwrap_or(INVALID)
    }

    // --- tables -----------------------------------------------------------------------------------------

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

    // --- router -----------------------------------------------------------------------------------------

    fn pick(state, args: 4) {
        let (Some(mesh), Some(service), Some(key)) = (args.u32(0), args.u32(1), args.u32(2)) else { return INVALID };
        // Most requests name no class, and are not charged for reading that.
        let qos = if args.count < 4 { None } else {
            let Some(Ok(qos)) = args.u32(3).map(class_of) else { return INVALID };
            qos
        };
        let Some(joined) = state.meshes.get_mut(mesh) else { return STALE };
        let engine = &*joined.engine;
        if engine.is_closed() {
            return Status::Closed as i64;
        }
        let guard = state.reader.pin();
        let mut picked = Picked::default();
        let now = engine.now();
        let ticket = engine.router.pick_for(&guard, &mut joined.caller, service, key, qos, now, &mut picked);
        say(&state.scratch.0, &picked, now, engine.is_manual());
        match ticket {
            Ok(ticket) => ticket as i64,
            Err(status) => status as i64,
        }
    }
    fn hedgeAfter(state, args: 3) {
        let (Some(mesh), Some(service), Some(Ok(qos))) = (args.u32(0), args.u32(1), args.u32(2).map(class_of))
            else { return INVALID };
        let Some(joined) = state.meshes.get(mesh) else { return STALE };
        let engine = &*joined.engine;
        let guard = state.reader.pin();
        engine.router.hedge_after(&guard, service, qos, engine.now()).map_or(NO_MATCH, |us| us as i64)
    }
    fn hedge(state, args: 4) {
        let (Some(mesh), Some(service), Some(first), Some(Ok(qos))) =
            (args.u32(0), args.u32(1), args.u32(2), args.u32(3).map(class_of)) else { return INVALID };
        let Some(joined) = state.meshes.get_mut(mesh) else { return STALE };
        let engine = &*joined.engine;
        if engine.is_closed() {
            return CLOSED;
        }
        let guard = state.reader.pin();
        let mut picked = Picked::default();
        let now = engine.now();
        let ticket = engine.router.hedge(&guard, &mut joined.caller, service, first, qos, now, &mut picked);
        say(&state.scratch.0, &picked, now, engine.is_manual());
        match ticket {
            Ok(ticket) => ticket as i64,
            Err(status) => status as i64,
        }
    }
    fn complete(state, args: 4) {
        let (Some(mesh), Some(ticket), Some(outcome), Some(latency)) =
            (args.u32(0), args.f64(1), args.u32(2), args.f64(3)) else { return INVALID };
        let Some(joined) = state.meshes.get(mesh) else { return STALE };
        // NaN fails every comparison, so it is refused here too.
        if !(0.0..MAX_TICKET).contains(&ticket) || outcome > 6 || !latency.is_finite() {
            return INVALID;
        }
        let engine = &*joined.engine;
        let guard = state.reader.pin();
        match complete_one(engine, &guard, ticket as u64, outcome as u8, latency as i64, engine.now()) {
            Ok(()) => 0,
            Err(status) => status as i64,
        }
    }
    fn completeRejected(state, args: 4) {
        let (Some(mesh), Some(ticket), Some(latency), Some(retry_after_ms)) =
            (args.u32(0), args.f64(1), args.f64(2), args.f64(3)) else { return INVALID };
        let Some(joined) = state.meshes.get(mesh) else { return STALE };
        if !(0.0..MAX_TICKET).contains(&ticket) || !latency.is_finite() || !retry_after_ms.is_finite() {
            return INVALID;
        }
        let engine = &*joined.engine;
        let guard = state.reader.pin();
        // Casts saturate: less than no time is none, and the router bounds the rest.
        let (ticket, latency, wait) = (ticket as u64, latency as i64, retry_after_ms as u32);
        let done = engine.router.complete_rejected(&guard, ticket, latency, wait, engine.now());
        match pass_on(engine, &guard, done) {
            Ok(()) => 0,
            Err(status) => status as i64,
        }
    }
    fn completeMany(state, args: 4) {
        let (Some(mesh), Some(tickets), Some(count), Some(outcome)) =
            (args.u32(0), args.doubles(1), args.u32(2), args.u32(3)) else { return INVALID };
        let Some(joined) = state.meshes.get(mesh) else { return STALE };
        let Some(tickets) = tickets.get(..count as usize) else { return INVALID };
        if outcome > 6 {
            return INVALID;
        }
        let engine = &*joined.engine;
        let guard = state.reader.pin();
        let now = engine.now();
        tickets
            .iter()
            .filter(|ticket| (0.0..MAX_TICKET).contains(*ticket))
            .filter(|ticket| complete_one(engine, &guard, **ticket as u64, outcome as u8, -1, now).is_ok())
            .count() as i64
    }

    // --- metrics ----------------------------------------------------------------------------------------

    fn metricRecord(state, args: 3) {
        let (Some(mesh), Some(metric), Some(value)) = (args.u32(0), args.u32(1), args.f64(2)) else { return INVALID };
        let Some(joined) = state.meshes.get(mesh) else { return STALE };
        if !value.is_finite() {
            return INVALID;
        }
        joined.metrics.get(metric).map_or(STALE, |metric| if metric.record(value) { 0 } else { INVALID })
    }

    // --- journal ----------------------------------------------------------------------------------------

    fn journalAppend(state, args: 4) {
        let (Some(journal), Some(bytes), Some(lengths), Some(count)) =
            (args.u32(0), args.bytes(1), args.words(2), args.u32(3)) else { return INVALID };
        let Some(open) = state.journals.get(journal) else { return STALE };
        let Some(lengths) = lengths.get(..count as usize) else { return INVALID };
        match crate::journal::append(open, bytes, lengths) {
            Ok(ticket) => ticket as i64,
            Err(failure) => i64::from(state.fail(failure)),
        }
    }
    fn journalAcks(state, args: 2) {
        let (Some(journal), Some(out)) = (args.u32(0), args.doubles(1)) else { return INVALID };
        state.journals.get_mut(journal).map_or(STALE, |open| open.acks(out) as i64)
    }

    // --- remote memory ----------------------------------------------------------------------------------

    /// Takes the engine's lock; allocates as far as the operations under way grow in number.
    fn memoryFlush(state, args: 3) {
        let (Some(mesh), Some(count), Some(spin_us)) = (args.u32(0), args.u32(1), args.u32(2)) else { return INVALID };
        let Some(joined) = state.meshes.get_mut(mesh) else { return STALE };
        let Some(memory) = joined.memory.as_deref_mut() else { return CLOSED };
        memory.flush(count, spin_us).map_or(CLOSED, |count| count as i64)
    }
    fn memoryCancel(state, args: 2) {
        let (Some(mesh), Some(id)) = (args.u32(0), args.u32(1)) else { return INVALID };
        let Some(joined) = state.meshes.get_mut(mesh) else { return STALE };
        let Some(memory) = joined.memory.as_deref_mut() else { return CLOSED };
        memory.cancel(id).map_or(NO_MATCH, i64::from)
    }
    fn memoryReadSync(state, args: 5) {
        let (Some(mesh), Some(remote), Some(offset), Some(timeout_ms)) =
            (args.u32(0), args.u32(1), args.f64(2), args.f64(4)) else { return INVALID };
        let Some(target) = args.bytes_of_any(3) else { return INVALID };
        let Some(joined) = state.meshes.get_mut(mesh) else { return STALE };
        let Some(memory) = joined.memory.as_deref_mut() else { return CLOSED };
        let Some(offset) = integer_offset(offset) else { return INVALID };
        match memory.read_sync(remote, offset, target, timeout_ms) {
            Ok(length) => length as i64,
            Err(fate) => crate::memory::refused(state, &fate),
        }
    }
    fn memoryCasSync(state, args: 4) {
        let (Some(mesh), Some(remote), Some(offset), Some(timeout_ms)) =
            (args.u32(0), args.u32(1), args.f64(2), args.f64(3)) else { return INVALID };
        let Some(joined) = state.meshes.get_mut(mesh) else { return STALE };
        let Some(memory) = joined.memory.as_deref_mut() else { return CLOSED };
        let Some(offset) = integer_offset(offset) else { return INVALID };
        match memory.compare_swap_sync(remote, offset, timeout_ms) {
            Ok(()) => 0,
            Err(fate) => crate::memory::refused(state, &fate),
        }
    }

    fn memoryAddSync(state, args: 4) {
        let (Some(mesh), Some(remote), Some(offset), Some(timeout_ms)) =
            (args.u32(0), args.u32(1), args.f64(2), args.f64(3)) else { return INVALID };
        let Some(joined) = state.meshes.get_mut(mesh) else { return STALE };
        let Some(memory) = joined.memory.as_deref_mut() else { return CLOSED };
        let Some(offset) = integer_offset(offset) else { return INVALID };
        match memory.fetch_add_sync(remote, offset, timeout_ms) {
            Ok(()) => 0,
            Err(fate) => crate::memory::refused(state, &fate),
        }
    }

    // --- threads ----------------------------------------------------------------------------------------

    fn laneCommit(state, args: 3) {
        let (Some(mesh), Some(lane), Some(tail)) = (args.u32(0), args.u32(1), args.u32(2)) else { return INVALID };
        let Some(joined) = state.meshes.get(mesh) else { return STALE };
        let Some(lane) = joined.lane(lane) else { return STALE };
        if lane.from.id != joined.peer.id {
            return INVALID;
        }
        if !lane.to.alive() {
            return Status::Closed as i64;
        }
        // Before the frame is out: its answer must not wake a thread that is awake.
        joined.peer.stay_awake();
        match lane.memory.commit(tail) {
            Ok(head) if lane.to.node().is_none() => {
                lane.to.ring();
                i64::from(head)
            }
            Ok(_) => {
                joined.send_to_node(lane.to.id);
                i64::from(lane.memory.head())
            }
            Err(_) => INVALID,
        }
    }
    fn laneRelease(state, args: 3) {
        let (Some(mesh), Some(lane), Some(head)) = (args.u32(0), args.u32(1), args.u32(2)) else { return INVALID };
        let Some(joined) = state.meshes.get(mesh) else { return STALE };
        let Some(lane) = joined.lane(lane) else { return STALE };
        if lane.to.id != joined.peer.id {
            return INVALID;
        }
        match lane.memory.release(head) {
            Ok(()) => 0,
            Err(_) => INVALID,
        }
    }
    fn inboxPoll(state, args: 1) {
        let Some(joined) = args.u32(0).and_then(|mesh| state.meshes.get_mut(mesh)) else { return STALE };
        joined.beat();
        joined.drive();
        let scratch = &state.scratch.0;
        let found = joined.poll(
            |index, lane, head, tail| {
                scratch[LANES + index * 3].set(lane);
                scratch[LANES + index * 3 + 1].set(head);
                scratch[LANES + index * 3 + 2].set(tail);
            },
            (scratch.len() - LANES) / 3,
        );
        found as i64
    }
    fn inboxArm(state, args: 1) {
        let Some(joined) = args.u32(0).and_then(|mesh| state.meshes.get(mesh)) else { return STALE };
        joined.stop_driving();
        joined.beat();
        i64::from(!joined.arm())
    }
}

/// The class of a request by the contract's number; 0 = none is named.
#[inline]
fn class_of(code: u32) -> Result<Option<Qos>, Status> {
    match Qos::from_code(code) {
        None if code != 0 => Err(Status::InvalidArgument),
        class => Ok(class),
    }
}

/// Writes what a pick says besides its ticket.
#[inline(always)]
fn say(scratch: &[Cell<u32>], picked: &Picked, now_us: u64, manual: bool) {
    scratch[0].set(picked.instance);
    scratch[1].set(picked.thread);
    scratch[2].set(picked.retry_after_ms);
    scratch[3].set(u32::from(picked.probe));
    let picked_ms = if manual {
        f64::NAN
    } else {
        now_us as f64 / 1_000.0
    }
    .to_bits();
    scratch[PICKED_MS].set(picked_ms as u32);
    scratch[PICKED_MS + 1].set((picked_ms >> 32) as u32);
}

/// The float64 that `pick` writes, `Scratch.PickedMsF64` in the contract, as two words.
const PICKED_MS: usize = 4;
/// Where `inboxPoll` writes, `Scratch.Lanes` in the contract.
const LANES: usize = 6;
/// Tickets are integers below: what a float64 holds exactly.
const MAX_TICKET: f64 = 9_007_199_254_740_992.0;

/// Completes a ticket, and wakes whoever got its place.
#[inline(always)]
fn complete_one(
    engine: &Engine,
    guard: &Guard<'_>,
    ticket: u64,
    outcome: u8,
    latency: i64,
    now: u64,
) -> Result<(), Status> {
    let done = engine.router.complete(guard, ticket, outcome, latency, now);
    pass_on(engine, guard, done)
}

/// Wakes whoever got a place.
#[inline(always)]
fn pass_on(
    engine: &Engine,
    guard: &Guard<'_>,
    done: Result<Completed, Status>,
) -> Result<(), Status> {
    let done = done?;
    if let Some(thread) = done.granted_thread() {
        engine.signal(guard, thread);
    }
    if done.more() {
        engine.tick();
    }
    Ok(())
}

#[inline(always)]
fn with_id_table(
    state: &ThreadState,
    handle: Option<u32>,
    body: impl FnOnce(&linkmesh_tables::FingerprintedIdTable, &Guard<'_>) -> i64,
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

/// Where in a region: a whole number of bytes.
#[inline(always)]
fn integer_offset(value: f64) -> Option<u64> {
    integer_key(value).filter(|_| value >= 0.0)
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

/// A panic on purpose, for `selfTestPanic`.
pub(crate) fn panic_on_purpose() -> Result<f64, Failure> {
    panic!("a panic on purpose, to prove that it stops at the edge")
}
