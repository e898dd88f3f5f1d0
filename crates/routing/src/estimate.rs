//! Two figures that fade with time: peak latency and share of failures. One word each, f32 and the millisecond it
//! was last moved.

use crate::decay::{HALF_LIFE_MS, decay};
use crate::sync::{AtomicU64, Ordering};

/// An f32 with the millisecond of its last change, in one atomic word so that the pair is never torn.
///
/// All accesses are relaxed: the word carries everything its readers need, and a lost race costs one sample.
#[derive(Debug, Default)]
pub(crate) struct Estimate(AtomicU64);

/// The word: value in the low half, milliseconds modulo 2^32 in the high one.
fn pack(value: f32, now_ms: u32) -> u64 {
    u64::from(now_ms) << 32 | u64::from(value.to_bits())
}

/// Milliseconds from `then` to `now` on a clock modulo 2^32. When the clock stepped back: none.
fn elapsed(then: u32, now: u32) -> u32 {
    let elapsed = now.wrapping_sub(then);
    if elapsed > u32::MAX / 2 { 0 } else { elapsed }
}

/// Milliseconds of the mesh's clock, modulo 2^32 (49 days).
#[inline]
pub(crate) fn to_ms(now_us: u64) -> u32 {
    (now_us / 1_000) as u32
}

impl Estimate {
    /// The value as stored, without decay.
    #[inline]
    pub(crate) fn stored(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed) as u32)
    }

    /// The value as it has faded until now. 0 = never set.
    #[inline]
    pub(crate) fn faded(&self, now_ms: u32) -> f64 {
        let word = self.0.load(Ordering::Relaxed);
        let value = f32::from_bits(word as u32);
        if value == 0.0 {
            return 0.0;
        }
        f64::from(value) * decay(elapsed((word >> 32) as u32, now_ms), HALF_LIFE_MS)
    }

    /// See [`lean`].
    #[inline]
    pub(crate) fn lean(&self, sample: f64, step: f64, usual: f64, now_ms: u32, half_life_ms: u32) {
        lean(&self.0, sample, step, usual, now_ms, half_life_ms);
    }

    /// Forgets.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Peak-EWMA: a sample above the faded estimate replaces it at once, one below pulls it down by the time since
    /// the last change. Samples in the same millisecond as the last change cannot pull it down, so a busy instance
    /// writes at most a thousand times a second. `None` when nothing changed, else the new value.
    #[inline]
    pub(crate) fn peak(&self, sample: f64, now_ms: u32) -> Option<f32> {
        let word = self.0.load(Ordering::Relaxed);
        let value = f64::from(f32::from_bits(word as u32));
        let elapsed = elapsed((word >> 32) as u32, now_ms);
        if value == 0.0 {
            return Some(self.set(word, sample, now_ms));
        }
        if elapsed == 0 {
            return if sample > value {
                Some(self.set(word, sample, now_ms))
            } else {
                None
            };
        }
        let share = decay(elapsed, HALF_LIFE_MS);
        let next = if sample > value * share {
            sample
        } else {
            sample + (value - sample) * share
        };
        Some(self.set(word, next, now_ms))
    }

    /// Time-weighted mean: moved towards the sample by the time since the last change, at most once a millisecond.
    #[inline]
    pub(crate) fn mean(&self, sample: f64, now_ms: u32) {
        let word = self.0.load(Ordering::Relaxed);
        let value = f64::from(f32::from_bits(word as u32));
        let elapsed = elapsed((word >> 32) as u32, now_ms);
        if value == 0.0 {
            self.set(word, sample, now_ms);
        } else if elapsed > 0 {
            let share = decay(elapsed, HALF_LIFE_MS);
            self.set(word, sample + (value - sample) * share, now_ms);
        }
    }

    /// Moves the faded value by `step` of its distance to `target`; below `floor` it is 0 and costs nothing.
    #[inline]
    pub(crate) fn approach(&self, target: f64, step: f64, floor: f64, now_ms: u32) {
        let word = self.0.load(Ordering::Relaxed);
        let value = f32::from_bits(word as u32);
        if value == 0.0 && target == 0.0 {
            return;
        }
        let faded = f64::from(value) * decay(elapsed((word >> 32) as u32, now_ms), HALF_LIFE_MS);
        let next = faded + (target - faded) * step;
        self.set(word, if next < floor { 0.0 } else { next }, now_ms);
    }

    #[inline]
    fn set(&self, seen: u64, value: f64, now_ms: u32) -> f32 {
        set(&self.0, seen, value, now_ms)
    }
}

/// Another thread that moved it meanwhile wins: both samples are of the same moment.
#[inline]
fn set(cell: &AtomicU64, seen: u64, value: f64, now_ms: u32) -> f32 {
    let value = value as f32;
    let value = if value.is_finite() { value } else { f32::MAX };
    let _ = cell.compare_exchange(
        seen,
        pack(value, now_ms),
        Ordering::Relaxed,
        Ordering::Relaxed,
    );
    value
}

/// The value of an estimate's word, without decay. 0 = never set.
#[inline]
pub(crate) fn stored(word: u64) -> f32 {
    f32::from_bits(word as u32)
}

/// The value of an estimate's word as it has faded until now, towards `usual`: that is also what was never set.
#[inline]
pub(crate) fn faded_to(word: u64, usual: f64, now_ms: u32, half_life_ms: u32) -> f64 {
    let value = stored(word);
    if value == 0.0 {
        return usual;
    }
    let share = decay(elapsed((word >> 32) as u32, now_ms), half_life_ms);
    usual + (f64::from(value) - usual) * share
}

/// Moves [`faded_to`] by `step` of its distance to the sample.
#[inline]
pub(crate) fn lean(
    cell: &AtomicU64,
    sample: f64,
    step: f64,
    usual: f64,
    now_ms: u32,
    half_life_ms: u32,
) {
    let word = cell.load(Ordering::Relaxed);
    let from = faded_to(word, usual, now_ms, half_life_ms);
    set(cell, word, from + (sample - from) * step, now_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_at_once_and_comes_down_with_time() {
        let estimate = Estimate::default();
        estimate.peak(1_000.0, 0);
        assert_eq!(estimate.peak(9_000.0, 0), Some(9_000.0));
        assert_eq!(estimate.peak(1_000.0, 0), None, "same millisecond");
        let halved = estimate.peak(1_000.0, 10_000).unwrap();
        assert!((halved - 5_000.0).abs() < 1.0, "{halved}");
    }

    #[test]
    fn an_idle_instance_is_forgiven() {
        let estimate = Estimate::default();
        estimate.peak(5_000_000.0, 0);
        assert!(estimate.faded(100_000) < 5_000.0);
    }

    #[test]
    fn a_clock_that_steps_back_changes_nothing() {
        let estimate = Estimate::default();
        estimate.peak(1_000.0, 50_000);
        assert!((estimate.faded(10) - 1_000.0).abs() < f64::EPSILON);
        assert_eq!(estimate.peak(500.0, 10), None);
        assert_eq!(
            elapsed(u32::MAX, 4),
            5,
            "the clock's own wrap is not a step back"
        );
    }

    #[test]
    fn no_sample_makes_it_nan_or_infinite() {
        let estimate = Estimate::default();
        estimate.peak(f64::MAX, 0);
        assert!(estimate.stored().is_finite());
        estimate.peak(1.0, 7);
        assert!(estimate.faded(9).is_finite());
    }
}
