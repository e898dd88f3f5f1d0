//! What the tests of this crate share: an identity without files, a network without sockets, an application that checks
//! every byte.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod attacker;
pub mod channels;
pub mod cores;
pub mod echo;
pub mod gate;
pub mod identity;
pub mod members;
pub mod network;
pub mod pair;
pub mod plain;
pub mod relayed;
