//! Which of the eligible instances is picked, and which are eligible first.

use linkmesh_registry::{Fields, RegistryError};
use serde::Serialize;

/// Which instance of the eligible ones is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Balancer {
    /// One after the other.
    RoundRobin = 0,
    /// One after the other, each as often as its weight says, evenly interleaved.
    Weighted = 1,
    /// The less loaded of two random ones, or of all.
    #[default]
    LeastRequest = 2,
    /// The one of two random ones, or of all, that answers sooner, by latency and load.
    PeakEwma = 3,
    /// Any, by weight.
    Random = 4,
    /// The fastest of those that are not busier than usual; when all are, the least busy.
    Adaptive = 5,
    /// A key stays on one instance: nginx's ketama ring. Without a key as `LeastRequest`.
    ConsistentHash = 6,
    /// A key stays on one instance: Maglev's table. Without a key as `LeastRequest`.
    Maglev = 7,
    /// A key stays on one instance: highest random weight. Without a key as `LeastRequest`.
    Rendezvous = 8,
}

impl Balancer {
    /// All of them, by number.
    pub const ALL: [Self; 9] = [
        Self::RoundRobin,
        Self::Weighted,
        Self::LeastRequest,
        Self::PeakEwma,
        Self::Random,
        Self::Adaptive,
        Self::ConsistentHash,
        Self::Maglev,
        Self::Rendezvous,
    ];

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted",
            Self::LeastRequest => "least-request",
            Self::PeakEwma => "peak-ewma",
            Self::Random => "random",
            Self::Adaptive => "adaptive",
            Self::ConsistentHash => "consistent-hash",
            Self::Maglev => "maglev",
            Self::Rendezvous => "rendezvous",
        }
    }

    /// Whether a key's instance is its very business; with the others a key has a home by the way.
    pub const fn hashes(self) -> bool {
        matches!(self, Self::ConsistentHash | Self::Maglev | Self::Rendezvous)
    }

    /// By the word of the contract.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|balancer| balancer.as_str() == word)
    }

    /// By number, the default for any other.
    pub(crate) fn from_code(code: u8) -> Self {
        Self::ALL
            .get(usize::from(code))
            .copied()
            .unwrap_or_default()
    }
}

/// What becomes of requests when no instance is in the subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum SubsetFallback {
    /// The other instances take what the subset cannot.
    #[default]
    Any,
    /// The other instances are not used at all.
    None,
}

/// Which instances come first, and how the balancers look at them. Shape of the contract's `BalancingPolicy`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancingPolicy {
    /// `least-request` and `peak-ewma` look at all instances instead of two; default false.
    pub full_scan: bool,
    /// Bounded loads for keys: an instance takes at most this percentage of the mean load, the next in its order the
    /// rest; 100 to 1,000, 0 = no bound, default 0.
    pub hash_balance_factor: u32,
    /// A new or recovered instance gets its full share after this, milliseconds, at first a tenth; 0 to an hour,
    /// default 0. Not for keys.
    pub slow_start_ms: u32,
    /// When fewer than this share of a tier are healthy, breakers and ejections are ignored: 0 to 1, default 0.
    pub panic_threshold: f64,
    /// Instances in the zone of the caller first; default false.
    pub zone_first: bool,
    /// A tier keeps all of its load down to 1 / this share of healthy instances; 1 to 10, default 1.4.
    pub overprovisioning: f64,
    /// Only, or first, instances that have all of these tags; at most 8, default none.
    pub subset: Vec<String>,
    /// What becomes of requests when the subset cannot take them; default `any`.
    pub subset_fallback: SubsetFallback,
}

impl Default for BalancingPolicy {
    fn default() -> Self {
        Self {
            full_scan: false,
            hash_balance_factor: 0,
            slow_start_ms: 0,
            panic_threshold: 0.0,
            zone_first: false,
            overprovisioning: 1.4,
            subset: Vec::new(),
            subset_fallback: SubsetFallback::default(),
        }
    }
}

/// Tags that a subset may ask for.
const SUBSET_TAGS: usize = 8;
const TAG_BYTES: usize = 64;

impl BalancingPolicy {
    pub(crate) const FIELDS: [&str; 8] = [
        "fullScan",
        "hashBalanceFactor",
        "slowStartMs",
        "panicThreshold",
        "zoneFirst",
        "overprovisioning",
        "subset",
        "subsetFallback",
    ];

    pub(crate) fn read(mut fields: Fields) -> Result<Self, RegistryError> {
        let or = Self::default();
        let full_scan = fields.boolean("fullScan")?.unwrap_or(or.full_scan);
        let hash_balance_factor = fields
            .integer32("hashBalanceFactor", 0, 1_000)?
            .unwrap_or(or.hash_balance_factor);
        if (1..100).contains(&hash_balance_factor) {
            return Err(RegistryError::out_of_range(
                &fields.at("hashBalanceFactor"),
                100.0,
                1_000.0,
                f64::from(hash_balance_factor),
            ));
        }
        let slow_start_ms = fields
            .integer32("slowStartMs", 0, 3_600_000)?
            .unwrap_or(or.slow_start_ms);
        let panic_threshold = fields
            .number("panicThreshold", 0.0, 1.0)?
            .unwrap_or(or.panic_threshold);
        let zone_first = fields.boolean("zoneFirst")?.unwrap_or(or.zone_first);
        let overprovisioning = fields
            .number("overprovisioning", 1.0, 10.0)?
            .unwrap_or(or.overprovisioning);
        let path = fields.at("subset");
        let subset = fields.strings("subset")?.unwrap_or_default();
        if subset.len() > SUBSET_TAGS {
            return Err(RegistryError::limit(&path, SUBSET_TAGS, "tags"));
        }
        if subset
            .iter()
            .any(|tag| tag.is_empty() || tag.len() > TAG_BYTES)
        {
            return Err(RegistryError::invalid(
                &path,
                "must hold tags of 1 to 64 bytes",
            ));
        }
        let path = fields.at("subsetFallback");
        let subset_fallback = match fields.string("subsetFallback")?.as_deref() {
            None => or.subset_fallback,
            Some("any") => SubsetFallback::Any,
            Some("none") => SubsetFallback::None,
            Some(_) => return Err(RegistryError::invalid(&path, "must be one of any, none")),
        };
        Ok(Self {
            full_scan,
            hash_balance_factor,
            slow_start_ms,
            panic_threshold,
            zone_first,
            overprovisioning,
            subset,
            subset_fallback,
        })
    }
}
