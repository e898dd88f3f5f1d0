//! Picks and completions: what each request costs.
#![allow(non_snake_case, reason = "the names are the contract's")]

use std::cell::Cell;

use linkmesh_registry::Status;
use linkmesh_routing::{Completed, Picked, Qos};
use linkmesh_tables::epoch::Guard;

use super::entry::{CLOSED, INVALID, NO_MATCH, STALE, hot};
use crate::engine::Engine;

/// The float64 that `pick` writes, `Scratch.PickedMsF64` in the contract, as two words.
const PICKED_MS: usize = 4;
/// Tickets are integers below: what a float64 holds exactly.
const MAX_TICKET: f64 = 9_007_199_254_740_992.0;

hot! {
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
