//! How good a path is, from what QUIC has counted on it.

use crate::core::PeerStats;

/// Round-trip time above the path's minimum that is nothing to worry about, microseconds.
const TOLERATED_QUEUE_US: f32 = 20_000.0;
/// Weight of a new observation: with one a second, half of what is known is about two seconds old.
const WEIGHT: f32 = 0.3;
/// Packets below which a share of lost ones says nothing.
const ENOUGH_PACKETS: u64 = 10;
/// A path below this is impaired.
const IMPAIRED: f32 = 0.5;
/// Observations in a row that make it so: one bad second moves nobody.
const IN_A_ROW: u8 = 3;

/// The health of one connection's path: 1 is perfect, 0 is dead. Sans-IO: fed with the counters about once a second.
#[derive(Debug, Clone)]
pub struct Health {
    score: f32,
    sent: u64,
    lost: u64,
    impaired: u8,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            score: 1.0,
            sent: 0,
            lost: 0,
            impaired: 0,
        }
    }
}

impl Health {
    /// Takes the counters in. The score follows the share of packets lost since the last call (5 % lost costs a quarter, 20 %
    /// nearly two thirds) and how far the round trip stands above its minimum.
    pub fn observe(&mut self, stats: &PeerStats) {
        let sent = stats.sent_packets.saturating_sub(self.sent);
        let lost = stats.lost_packets.saturating_sub(self.lost);
        let moved = sent >= ENOUGH_PACKETS;
        let delivered = if moved {
            1.0 - (lost as f32 / sent as f32).min(1.0)
        } else {
            1.0
        };
        if moved {
            (self.sent, self.lost) = (stats.sent_packets, stats.lost_packets);
        }
        let (rtt, least) = (
            stats.rtt.as_micros() as f32,
            stats.min_rtt.as_micros() as f32,
        );
        let queue = ((2.0 * least + TOLERATED_QUEUE_US) / rtt.max(1.0)).min(1.0);
        let sample = delivered.powi(5) * queue;
        self.score += WEIGHT * (sample - self.score);
        self.impaired = if self.score < IMPAIRED {
            (self.impaired + 1).min(IN_A_ROW)
        } else {
            0
        };
    }

    /// From 0 to 1.
    pub fn score(&self) -> f32 {
        self.score
    }

    /// Whether the path has been bad for long enough to try another one.
    pub fn is_impaired(&self) -> bool {
        self.impaired == IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(sent: u64, lost: u64, rtt_ms: u64, min_ms: u64) -> PeerStats {
        PeerStats {
            sent_packets: sent,
            lost_packets: lost,
            rtt: Duration::from_millis(rtt_ms),
            min_rtt: Duration::from_millis(min_ms),
            ..PeerStats::default()
        }
    }

    #[test]
    fn a_clean_path_stays_perfect_whatever_its_length() {
        let mut health = Health::default();
        for second in 1..60 {
            health.observe(&after(second * 100, 0, 250, 240));
        }
        assert!(health.score() > 0.99, "{}", health.score());
    }

    #[test]
    fn heavy_loss_impairs_within_seconds_and_a_clean_spell_heals() {
        let mut health = Health::default();
        let mut seconds = 0;
        while !health.is_impaired() {
            seconds += 1;
            assert!(seconds < 10, "{}", health.score());
            health.observe(&after(seconds * 100, seconds * 25, 20, 20));
        }
        assert!(
            seconds >= u64::from(IN_A_ROW),
            "one bad second moves nobody"
        );
        for second in seconds + 1..seconds + 10 {
            health.observe(&after(second * 100, seconds * 25, 20, 20));
        }
        assert!(
            !health.is_impaired() && health.score() > 0.9,
            "{}",
            health.score()
        );
    }

    #[test]
    fn a_queue_of_a_second_impairs_and_one_lost_packet_of_three_does_not() {
        let mut queued = Health::default();
        let mut quiet = Health::default();
        for second in 1..10 {
            queued.observe(&after(second * 100, 0, 1000, 20));
            quiet.observe(&after(3, 1, 20, 20));
        }
        assert!(queued.is_impaired());
        assert!(quiet.score() > 0.99);
    }
}
