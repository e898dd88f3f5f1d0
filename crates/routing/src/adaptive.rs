//! The score of `adaptive`: in-flight and latency of every candidate at once, Prequal's signals [Wydrowski et al.,
//! "Load is not what you should balance: Introducing Prequal", NSDI '24] without its probes, since caller and balancer
//! share the process and the in-flight count is exact.
//!
//! Latency under load is mostly queueing, which the in-flight count says better and sooner; so as long as an instance
//! is about as fast as the service usually is (*cold*), only in-flight decides: among equals that is join the shortest
//! queue, which no estimate improves. An instance well above the usual latency, beyond what its own crowd explains, is
//! *hot*: its in-flight counts for more, far above by the square of its excess. One that is fast has fewer in flight as it is. Answers
//! are forgotten by halves every two seconds, so that who was hot is soon tried again. An instance that has answered nothing for longer than
//! its latency, while it has work, is taken for as slow as its silence: a replica that hangs is avoided before its
//! first late answer.

/// Up to this multiple of the usual latency an instance is cold.
pub(crate) const HOT: f64 = 2.0;
/// From this excess over `HOT` on, heat grows by its square.
const STEEP: f64 = 2.0;
/// How far one answer moves the latency of an instance.
pub(crate) const LATENCY_STEP: f64 = 1.0 / 8.0;
/// How far one good answer moves the latency of the service.
pub(crate) const SERVICE_STEP: f64 = 1.0 / 64.0;
/// Time in which that of an instance loses half of its distance from the usual, milliseconds.
pub(crate) const FORGIVEN_MS: u32 = 2_000;

/// What the score is made of. Latencies in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signals {
    /// Requests in flight, and what failures add to them.
    pub(crate) busy: f64,
    /// Its requests in flight over those of its peers, this one counted in both.
    pub(crate) crowd: f64,
    pub(crate) weight: f64,
    /// Of the instance; the usual one when it was never measured.
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
    if signals.silence_us > latency_us {
        latency_us = signals.silence_us;
    }
    let mut ratio = latency_us / signals.usual_us;
    if signals.crowd > 1.0 {
        ratio /= signals.crowd;
    }
    let heat = if ratio > HOT {
        let excess = ratio / HOT;
        if excess > STEEP {
            excess * excess / STEEP
        } else {
            excess
        }
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
        crowd: 1.0,
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
    fn slow_silent_and_failing_ones_lose() {
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
        for worse in [slow, silent, failing] {
            assert!(score(worse) > score(USUAL), "{worse:?}");
        }
    }

    #[test]
    fn a_latency_that_its_own_queue_explains_is_no_heat() {
        let crowded = Signals {
            busy: 9.0,
            crowd: 2.0,
            latency_us: 25_000.0,
            ..USUAL
        };
        assert!((score(crowded) - 10.0).abs() < f64::EPSILON);
    }
}
