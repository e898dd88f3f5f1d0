//! Hashes that Rust and TypeScript compute alike.

/// murmur3's 32-bit finaliser: every input bit reaches every output bit. A bijection.
#[inline]
pub fn fmix32(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// Hash of a routing key or of an instance's address: FNV-1a over the bytes, finished by [`fmix32`]; never 0.
pub fn hash_key(bytes: &[u8]) -> u32 {
    let mut h: u32 = 0x811c_9dc5;
    for &byte in bytes {
        h = (h ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    fmix32(h).max(1)
}

/// Score of a member for a key in weighted rendezvous hashing: the lowest wins, and a member of weight `w` wins
/// `w` / total of the keys. `-log(u) / weight` for a uniform `u` that key and member decide [Schindelhauer and
/// Schomaker 2005]; the logarithm is base 2 (the factor is common to all) and by a fixed series, so that both
/// languages agree to the bit. About 5 ns.
#[inline]
pub fn rendezvous_score(key_hash: u32, member: u32, weight: u32) -> f64 {
    let h = fmix32(key_hash ^ fmix32(member));
    // u = (h + 1) / 2^32 in (0, 1], so -log2(u) = 32 - log2(h + 1), 0 to 32.
    (32.0 - log2(f64::from(h) + 1.0)) / f64::from(weight.max(1))
}

/// The same, when it is below `limit`: that it is not is mostly seen without the logarithm.
#[inline]
pub(crate) fn rendezvous_score_below(
    key_hash: u32,
    member: u32,
    weight: u32,
    limit: f64,
) -> Option<f64> {
    let h = fmix32(key_hash ^ fmix32(member));
    let weight = f64::from(weight.max(1));
    let x = f64::from(h) + 1.0;
    if 32.0 - log2_at_most(x) >= limit * weight {
        return None;
    }
    let score = (32.0 - log2(x)) / weight;
    (score < limit).then_some(score)
}

/// At least what [`log2`] says of a number in 1..=2^32. For x = 2^e·(1 + f): e + f + 0.4427·f·(1 − f), since
/// log2(1 + f) − f is concave, 0 at both ends, and rises by 1/ln 2 − 1 = 0.44269… at the first; and what rounding and the
/// series' error may add.
#[inline]
fn log2_at_most(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) as i32) - 1023;
    let f = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52)) - 1.0;
    f64::from(exponent) + f + 0.4427 * f * (1.0 - f) + 1e-6
}

/// log2 of a number in 1..=2^32, the same bits everywhere: exponent, plus 2/ln(2)·atanh((m-1)/(m+1)) of the mantissa by its odd series up to
/// the 11th power (error below 2e-7).
pub fn log2(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) as i32) - 1023;
    let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52));
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let series =
        ((((q / 11.0 + 1.0 / 9.0) * q + 1.0 / 7.0) * q + 1.0 / 5.0) * q + 1.0 / 3.0) * q + 1.0;
    f64::from(exponent) + 2.885_390_081_777_926_8 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_hashes_are_fixed_and_never_zero() {
        assert_eq!(hash_key(b""), fmix32(0x811c_9dc5));
        assert_ne!(hash_key(b"customer-7"), hash_key(b"customer-8"));
    }

    #[test]
    fn log2_is_close_enough() {
        for i in 1..100_000u32 {
            let x = f64::from(i) * 42_949.0;
            assert!((log2(x) - x.log2()).abs() < 2e-7, "{x}");
        }
        assert!(log2(1.0).abs() < f64::EPSILON);
        assert!((log2(4_294_967_296.0) - 32.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_bound_of_log2_is_one_and_close_at_the_upper_end() {
        for i in 0..100_000u32 {
            for x in [f64::from(i) * 42_949.0 + 1.0, f64::from(i) + 1.0] {
                assert!(log2_at_most(x) >= log2(x), "{x}");
            }
        }
        let nearly = f64::from(u32::MAX - 4_000_000);
        assert!(log2_at_most(nearly) - log2(nearly) < 4e-4);
    }

    #[test]
    fn keys_spread_by_weight_and_only_those_of_a_lost_member_move() {
        let members = [(11, 1), (22, 2), (33, 5)];
        let best = |key: u32, members: &[(u32, u32)]| {
            members
                .iter()
                .map(|&(m, w)| (rendezvous_score(key, m, w), m))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .unwrap()
                .1
        };
        let mut won = std::collections::HashMap::new();
        for key in 1..80_000u32 {
            let winner = best(fmix32(key), &members);
            *won.entry(winner).or_insert(0u32) += 1;
            if winner != 33 {
                assert_eq!(winner, best(fmix32(key), &members[..2]));
            }
        }
        for (member, weight) in members {
            assert!(
                (won[&member] as i32 - weight as i32 * 10_000).abs() < 500,
                "{won:?}"
            );
        }
    }
}
