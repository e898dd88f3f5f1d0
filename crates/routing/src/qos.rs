//! Classes of service: how far each is let in, who goes first, who is shed first.

use serde::Serialize;

/// Class of a request. The number is its place in the order of shedding: the lowest is shed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Qos {
    /// Whenever there is room.
    #[default]
    BestEffort = 1,
    /// Much work, of which each part may wait.
    HighThroughput = 2,
    /// Worth nothing when it comes late. May be hedged.
    LowLatency = 3,
    /// May come late and must come.
    HighReliability = 4,
    /// Goes first, is shed last. May be hedged.
    Critical = 5,
}

/// One more than the highest number.
pub(crate) const CODES: usize = 6;

impl Qos {
    /// All of them, the first to be shed first.
    pub const ALL: [Self; 5] = [
        Self::BestEffort,
        Self::HighThroughput,
        Self::LowLatency,
        Self::HighReliability,
        Self::Critical,
    ];

    /// All of them, the first to be given a place first.
    pub(crate) const BY_URGENCY: [Self; 5] = [
        Self::Critical,
        Self::LowLatency,
        Self::HighReliability,
        Self::HighThroughput,
        Self::BestEffort,
    ];

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BestEffort => "best-effort",
            Self::HighThroughput => "high-throughput",
            Self::LowLatency => "low-latency",
            Self::HighReliability => "high-reliability",
            Self::Critical => "critical",
        }
    }

    /// By the word of the contract.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// By the number of the contract, 1 to 5.
    #[inline]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::BestEffort),
            2 => Some(Self::HighThroughput),
            3 => Some(Self::LowLatency),
            4 => Some(Self::HighReliability),
            5 => Some(Self::Critical),
            _ => None,
        }
    }

    /// Whether a slow answer is worth a second request.
    pub(crate) const fn may_hedge(self) -> bool {
        matches!(self, Self::LowLatency | Self::Critical)
    }
}
