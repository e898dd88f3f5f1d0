//! [`Score`]: how far a relay can be trusted to carry packets, from what this node itself has seen.
//!
//! A relay cannot read or forge what it carries, so this is about service: whether packets arrive, when, and unspoiled.
//!
//! - Success moves the score towards 1, loss towards 0, each by a bounded step: no burst makes or ruins a reputation.
//! - A spoiled packet makes it 0 at once, and what was once spoiled is earned back slowly.
//! - What was not observed for long fades to neutral, 0.5: an old grudge and an old friendship count for little.
//! - Below 0.2 a relay is in quarantine, above 0.35 it is out again: it does not flap at one line.
//!
//! Deliberately absent: what others say of a relay. Members can lie about their rivals, and the way to it is one probe long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::core::NodeId;

/// Where nothing is known.
const NEUTRAL: f32 = 0.5;
/// Half of what is known is forgotten after this.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// Half of a suspicion is forgotten after this.
const SUSPICION_HALF_LIFE: Duration = Duration::from_secs(3600);
/// Weight of one observation, and the most that it may move the score.
const WEIGHT: f32 = 0.15;
const MOST_GAIN: f32 = 0.05;
const MOST_LOSS: f32 = 0.1;
/// How much slower trust is earned back after one spoiled packet.
const SUSPICION_BRAKE: f32 = 8.0;
/// Into quarantine and out of it.
const QUARANTINE_BELOW: f32 = 0.2;
const QUARANTINE_UNTIL: f32 = 0.35;
/// Weight of one round trip in the mean.
const RTT_WEIGHT: f32 = 0.1;
/// Relays that are remembered.
const MAX_SCORES: usize = 1024;

/// What was seen of a packet that a relay carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// It came back unchanged after this time.
    Delivered(Duration),
    /// It did not come back in time.
    Lost,
    /// It came back as another one.
    Corrupted,
}

/// One relay's score.
#[derive(Debug, Clone)]
pub struct Score {
    trust: f32,
    /// Spoiled packets, fading.
    suspicion: f32,
    /// Mean of the round trip, and of its distance from that, microseconds.
    rtt_us: f32,
    deviation_us: f32,
    quarantined: bool,
    observations: u64,
    at: Instant,
}

fn faded(passed: Duration, half_life: Duration) -> f32 {
    0.5_f32.powf(passed.as_secs_f32() / half_life.as_secs_f32())
}

impl Score {
    fn new(now: Instant) -> Self {
        Self {
            trust: NEUTRAL,
            suspicion: 0.0,
            rtt_us: 0.0,
            deviation_us: 0.0,
            quarantined: false,
            observations: 0,
            at: now,
        }
    }

    fn observe(&mut self, observation: Observation, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        self.trust = NEUTRAL + (self.trust - NEUTRAL) * faded(passed, HALF_LIFE);
        self.suspicion *= faded(passed, SUSPICION_HALF_LIFE);
        match observation {
            Observation::Delivered(rtt) => {
                let gain = (WEIGHT * (1.0 - self.trust)).min(MOST_GAIN);
                self.trust += gain / (1.0 + SUSPICION_BRAKE * self.suspicion);
                self.timed(rtt);
            }
            Observation::Lost => self.trust -= (WEIGHT * self.trust).min(MOST_LOSS),
            Observation::Corrupted => {
                self.trust = 0.0;
                self.suspicion += 1.0;
            }
        }
        self.observations += 1;
        self.quarantined = if self.quarantined {
            self.trust < QUARANTINE_UNTIL
        } else {
            self.trust < QUARANTINE_BELOW
        };
    }

    fn timed(&mut self, rtt: Duration) {
        let rtt = rtt.as_secs_f32() * 1e6;
        if self.rtt_us == 0.0 {
            self.rtt_us = rtt;
            return;
        }
        let distance = (rtt - self.rtt_us).abs();
        self.deviation_us += RTT_WEIGHT * (distance - self.deviation_us);
        self.rtt_us += RTT_WEIGHT * (rtt - self.rtt_us);
    }

    /// From 0 (spoils what it carries) over 0.5 (unknown) to 1, as of `now`.
    pub fn trust(&self, now: Instant) -> f32 {
        let passed = now.saturating_duration_since(self.at);
        NEUTRAL + (self.trust - NEUTRAL) * faded(passed, HALF_LIFE)
    }

    /// About the 99th percentile of the round trip over it, microseconds: mean and three mean deviations. 0 when it was never
    /// measured.
    pub fn rtt_us_p99(&self) -> f32 {
        self.rtt_us + 3.0 * self.deviation_us
    }

    /// Whether it is used only where there is no other.
    pub fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// How much it rests on.
    pub fn observations(&self) -> u64 {
        self.observations
    }
}

/// The scores of all relays that were used. When full, the one that was not observed for longest makes room.
#[derive(Debug, Default)]
pub struct Scores(HashMap<NodeId, Score>);

impl Scores {
    /// Takes an observation in.
    pub fn observe(&mut self, relay: NodeId, observation: Observation, now: Instant) {
        if self.0.len() >= MAX_SCORES && !self.0.contains_key(&relay) {
            let oldest = self.0.iter().min_by_key(|(_, score)| score.at);
            if let Some(oldest) = oldest.map(|(node, _)| *node) {
                self.0.remove(&oldest);
            }
        }
        self.0
            .entry(relay)
            .or_insert_with(|| Score::new(now))
            .observe(observation, now);
    }

    /// The score of a relay that was used.
    pub fn get(&self, relay: &NodeId) -> Option<&Score> {
        self.0.get(relay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RELAY: NodeId = NodeId([1; 32]);
    const SECOND: Duration = Duration::from_secs(1);

    fn after(start: Instant, observations: &[Observation]) -> (Score, Instant) {
        let (mut score, mut now) = (Score::new(start), start);
        for observation in observations {
            now += SECOND;
            score.observe(*observation, now);
        }
        (score, now)
    }

    const GOOD: Observation = Observation::Delivered(Duration::from_millis(20));

    #[test]
    fn service_earns_trust_loss_loses_it_and_silence_makes_it_neutral() {
        let start = Instant::now();
        let (good, now) = after(start, &[GOOD; 60]);
        assert!(good.trust(now) > 0.9 && !good.is_quarantined());
        let (bad, now) = after(start, &[Observation::Lost; 60]);
        assert!(bad.trust(now) < 0.05 && bad.is_quarantined());
        for score in [good, bad] {
            let later = score.trust(now + 20 * HALF_LIFE);
            assert!((later - NEUTRAL).abs() < 0.01, "{later}");
        }
    }

    #[test]
    fn one_spoiled_packet_is_quarantine_at_once_and_for_many_probes() {
        let (mut score, mut now) = after(Instant::now(), &[GOOD; 600]);
        score.observe(Observation::Corrupted, now);
        assert!(score.is_quarantined() && score.trust(now) == 0.0);
        let mut probes = 0;
        while score.is_quarantined() {
            now += SECOND;
            probes += 1;
            score.observe(GOOD, now);
            assert!(probes < 1_000);
        }
        assert!(probes > 30, "{probes}");
    }

    #[test]
    fn no_single_loss_and_no_burst_of_service_changes_the_picture() {
        let (mut score, now) = after(Instant::now(), &[GOOD; 60]);
        let before = score.trust(now);
        score.observe(Observation::Lost, now);
        assert!(before - score.trust(now) <= MOST_LOSS + 1e-6);
        let (mut bad, now) = after(Instant::now(), &[Observation::Lost; 60]);
        bad.observe(GOOD, now);
        assert!(bad.is_quarantined());
    }

    #[test]
    fn more_relays_than_are_remembered_make_room_for_each_other() {
        let (mut scores, start) = (Scores::default(), Instant::now());
        scores.observe(RELAY, GOOD, start);
        for number in 0..MAX_SCORES as u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_le_bytes());
            scores.observe(NodeId(id), GOOD, start + SECOND);
            assert!(scores.0.len() <= MAX_SCORES);
        }
        assert!(scores.get(&RELAY).is_none());
    }

    proptest! {
        #[test]
        fn it_stays_in_its_bounds_whatever_is_seen_and_whenever(steps in prop::collection::vec((0..3_u8, 0..2_000_000_u64, 0..5_000_u64), 0..300)) {
            let start = Instant::now();
            let (mut score, mut now) = (Score::new(start), start);
            for (kind, rtt_us, passed) in steps {
                now += Duration::from_millis(passed);
                score.observe(match kind {
                    0 => Observation::Delivered(Duration::from_micros(rtt_us)),
                    1 => Observation::Lost,
                    _ => Observation::Corrupted,
                }, now);
                let trust = score.trust(now);
                prop_assert!((0.0..=1.0).contains(&trust), "{}", trust);
                prop_assert!(score.rtt_us_p99().is_finite() && score.rtt_us_p99() >= 0.0);
            }
        }
    }
}
