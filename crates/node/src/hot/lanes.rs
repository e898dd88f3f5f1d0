//! The lanes between threads, and the inbox in which they end.
#![allow(non_snake_case, reason = "the names are the contract's")]

use linkmesh_registry::Status;

use super::entry::{INVALID, STALE, hot};

/// Where `inboxPoll` writes, `Scratch.Lanes` in the contract.
const LANES: usize = 6;

hot! {
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
