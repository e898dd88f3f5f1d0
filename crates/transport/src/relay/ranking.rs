//! [`Ranking`]: which relay to use.
//!
//! The cost of a relay is its round trip (99th percentile) divided by the square of its trust, which is taken as 0.1 at
//! least. The one in use stays until another is better by 5 ms and by a fifth; among those that are as good as the best
//! one, chance decides, so that a thousand nodes do not all move to the same relay at once.

use std::time::Instant;

use super::score::{Score, Scores};
use crate::core::NodeId;

/// What is not known is assumed, microseconds: a relay that nobody tried is neither first nor last.
const UNKNOWN_RTT_US: f32 = 50_000.0;
const LEAST_TRUST: f32 = 0.1;
/// Another relay must be better by both, or the one in use stays.
const BETTER_BY_US: f32 = 5_000.0;
const BETTER_BY: f32 = 0.2;
/// Costs within this share of the best are equal.
const NEARLY: f32 = 0.1;

/// A relay that could be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Which.
    pub relay: NodeId,
    /// What it costs; smaller is better.
    pub cost: f32,
    /// Used only where there is no other.
    pub quarantined: bool,
}

/// The relays that could be used, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking(Vec<Candidate>);

impl Ranking {
    /// Ranks relays by what was seen of them. `random` is any number.
    pub fn new(
        relays: impl IntoIterator<Item = NodeId>,
        current: Option<NodeId>,
        scores: &Scores,
        now: Instant,
        random: u64,
    ) -> Self {
        let mut all: Vec<Candidate> = relays
            .into_iter()
            .map(|relay| {
                let score = scores.get(&relay);
                let trust = score.map_or(0.5, |score| score.trust(now)).max(LEAST_TRUST);
                let rtt = score.map_or(0.0, Score::rtt_us_p99);
                let rtt = if rtt > 0.0 { rtt } else { UNKNOWN_RTT_US };
                Candidate {
                    relay,
                    cost: rtt / (trust * trust),
                    quarantined: score.is_some_and(Score::is_quarantined),
                }
            })
            .collect();
        all.sort_by(|a, b| (a.quarantined.cmp(&b.quarantined)).then(a.cost.total_cmp(&b.cost)));
        if let Some(best) = all.first().copied() {
            let near = |one: &&Candidate| {
                one.quarantined == best.quarantined && one.cost <= best.cost * (1.0 + NEARLY)
            };
            let equal = all.iter().take_while(near).count();
            all.swap(0, (random % equal.max(1) as u64) as usize);
            let stays = |one: &Candidate| {
                let (gain, share) = (one.cost - best.cost, best.cost / one.cost.max(1.0));
                Some(one.relay) == current
                    && one.quarantined == best.quarantined
                    && (gain < BETTER_BY_US || 1.0 - share < BETTER_BY)
            };
            if let Some(at) = all.iter().position(stays) {
                let one = all.remove(at);
                all.insert(0, one);
            }
        }
        Self(all)
    }

    /// Best first.
    pub fn candidates(&self) -> &[Candidate] {
        &self.0
    }

    /// The one to use.
    pub fn best(&self) -> Option<NodeId> {
        self.0.first().map(|best| best.relay)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::Random;
    use crate::relay::Observation;

    /// How a relay of the test treats what it carries.
    #[derive(Clone, Copy)]
    struct Manner {
        rtt_ms: u64,
        jitter_ms: u64,
        lost_percent: u64,
        spoiled_percent: u64,
    }

    const HONEST: Manner = Manner {
        rtt_ms: 30,
        jitter_ms: 2,
        lost_percent: 0,
        spoiled_percent: 0,
    };

    fn node(number: usize) -> NodeId {
        NodeId([number as u8; 32])
    }

    /// Probes all relays each second and follows the ranking; which was used in each second.
    fn follow(seed: u64, relays: &[Manner], seconds: u64) -> Vec<usize> {
        let mut random = Random::new(seed);
        let (mut scores, mut now) = (Scores::default(), Instant::now());
        let mut used = Vec::new();
        for _ in 0..seconds {
            now += Duration::from_secs(1);
            for (number, manner) in relays.iter().enumerate() {
                let observed = if random.below(100) < manner.lost_percent {
                    Observation::Lost
                } else if random.below(100) < manner.spoiled_percent {
                    Observation::Corrupted
                } else {
                    let jitter = random.below(manner.jitter_ms * 1000 + 1);
                    Observation::Delivered(Duration::from_micros(manner.rtt_ms * 1000 + jitter))
                };
                scores.observe(node(number), observed, now);
            }
            let current = used.last().map(|&number| node(number));
            let all = (0..relays.len()).map(node);
            let ranking = Ranking::new(all, current, &scores, now, random.next());
            let best = ranking.best().unwrap();
            used.push(usize::from(best.0[0]));
        }
        used
    }

    fn switches(used: &[usize]) -> usize {
        used.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    #[test]
    fn whoever_drops_delays_or_spoils_is_left_for_an_honest_relay_that_is_slower() {
        let drops = Manner {
            rtt_ms: 10,
            lost_percent: 60,
            ..HONEST
        };
        let delays = Manner {
            rtt_ms: 400,
            jitter_ms: 300,
            ..HONEST
        };
        let spoils = Manner {
            rtt_ms: 5,
            spoiled_percent: 20,
            ..HONEST
        };
        for seed in 0..200 {
            let used = follow(seed, &[drops, HONEST, delays, spoils], 600);
            let honest = used[60..].iter().filter(|&&number| number == 1).count();
            assert!(honest * 10 >= 540 * 9, "seed {seed}: {honest} of 540");
        }
    }

    #[test]
    fn relays_that_are_alike_are_not_swapped_for_each_other() {
        let alike = Manner {
            jitter_ms: 8,
            lost_percent: 2,
            ..HONEST
        };
        for seed in 0..50 {
            let used = follow(seed, &[alike, HONEST, alike], 600);
            assert!(switches(&used) <= 12, "seed {seed}: {}", switches(&used));
        }
    }

    #[test]
    fn many_nodes_spread_over_relays_that_are_alike() {
        let (scores, now) = (Scores::default(), Instant::now());
        let mut random = Random::new(7);
        let mut chosen = [0; 4];
        for _ in 0..1000 {
            let ranking = Ranking::new((0..4).map(node), None, &scores, now, random.next());
            chosen[usize::from(ranking.best().unwrap().0[0])] += 1;
        }
        assert!(chosen.iter().all(|&count| count > 150), "{chosen:?}");
    }

    #[test]
    fn where_all_are_in_quarantine_the_least_bad_one_is_used_and_where_none_is_there_none() {
        let worst = Manner {
            lost_percent: 100,
            ..HONEST
        };
        let bad = Manner {
            lost_percent: 85,
            ..HONEST
        };
        let used = follow(3, &[worst, bad], 300);
        assert!(used[100..].iter().filter(|&&number| number == 1).count() > 150);
        let (scores, now) = (Scores::default(), Instant::now());
        assert_eq!(Ranking::new([], None, &scores, now, 1).best(), None);
    }
}
