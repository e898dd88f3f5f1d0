//! How much one member may have forwarded.

use std::time::{Duration, Instant};

/// Of one member, by its identity: all its connections, both directions of all its sessions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Sessions it may have open.
    pub sessions: usize,
    /// Packets a second, and at once.
    pub packets_per_second: u32,
    /// Bytes a second, and at once.
    pub bytes_per_second: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            sessions: 64,
            packets_per_second: 20_000,
            bytes_per_second: 16 << 20,
        }
    }
}

/// A token bucket that fills by one second's worth a second.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In nanoseconds of the rate, so that nothing is lost to rounding: one second is full.
    level: Duration,
    per_second: u32,
}

/// A full bucket.
const FULL: Duration = Duration::from_secs(1);

impl Bucket {
    fn new(per_second: u32) -> Self {
        Self {
            level: FULL,
            per_second: per_second.max(1),
        }
    }

    fn cost(&self, amount: usize) -> Duration {
        Duration::from_nanos(amount as u64 * 1_000_000_000 / u64::from(self.per_second))
    }
}

/// What a member has left of its quota.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    packets: Bucket,
    bytes: Bucket,
    filled: Instant,
    /// Sessions that it asked for.
    pub(super) sessions: usize,
    /// Ends of sessions that it is.
    pub(super) legs: usize,
}

impl Allowance {
    pub(super) fn new(quota: &Quota, now: Instant) -> Self {
        Self {
            packets: Bucket::new(quota.packets_per_second),
            bytes: Bucket::new(quota.bytes_per_second),
            filled: now,
            sessions: 0,
            legs: 0,
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        for bucket in [&mut self.packets, &mut self.bytes] {
            bucket.level = (bucket.level + passed).min(FULL);
        }
    }

    /// Whether it is as good as a new one: then it need not be kept.
    pub(super) fn is_untouched(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.legs == 0 && self.packets.level == FULL && self.bytes.level == FULL
    }

    /// Takes one packet from it. False when there is not enough left; nothing is taken then.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        let (packet, bytes) = (self.packets.cost(1), self.bytes.cost(bytes));
        let enough = self.packets.level >= packet && self.bytes.level >= bytes;
        if enough {
            self.packets.level -= packet;
            self.bytes.level -= bytes;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(allowance: &mut Allowance, bytes: usize, now: Instant) -> usize {
        (0..100_000)
            .take_while(|_| allowance.take(bytes, now))
            .count()
    }

    #[test]
    fn a_seconds_worth_passes_at_once_and_then_what_a_second_brings() {
        let start = Instant::now();
        let quota = Quota {
            sessions: 1,
            packets_per_second: 100,
            bytes_per_second: 50_000,
        };
        let mut allowance = Allowance::new(&quota, start);
        assert_eq!(taken(&mut allowance, 10, start), 100, "packets bind");
        let later = start + Duration::from_secs(60);
        assert_eq!(taken(&mut allowance, 1000, later), 50, "bytes bind");
        let half = later + Duration::from_millis(500);
        assert_eq!(taken(&mut allowance, 1000, half), 25);
        assert_eq!(
            taken(&mut allowance, 1000, start),
            0,
            "time that goes back brings nothing"
        );
    }
}
