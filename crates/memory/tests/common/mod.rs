//! What the tests of this folder share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

pub mod history;
pub mod nodes;
pub mod pair;
pub mod proxy;
pub mod random;
pub mod record;
pub mod seeds;
pub mod world;
