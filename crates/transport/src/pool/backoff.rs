//! How long to wait before the next attempt.

use std::time::Duration;

use crate::core::Random;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Exponential back-off with jitter: each failure doubles the span, and the wait is drawn from its upper half, so that a
/// thousand peers of a node that restarted do not come back in step.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// One more failure: how long to wait now.
    pub(crate) fn failed(&mut self, random: &mut Random) -> Duration {
        let span = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures += 1;
        let half = span.as_nanos() as u64 / 2;
        Duration::from_nanos(half + random.below(half + 1))
    }

    /// It worked: the next failure waits the shortest time again.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_the_longest_and_start_again() {
        let mut random = Random::new(1);
        let mut backoff = Backoff::default();
        let mut span = FIRST;
        for _ in 0..40 {
            let wait = backoff.failed(&mut random);
            assert!(wait >= span / 2 && wait <= span, "{wait:?} of {span:?}");
            span = (span * 2).min(LONGEST);
        }
        backoff.succeeded();
        assert!(backoff.failed(&mut random) <= FIRST);
    }

    #[test]
    fn a_thousand_peers_do_not_come_back_in_step() {
        let waits: std::collections::BTreeSet<_> = (0..1000)
            .map(|seed| {
                Backoff::default()
                    .failed(&mut Random::new(seed))
                    .as_millis()
            })
            .collect();
        assert!(waits.len() > 40, "{} different milliseconds", waits.len());
    }
}
