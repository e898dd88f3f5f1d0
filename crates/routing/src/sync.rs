//! The atomics of this crate, in one place: `tests/loom.rs` compiles the modules of a cell over loom's instead.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
