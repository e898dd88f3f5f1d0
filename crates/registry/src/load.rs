//! What discovery asks the routing floor: figures of an instance at this moment.

use crate::{Breaker, Handle};

/// Figures of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InstanceLoad {
    /// Requests picked and not completed.
    pub in_flight: u32,
    /// Concurrency limit in force; 0 = none.
    pub limit: u32,
    /// Latency estimate, microseconds; 0 = not measured yet.
    pub latency_us: f32,
    /// Breaker state.
    pub breaker: Breaker,
    /// Requests picked, completed well, completed badly since registration, modulo 2^32.
    pub picked: u32,
    /// See `picked`.
    pub succeeded: u32,
    /// See `picked`.
    pub failed: u32,
    /// Until when it is kept out by outlier detection or by an operator, microseconds; `None`: it is not.
    pub ejected_until_us: Option<u64>,
}

/// Whoever keeps the figures. Called once per considered instance; must not block.
pub trait LoadSource {
    /// Figures of `instance`, all zero when it is not known.
    fn load(&self, instance: Handle) -> InstanceLoad;
}

/// No figures at all: for a registry without a router.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLoad;

impl LoadSource for NoLoad {
    fn load(&self, _instance: Handle) -> InstanceLoad {
        InstanceLoad::default()
    }
}
