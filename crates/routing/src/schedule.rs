//! Smooth weighted round robin, worked out in advance.

/// Longest schedule for up to this many members; more members get one step each at least.
pub(crate) const MAX_STEPS: u32 = 4_096;

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Weights with the same proportions and a total of at most [`MAX_STEPS`], or of one step per member when there are
/// more. Beyond the cap proportions are rounded down, never below 1.
fn reduced(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u64 = weights
        .iter()
        .map(|&weight| u64::from(weight / divisor))
        .sum();
    weights
        .iter()
        .map(|&weight| {
            let weight = weight / divisor;
            if total <= u64::from(MAX_STEPS) {
                weight
            } else {
                ((u64::from(weight) * u64::from(MAX_STEPS) / total) as u32).max(1)
            }
        })
        .collect()
}

/// The order in which members take their turns: each as often as its weight, its turns evenly spaced.
///
/// Turn k of member i of n is due at (k + (i + ½)/n) / weight; turns are taken as they fall due (earliest deadline
/// first). The staggered start keeps light members from clumping, the way the counters of nginx's smooth weighted
/// round robin do, but any position can be looked up and equally low weights cannot get stuck. Cost: n log n of the
/// number of steps, paid when membership changes.
pub(crate) fn smooth(weights: &[u32]) -> Vec<u32> {
    let weights = reduced(weights);
    let n = weights.len() as u64;
    let mut turns: Vec<(u64, u32, u32)> = Vec::new();
    for (i, &weight) in weights.iter().enumerate() {
        for k in 0..weight {
            // Numerator of the due time over 2n; below 2^13 · 2^18.
            turns.push((2 * u64::from(k) * n + 2 * i as u64 + 1, weight, i as u32));
        }
    }
    // Cross products of fractions stay below 2^53 in TypeScript too: 2^31 · 2^12. Ties go to the earlier member.
    turns.sort_by(|a, b| {
        (a.0 * u64::from(b.1))
            .cmp(&(b.0 * u64::from(a.1)))
            .then(a.2.cmp(&b.2))
    });
    turns.into_iter().map(|turn| turn.2).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heavy_members_do_not_clump() {
        assert_eq!(smooth(&[5, 1, 1]), [0, 0, 0, 1, 0, 0, 2]);
        assert_eq!(smooth(&[20, 10, 10]), [0, 1, 0, 2]);
        assert_eq!(smooth(&[]), [] as [u32; 0]);
    }

    #[test]
    fn equal_low_weights_take_turns() {
        assert_eq!(smooth(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(smooth(&[1_000; 3]), [0, 1, 2]);
    }

    #[test]
    fn extreme_weights_neither_overflow_nor_starve() {
        let mut weights = vec![1_000; 131_071];
        weights.push(1);
        let schedule = smooth(&weights);
        assert_eq!(schedule.len(), weights.len());
        let schedule = smooth(&[1, 999, 1_000, 1_000, 1_000, 1_000]);
        assert!(schedule.len() as u32 <= MAX_STEPS && schedule.contains(&0));
    }

    proptest! {
        #[test]
        fn every_run_of_turns_is_close_to_its_share(weights in prop::collection::vec(1u32..40, 1..12)) {
            let schedule = smooth(&weights);
            let total: u32 = reduced(&weights).iter().sum();
            prop_assert_eq!(schedule.len() as u32, total);
            for (member, weight) in reduced(&weights).into_iter().enumerate() {
                let mut count = 0u32;
                for (position, &turn) in schedule.iter().enumerate() {
                    count += u32::from(turn as usize == member);
                    let share = f64::from(weight) * (position as f64 + 1.0) / f64::from(total);
                    prop_assert!((f64::from(count) - share).abs() <= weights.len() as f64);
                }
                prop_assert_eq!(count, weight);
            }
        }
    }
}
