//! Twins of the C++ floor, by which the cost of a crossing is told from the cost of what is called; and the hash of a key.
#![allow(non_snake_case, reason = "the names are the contract's")]

use linkmesh_routing::hash_key;

use super::entry::{INVALID, hot};

hot! {
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
}
