//! Base-2 exponential histogram of scale 5: 32 buckets an octave.
//!
//! Bucket `k` of octave `e` holds values from `2^(e + k/32)` up to, not including, `2^(e + (k+1)/32)`. An estimate is
//! the value whose relative distance to both edges is equal, so its error is at most
//! `(2^(1/32) - 1) / (2^(1/32) + 1)` = 1.083 %. This is OpenTelemetry's exponential histogram at a fixed scale (data
//! model, "Exponential Histogram"), except that an edge belongs to the bucket above it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::exemplar::{Exemplar, Exemplars};
use crate::number;

/// OpenTelemetry's scale: a bucket's edges are `2^(2^-SCALE)` apart.
pub const SCALE: u32 = 5;
/// Buckets in an octave.
const STEPS: usize = 1 << SCALE;
/// Smallest octave: smaller values count as zero.
pub(crate) const FIRST: i32 = -20;
/// One past the largest octave: larger values count in the last bucket.
pub(crate) const LAST: i32 = 40;
const OCTAVES: usize = (LAST - FIRST) as usize;
/// Cells by which a mantissa finds its bucket. Narrower than the narrowest bucket, so a cell has at most one edge.
const CELLS: usize = 128;

type Octave = [AtomicU64; STEPS];

/// Edges of an octave's buckets as mantissas (without the hidden bit), and the bucket of each cell's lower end.
struct Edges {
    mantissa: [u64; STEPS + 1],
    bucket: [u8; CELLS],
}

fn edges() -> &'static Edges {
    static EDGES: OnceLock<Edges> = OnceLock::new();
    EDGES.get_or_init(|| {
        const MANTISSA: u64 = (1 << 52) - 1;
        let mut mantissa = [0; STEPS + 1];
        for (step, edge) in mantissa.iter_mut().enumerate().take(STEPS) {
            *edge = (step as f64 / STEPS as f64).exp2().to_bits() & MANTISSA;
        }
        mantissa[STEPS] = u64::MAX;
        let mut bucket = [0; CELLS];
        for (cell, bucket) in bucket.iter_mut().enumerate() {
            let lower = (cell as u64) << (52 - 7);
            *bucket = mantissa[1..]
                .iter()
                .take_while(|edge| **edge <= lower)
                .count() as u8;
        }
        Edges { mantissa, bucket }
    })
}

/// Lower edge of a bucket.
fn lower_edge(octave: i32, step: usize) -> f64 {
    (f64::from(octave) + step as f64 / STEPS as f64).exp2()
}

/// A distribution of non-negative values.
///
/// An unused one takes about 80 bytes; each octave that is hit takes 256 more, and the first exemplar 4 KiB.
#[derive(Debug, Default)]
pub struct Histogram {
    zero: AtomicU64,
    sum: AtomicU64,
    /// Bits of the largest value: for non-negative floats the order of the bits is the order of the values.
    max: AtomicU64,
    octaves: OnceLock<Box<[OnceLock<Box<Octave>>; OCTAVES]>>,
    exemplars: Exemplars<OCTAVES>,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one value. Negative, NaN and infinite values are refused with `false`.
    pub fn record(&self, value: f64) -> bool {
        if !(value.is_finite() && value >= 0.0) {
            return false;
        }
        // Adding 0 turns -0, whose sign bit would pass for a huge exponent, into 0.
        let bits = (value + 0.0).to_bits();
        let octave = (bits >> 52) as i32 - 1023;
        if octave < FIRST {
            self.zero.fetch_add(1, Ordering::Relaxed);
        } else {
            let (octave, step) = if octave >= LAST {
                (OCTAVES - 1, STEPS - 1)
            } else {
                let edges = edges();
                let mantissa = bits & ((1 << 52) - 1);
                let guess = usize::from(edges.bucket[(mantissa >> (52 - 7)) as usize]);
                (
                    (octave - FIRST) as usize,
                    guess + usize::from(mantissa >= edges.mantissa[guess + 1]),
                )
            };
            // Relaxed: a bucket is a sum of its own; a snapshot taken meanwhile may miss the newest values.
            self.octave(octave)[step].fetch_add(1, Ordering::Relaxed);
        }
        number::add(&self.sum, value);
        if bits > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(bits, Ordering::Relaxed);
        }
        true
    }

    #[inline]
    fn octave(&self, index: usize) -> &Octave {
        let octaves = self
            .octaves
            .get_or_init(|| Box::new([const { OnceLock::new() }; OCTAVES]));
        octaves[index].get_or_init(|| Box::new([const { AtomicU64::new(0) }; STEPS]))
    }

    /// Takes the memory for values from `2^from` up to, not including, `2^to` now, so that recording them allocates nothing.
    pub fn prepare(&self, from: i32, to: i32) {
        for octave in from.max(FIRST)..to.min(LAST) {
            self.octave((octave - FIRST) as usize);
        }
    }

    /// Adds what another histogram had recorded; its exemplars stay with it.
    pub fn absorb(&self, other: &HistogramSnapshot) {
        for (bucket, count) in &other.buckets {
            let (octave, step) = (usize::from(*bucket) / STEPS, usize::from(*bucket) % STEPS);
            self.octave(octave)[step].fetch_add(*count, Ordering::Relaxed);
        }
        self.zero.fetch_add(other.zero, Ordering::Relaxed);
        number::add(&self.sum, other.sum);
        self.max.fetch_max(other.max.to_bits(), Ordering::Relaxed);
    }

    /// Forgets every value; exemplars stay. What is recorded meanwhile may stay in part.
    pub fn clear(&self) {
        for octave in self.octaves.get().into_iter().flat_map(|all| all.iter()) {
            for bucket in octave.get().into_iter().flat_map(|buckets| buckets.iter()) {
                bucket.store(0, Ordering::Relaxed);
            }
        }
        for part in [&self.zero, &self.sum, &self.max] {
            part.store(0, Ordering::Relaxed);
        }
    }

    /// Says which request a value came from; the value itself is [`record`](Self::record)ed besides. The newest of
    /// each octave is kept. Never waits: when two threads come at once, one of the two is kept.
    pub fn exemplify(&self, exemplar: Exemplar) {
        let octave = (exemplar.value.to_bits() >> 52) as i32 - 1023;
        let octave = octave.clamp(FIRST, LAST - 1) - FIRST;
        self.exemplars.keep(octave as usize, exemplar);
    }

    /// What was recorded until about now.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut buckets = Vec::new();
        if let Some(octaves) = self.octaves.get() {
            for (index, octave) in octaves.iter().enumerate() {
                let Some(counts) = octave.get() else { continue };
                for (step, count) in counts.iter().enumerate() {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        buckets.push(((index * STEPS + step) as u16, count));
                    }
                }
            }
        }
        let zero = self.zero.load(Ordering::Relaxed);
        HistogramSnapshot {
            count: zero + buckets.iter().map(|(_, count)| count).sum::<u64>(),
            zero,
            buckets,
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)),
            max: f64::from_bits(self.max.load(Ordering::Relaxed)),
            exemplars: self.exemplars.all(),
        }
    }

    /// Values recorded.
    pub fn count(&self) -> u64 {
        self.snapshot().count
    }

    /// Value below which a share `q` (0..=1) lies, within 1.1 %; 0 when nothing was recorded.
    /// For several of them take one [`snapshot`](Self::snapshot).
    pub fn quantile(&self, q: f64) -> f64 {
        self.snapshot().quantile(q)
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistogramSnapshot {
    /// Values recorded.
    pub count: u64,
    /// Values below 2^-20.
    pub zero: u64,
    /// Their sum.
    pub sum: f64,
    /// The largest.
    pub max: f64,
    /// (bucket, count), ascending, empty ones left out.
    buckets: Vec<(u16, u64)>,
    /// (octave counted from the first, exemplar), ascending.
    exemplars: Vec<(u8, Exemplar)>,
}

impl HistogramSnapshot {
    /// See [`Histogram::quantile`].
    pub fn quantile(&self, q: f64) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = self.zero;
        if rank <= seen {
            return 0.0;
        }
        for (bucket, count) in &self.buckets {
            seen += count;
            if rank <= seen {
                let (octave, step) = split(*bucket);
                let (low, high) = (lower_edge(octave, step), lower_edge(octave, step + 1));
                // Equal relative distance to both edges; never above what was really seen.
                return (2.0 * low * high / (low + high)).min(self.max);
            }
        }
        self.max
    }

    /// Values below `2^octave`.
    pub fn below_power(&self, octave: i32) -> u64 {
        let edge = (octave.clamp(FIRST, LAST) - FIRST) as usize * STEPS;
        self.zero
            + self
                .buckets
                .iter()
                .take_while(|(bucket, _)| usize::from(*bucket) < edge)
                .map(|(_, n)| n)
                .sum::<u64>()
    }

    /// The newest exemplar with a value from `2^from` up to, not including, `2^to`. The first and the last octave
    /// stand for everything below and above.
    pub fn exemplar_within(&self, from: i32, to: i32) -> Option<&Exemplar> {
        self.exemplars
            .iter()
            .filter(|(octave, _)| (from..to).contains(&(i32::from(*octave) + FIRST)))
            .map(|(_, exemplar)| exemplar)
            .max_by(|a, b| a.at_ms.total_cmp(&b.at_ms))
    }

    /// Every exemplar, smallest value first.
    pub fn exemplars(&self) -> impl Iterator<Item = &Exemplar> {
        self.exemplars.iter().map(|(_, exemplar)| exemplar)
    }

    /// OpenTelemetry's form of the buckets at [`SCALE`]: index of the first and the counts from there on, with the
    /// empty ones between. `None` when every value was zero.
    pub fn dense(&self) -> Option<(i32, Vec<u64>)> {
        let (first, last) = (self.buckets.first()?.0, self.buckets.last()?.0);
        let mut counts = vec![0; usize::from(last - first) + 1];
        for (bucket, count) in &self.buckets {
            counts[usize::from(bucket - first)] = *count;
        }
        Some((i32::from(first) + FIRST * STEPS as i32, counts))
    }

    /// What was recorded after `earlier`, an older snapshot of the same histogram. The largest value is that of both, and
    /// there are no exemplars.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: u16| {
            earlier
                .buckets
                .binary_search_by_key(&bucket, |(bucket, _)| *bucket)
                .map_or(0, |at| earlier.buckets[at].1)
        };
        let buckets: Vec<_> = self
            .buckets
            .iter()
            .map(|(bucket, count)| (*bucket, count.saturating_sub(before(*bucket))))
            .filter(|(_, count)| *count > 0)
            .collect();
        let zero = self.zero.saturating_sub(earlier.zero);
        Self {
            count: zero + buckets.iter().map(|(_, count)| count).sum::<u64>(),
            zero,
            sum: self.sum - earlier.sum,
            max: self.max,
            buckets,
            exemplars: Vec::new(),
        }
    }

    /// Adds another histogram's values.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.zero += other.zero;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        for (bucket, count) in &other.buckets {
            match self
                .buckets
                .binary_search_by_key(bucket, |(bucket, _)| *bucket)
            {
                Ok(at) => self.buckets[at].1 += count,
                Err(at) => self.buckets.insert(at, (*bucket, *count)),
            }
        }
        for (octave, exemplar) in &other.exemplars {
            match self
                .exemplars
                .binary_search_by_key(octave, |(octave, _)| *octave)
            {
                Ok(at) if self.exemplars[at].1.at_ms >= exemplar.at_ms => {}
                Ok(at) => self.exemplars[at].1 = *exemplar,
                Err(at) => self.exemplars.insert(at, (*octave, *exemplar)),
            }
        }
    }
}

fn split(bucket: u16) -> (i32, usize) {
    (
        i32::from(bucket) / STEPS as i32 + FIRST,
        usize::from(bucket) % STEPS,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_stay_within_the_stated_error(
            mut values in prop::collection::vec(prop_oneof![1e-5..1e9f64, 1.0..100.0f64, Just(0.0)], 1..400),
            q in 0.0..=1.0f64,
        ) {
            let histogram = Histogram::new();
            for value in &values {
                prop_assert!(histogram.record(*value));
            }
            values.sort_by(f64::total_cmp);
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let estimate = histogram.quantile(q);
            prop_assert!((estimate - exact).abs() <= exact * 0.011, "{estimate} for {exact}");
            prop_assert_eq!(histogram.count(), values.len() as u64);
        }

        #[test]
        fn merging_equals_recording_both(
            a in prop::collection::vec(0.0..1e6f64, 0..50),
            b in prop::collection::vec(0.0..1e6f64, 0..50),
        ) {
            let [left, right, both] = [(); 3].map(|()| Histogram::new());
            for value in &a { left.record(*value); both.record(*value); }
            for value in &b { right.record(*value); both.record(*value); }
            let mut merged = left.snapshot();
            merged.merge(&right.snapshot());
            let both = both.snapshot();
            prop_assert!((merged.sum - both.sum).abs() <= both.sum * 1e-12);
            merged.sum = both.sum;
            prop_assert_eq!(merged, both);
        }
    }

    #[test]
    fn what_was_recorded_since_is_what_was_recorded_after() {
        let [all, late] = [(); 2].map(|()| Histogram::new());
        for value in [0.0, 1.0, 5.0, 5.0, 90.0] {
            all.record(value);
        }
        let earlier = all.snapshot();
        assert_eq!(earlier.since(&earlier).count, 0);
        for value in [0.0, 5.0, 7.0, 90.0] {
            all.record(value);
            late.record(value);
        }
        assert_eq!(all.snapshot().since(&earlier), late.snapshot());
    }

    #[test]
    fn every_edge_of_an_octave_falls_into_its_own_bucket() {
        for step in 0..STEPS {
            let histogram = Histogram::new();
            let edge = f64::from_bits(1f64.to_bits() | edges().mantissa[step]);
            histogram.record(edge);
            histogram.record(edge * 1.01);
            assert_eq!(
                histogram.snapshot().buckets,
                [(((0 - FIRST) as usize * STEPS + step) as u16, 2)],
                "{step}"
            );
        }
    }

    #[test]
    fn out_of_range_is_counted_and_nonsense_refused() {
        let histogram = Histogram::new();
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(!histogram.record(bad));
        }
        assert!(histogram.record(1e300) && histogram.record(1e-300) && histogram.record(-0.0));
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count, snapshot.zero, snapshot.max), (3, 2, 1e300));
        assert_eq!(snapshot.below_power(0), 2);
    }

    #[test]
    fn what_is_absorbed_counts_and_what_is_cleared_does_not() {
        let [one, other] = [(); 2].map(|()| Histogram::new());
        for value in [0.0, 3.0, 1e6] {
            one.record(value);
            other.record(value * 2.0);
        }
        let both = {
            let mut both = one.snapshot();
            both.merge(&other.snapshot());
            both
        };
        one.absorb(&other.snapshot());
        assert_eq!(one.snapshot(), both);
        one.clear();
        assert_eq!(one.snapshot(), HistogramSnapshot::default());
        one.record(1.0);
        assert_eq!(one.count(), 1);
    }

    #[test]
    fn threads_lose_nothing() {
        let histogram = Histogram::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let histogram = &histogram;
                scope.spawn(move || {
                    (0..10_000).for_each(|n| assert!(histogram.record(f64::from(n * 4 + thread))));
                });
            }
        });
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count, 40_000);
        assert!((snapshot.sum - 40_000.0 * 39_999.0 / 2.0).abs() < 1.0);
        assert!((snapshot.max - 39_999.0).abs() < f64::EPSILON);
    }
}
