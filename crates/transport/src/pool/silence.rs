//! Whether a path has fallen silent: it swallows what is sent and brings nothing back.

use std::time::{Duration, Instant};

/// Timers in a row between which something was sent and nothing came. A probe timeout (RFC 9002 §6.2) doubles each time.
const IN_A_ROW: u8 = 3;
/// So long at least from the first of them to the last: a peer that a busy machine did not let run is not gone.
const LEAST: Duration = Duration::from_millis(300);
/// Or so many round trips.
const ROUND_TRIPS: u32 = 4;

/// What one connection's timers tell of its path. Sans-IO.
///
/// Who waits for nothing sends nothing, and is not silent; what must be acknowledged is, within a round trip and 25 ms.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Silence {
    sent: bool,
    heard: bool,
    timeouts: u8,
    began: Option<Instant>,
}

impl Silence {
    /// Something left.
    #[inline]
    pub(crate) fn sent(&mut self) {
        self.sent = true;
    }

    /// Something came.
    #[inline]
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// One of the connection's timers is due. Whether the path is silent.
    pub(crate) fn timer(&mut self, now: Instant, rtt: Duration) -> bool {
        if std::mem::take(&mut self.heard) {
            (self.timeouts, self.began) = (0, None);
            self.sent = false;
        } else if std::mem::take(&mut self.sent) {
            self.timeouts = self.timeouts.saturating_add(1);
            self.began.get_or_insert(now);
        }
        self.is_silent(now, rtt)
    }

    /// Whether it is, as far as the timers have told.
    pub(crate) fn is_silent(&self, now: Instant, rtt: Duration) -> bool {
        let longest = LEAST.max(rtt * ROUND_TRIPS);
        let long = |began| now.saturating_duration_since(began) >= longest;
        !self.heard && self.timeouts >= IN_A_ROW && self.began.is_some_and(long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(1);

    /// Fires a timer at each of these milliseconds, with something sent before it. At which one the path is called silent.
    fn silent_at(times: &[u64], rtt: Duration) -> Option<u64> {
        let (start, mut silence) = (Instant::now(), Silence::default());
        silence.heard();
        times.iter().copied().find(|at| {
            silence.sent();
            silence.timer(start + Duration::from_millis(*at), rtt)
        })
    }

    #[test]
    fn probes_without_answers_are_silence_within_half_a_second() {
        assert_eq!(silent_at(&[30, 90, 210, 450, 930], RTT), Some(450));
    }

    #[test]
    fn timers_of_a_burst_are_not_and_a_long_way_takes_longer() {
        assert_eq!(silent_at(&[1, 2, 3, 4, 5, 6, 7, 8], RTT), None);
        let far = Duration::from_millis(200);
        assert_eq!(silent_at(&[300, 900, 1500, 1600, 2700], far), Some(2700));
    }

    #[test]
    fn whoever_waits_for_nothing_or_hears_something_is_not_silent() {
        let (start, mut silence) = (Instant::now(), Silence::default());
        for second in 0..10 {
            assert!(!silence.timer(start + Duration::from_secs(second), RTT));
        }
        for second in 10..30 {
            silence.sent();
            if second % 3 == 0 {
                silence.heard();
            }
            assert!(!silence.timer(start + Duration::from_secs(second), RTT));
        }
    }
}
