//! One-sided operations on the memory of others.
#![allow(non_snake_case, reason = "the names are the contract's")]

use super::entry::{CLOSED, INVALID, NO_MATCH, STALE, hot};
use super::tables::integer_key;

hot! {
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
}

/// Where in a region: a whole number of bytes.
#[inline(always)]
fn integer_offset(value: f64) -> Option<u64> {
    integer_key(value).filter(|_| value >= 0.0)
}
