//! The bounds of the registry. Everything that can grow has one.

use crate::handle::SLOT_MASK;

/// How much a registry takes. Lower them for tests or small processes; [`Limits::default`] is also the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Services at one time.
    pub services: usize,
    /// Instances at one time, all services together.
    pub instances: usize,
    /// Instances of one service.
    pub instances_per_service: usize,
    /// Connections at one time.
    pub connections: usize,
    /// Events kept; older ones are dropped and reported as a gap.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: SLOT_MASK as usize + 1,
            instances: SLOT_MASK as usize + 1,
            instances_per_service: 4_096,
            connections: 65_536,
            events: 4_096,
        }
    }
}

/// Bytes of a service name.
pub const NAME_BYTES: usize = 256;
/// Bytes of an address or a connection's remote.
pub const ADDRESS_BYTES: usize = 2_048;
/// Bytes of a zone.
pub const ZONE_BYTES: usize = 64;
/// Tags of an instance, and of a query.
pub const TAGS: usize = 32;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 64;
/// Bytes of a version.
pub const VERSION_BYTES: usize = 64;
/// Metadata entries.
pub const METADATA: usize = 32;
/// Bytes of a metadata key.
pub const METADATA_KEY_BYTES: usize = 64;
/// Bytes of a metadata value.
pub const METADATA_VALUE_BYTES: usize = 1_024;
/// Largest weight.
pub const WEIGHT: u32 = 1_000;
/// Lowest priority of an instance.
pub const PRIORITY: u32 = 15;
/// Largest concurrency override; 0 means none.
pub const CONCURRENCY: u32 = 1_000_000;
/// Longest lease, milliseconds: one day.
pub const LEASE_MS: u32 = 86_400_000;
/// Bytes of one JSON argument.
pub const JSON_BYTES: usize = 262_144;
