//! Unit tests of the modules that `tests/loom.rs` compiles over loom's atomics, where they could not run.

mod breaker;
mod window;
