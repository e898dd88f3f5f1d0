//! The score of `adaptive`: in-flight and latency of every candidate at once, Prequal's signals [Wydrowski et al.,
//! "Load is not what you should balance: Introducing Prequal", NSDI '24] without its probes, since caller and balancer
//! share the process and the in-flight count is exact.
//!
//! Latency under load is mostly queueing, which the in-flight count says better and sooner; so as long as an instance
//! is about as fast as the service usually is (*cold*), only in-flight decides: among equals that is join the shortest
//! queue, which no estimate improves. An instance well above the usual latency is *hot*: its in-flight counts for more,
//! by the square of its excess; one well below counts for less. An instance that has answered nothing for longer than
//! its latency, while it has work, is taken for as slow as its silence: a replica that hangs is avoided before its
//! first late answer.

/// Up to this multiple of the usual latency an instance is cold.
const HOT: f64 = 1.5;
/// Below this share of it an instance is fast, and is given more.
const FAST: f64 = 0.67;
/// How far one answer moves the latency of an instance.
pub(crate) const LATENCY_STEP: f64 = 1.0 / 8.0;

/// What the score is made of. Latencies in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signals {
    /// Requests in flight, and what failures add to them.
    pub(crate) busy: f64,
    pub(crate) weight: f64,
    /// 0 = never measured.
    pub(crate) latency_us: f64,
    /// Of the service.
    pub(crate) usual_us: f64,
    /// Time since the last answer or since it had nothing to do, while it has work; else 0.
    pub(crate) silence_us: f64,
}

/// Lower is better; finite for finite signals.
#[inline]
pub(crate) fn score(signals: Signals) -> f64 {
    let mut latency_us = signals.latency_us;
    if latency_us <= 0.0 {
        latency_us = signals.usual_us;
    }
    if signals.silence_us > latency_us {
        latency_us = signals.silence_us;
    }
    let ratio = latency_us / signals.usual_us;
    let heat = if ratio > HOT {
        let excess = ratio / HOT;
        excess * excess
    } else if ratio < FAST {
        ratio / FAST
    } else {
        1.0
    };
    (signals.busy + 1.0) * heat / signals.weight
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Signals = Signals {
        busy: 4.0,
        weight: 1.0,
        latency_us: 10_000.0,
        usual_us: 10_000.0,
        silence_us: 0.0,
    };

    #[test]
    fn among_equals_only_in_flight_decides() {
        let noisy = Signals {
            latency_us: 14_000.0,
            ..USUAL
        };
        assert!((score(noisy) - score(USUAL)).abs() < f64::EPSILON);
        let idler = Signals { busy: 3.0, ..noisy };
        assert!(score(idler) < score(USUAL));
    }

    #[test]
    fn slow_silent_and_failing_ones_lose_and_unmeasured_ones_are_usual() {
        let slow = Signals {
            busy: 0.0,
            latency_us: 120_000.0,
            ..USUAL
        };
        let silent = Signals {
            busy: 1.0,
            silence_us: 60_000.0,
            ..USUAL
        };
        let failing = Signals {
            busy: 1_000.0,
            ..USUAL
        };
        let unmeasured = Signals {
            latency_us: 0.0,
            ..USUAL
        };
        for worse in [slow, silent, failing] {
            assert!(score(worse) > score(USUAL), "{worse:?}");
        }
        assert!((score(unmeasured) - score(USUAL)).abs() < f64::EPSILON);
    }

    #[test]
    fn a_fast_one_takes_more() {
        let fast = Signals {
            busy: 8.0,
            latency_us: 2_000.0,
            ..USUAL
        };
        assert!(score(fast) < score(USUAL));
    }
}
