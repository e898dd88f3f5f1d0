//! What the threads of a journal wait for each other with, in one place: `tests/loom.rs` compiles the modules that take
//! turns over loom's instead.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
