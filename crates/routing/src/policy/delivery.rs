//! What is promised about a message beyond that it is delivered: its place among others, and that a repeat is no second one.

use linkmesh_registry::{Fields, RegistryError};
use serde::Serialize;

const DAY_MS: u32 = 86_400_000;
const GIB: u32 = 1 << 30;

/// Which requests come one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum OrderingPolicy {
    /// None.
    #[default]
    None,
    /// Those with one key: the next begins when the one before has ended, retries included.
    Key,
}

impl OrderingPolicy {
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "key" => Some(Self::Key),
            _ => None,
        }
    }
}

/// What is remembered of requests with an idempotency key. Shape of the contract's `IdempotencyPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdempotencyPolicy {
    /// A result is remembered for this long, milliseconds; 1 to a day, default 300,000.
    pub ttl_ms: u32,
    /// Keys that are remembered; 1 to 1,000,000, default 10,000. The oldest result makes room.
    pub max_entries: u32,
    /// Bytes of all results and their keys; 1,024 to 1 GiB, default 16 MiB. The oldest result makes room.
    pub max_bytes: u32,
}

impl Default for IdempotencyPolicy {
    fn default() -> Self {
        Self {
            ttl_ms: 300_000,
            max_entries: 10_000,
            max_bytes: 16 << 20,
        }
    }
}

impl IdempotencyPolicy {
    pub(crate) const FIELDS: [&str; 3] = ["ttlMs", "maxEntries", "maxBytes"];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let or = Self::default();
        Ok(Self {
            ttl_ms: fields.integer32("ttlMs", 1, DAY_MS)?.unwrap_or(or.ttl_ms),
            max_entries: fields
                .integer32("maxEntries", 1, 1_000_000)?
                .unwrap_or(or.max_entries),
            max_bytes: fields
                .integer32("maxBytes", 1_024, GIB)?
                .unwrap_or(or.max_bytes),
        })
    }
}
