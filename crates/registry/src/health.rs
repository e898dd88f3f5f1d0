//! States of an instance.

use serde::Serialize;

/// What is known of an instance, set by its owner or by lease expiry. Numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Health {
    /// Takes requests.
    #[default]
    Healthy = 0,
    /// Takes requests; ranked lower.
    Degraded = 1,
    /// Finishes what it has, takes nothing new.
    Draining = 2,
    /// Gone.
    Dead = 3,
}

impl Health {
    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
            Self::Dead => "dead",
        }
    }

    /// By the word of the contract.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Healthy, Self::Degraded, Self::Draining, Self::Dead]
            .into_iter()
            .find(|health| health.as_str() == word)
    }
}

/// State of an instance's circuit breaker, kept by the routing crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Breaker {
    /// Requests pass.
    #[default]
    Closed = 0,
    /// Requests are refused.
    Open = 1,
    /// Probes pass.
    HalfOpen = 2,
}
