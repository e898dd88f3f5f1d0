//! Random times. Logarithm and power are the router's fixed series, not the platform's, so that a seed gives the same
//! microseconds everywhere.

use linkmesh_routing::{Rng, decay, log2};

const LN_2: f64 = std::f64::consts::LN_2;
/// Steps per unit of the exponent.
const STEPS: f64 = 1e6;

/// 2^x for |x| ≤ 60; relative error below 1e-6.
fn exp2(x: f64) -> f64 {
    let power = decay((x.abs() * STEPS) as u32, STEPS as u32);
    if x < 0.0 { power } else { 1.0 / power }
}

/// Exponential with a mean.
pub(crate) fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    let u = f64::from(rng.next_u32()) + 1.0;
    (32.0 - log2(u)) * LN_2 * mean
}

/// Log-normal by its median and the deviation of its logarithm. The normal is the sum of twelve uniforms, so nothing
/// lies beyond six deviations.
pub(crate) fn log_normal(rng: &mut Rng, median: f64, sigma: f64) -> f64 {
    if sigma <= 0.0 {
        return median;
    }
    let sum: f64 = (0..12).map(|_| uniform(rng)).sum();
    median * exp2((sum - 6.0) * sigma / LN_2)
}

/// 0 to 1.
pub(crate) fn uniform(rng: &mut Rng) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_medians_are_what_was_asked_for() {
        let mut rng = Rng::new(5, 0);
        let n = 200_000;
        let mean = (0..n).map(|_| exponential(&mut rng, 40.0)).sum::<f64>() / f64::from(n);
        assert!((mean - 40.0).abs() < 0.4, "{mean}");
        let mut drawn: Vec<f64> = (0..n).map(|_| log_normal(&mut rng, 40.0, 0.5)).collect();
        drawn.sort_by(f64::total_cmp);
        let (median, p84) = (drawn[n as usize / 2], drawn[n as usize * 8413 / 10_000]);
        assert!((median - 40.0).abs() < 0.4, "{median}");
        assert!((p84 / 40.0 - 0.5f64.exp()).abs() < 0.03, "{p84}");
    }
}
