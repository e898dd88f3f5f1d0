//! A number that many threads change: `f64` bits in one atomic word.

use std::sync::atomic::{AtomicU64, Ordering};

/// Adds to the `f64` held as bits.
///
/// Relaxed: the sum is the only thing published, and each read-modify-write sees the latest value of its own word.
pub(crate) fn add(cell: &AtomicU64, amount: f64) {
    let mut before = cell.load(Ordering::Relaxed);
    loop {
        let after = (f64::from_bits(before) + amount).to_bits();
        match cell.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => before = now,
        }
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. Negative, NaN and infinite amounts are refused with `false`.
    pub fn add(&self, amount: f64) -> bool {
        let good = amount.is_finite() && amount >= 0.0;
        if good {
            add(&self.0, amount);
        }
        good
    }

    /// The count so far.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A level that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the level. NaN and infinite levels are refused with `false`.
    pub fn set(&self, level: f64) -> bool {
        if level.is_finite() {
            // Adding 0 turns -0 into 0: JavaScript writes both the same.
            self.0.store((level + 0.0).to_bits(), Ordering::Relaxed);
        }
        level.is_finite()
    }

    /// The level now.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}
