//! Exponential decay that Rust and TypeScript compute to the same bit.

/// Time in which an estimate loses half of its weight, milliseconds.
pub const HALF_LIFE_MS: u32 = 10_000;

/// Of `2^-f` on 0..1, highest power first; exact at both ends, relative error below 3.1e-7 between, so that the
/// pieces join and the whole falls strictly. Chebyshev interpolation, degree 5.
const COEFFICIENTS: [f64; 6] = [
    -0.000_948_230_543_968_170_3,
    0.009_226_248_574_754_504,
    -0.055_328_491_674_679_42,
    0.240_196_755_439_767_06,
    -0.693_146_281_795_873,
    1.0,
];

/// `2^-(elapsed / half_life)`: 1 at 0, then falling; 0 from 64 half-lives on.
///
/// The integer part goes by the exponent, the fraction by a polynomial in the order written here, without fused
/// operations: the twin in `ts/binding/fallback/decay.ts` does the same. About 5 ns, 1 ns when nothing elapsed.
#[inline]
pub fn decay(elapsed_ms: u32, half_life_ms: u32) -> f64 {
    if elapsed_ms == 0 {
        return 1.0;
    }
    let halvings = f64::from(elapsed_ms) / f64::from(half_life_ms.max(1));
    if halvings >= 64.0 {
        return 0.0;
    }
    let whole = halvings as u32;
    let f = halvings - f64::from(whole);
    let mut value = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        value = value * f + coefficient;
    }
    // 2^-whole, exact: whole < 64, so the exponent stays normal.
    value * f64::from_bits(u64::from(1023 - whole) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_at_each_half_life_and_falls_strictly() {
        assert!((decay(0, 10_000) - 1.0).abs() < f64::EPSILON);
        assert!((decay(10_000, 10_000) - 0.5).abs() < 1e-12);
        assert!((decay(30_000, 10_000) - 0.125).abs() < 1e-12);
        let mut last = 1.0;
        for elapsed in 1..50_000 {
            let value = decay(elapsed, 10_000);
            assert!(value < last, "{elapsed}: {value} after {last}");
            assert!((value / 2f64.powf(-f64::from(elapsed) / 10_000.0) - 1.0).abs() < 3.1e-7);
            last = value;
        }
    }

    #[test]
    fn ends_at_zero_and_takes_any_input() {
        assert!(decay(u32::MAX, 1).abs() < f64::EPSILON);
        assert!(decay(640_000, 10_000).abs() < f64::EPSILON);
        assert!(decay(5, 0) > 0.0);
    }
}
