//! Numbers that say which engine thread something belongs to.

/// One shard among several: it puts its own number into the low bits of what it numbers. With one shard there are no such bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardBits {
    shard: u8,
    bits: u8,
}

impl ShardBits {
    /// # Panics
    /// When `shard` is not below `shards`: the engine's options are checked before.
    pub(super) fn new(shard: u8, shards: u8) -> Self {
        assert!(shard < shards, "shard {shard} of {shards}");
        let bits = shards.next_power_of_two().trailing_zeros() as u8;
        Self { shard, bits }
    }

    pub(super) fn shard(self) -> u8 {
        self.shard
    }

    /// The number of the shard's `place`-th thing.
    pub(super) fn number(self, place: u64) -> u64 {
        place << self.bits | u64::from(self.shard)
    }

    /// The place that one of this shard's numbers names.
    #[inline]
    pub(super) fn place(self, index: u32) -> u32 {
        index >> self.bits
    }

    /// Which shard a number is of.
    #[inline]
    pub(super) fn of(self, number: u64) -> u8 {
        (number & ((1 << self.bits) - 1)) as u8
    }

    #[inline]
    pub(super) fn owns(self, number: u64) -> bool {
        self.of(number) == self.shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_name_their_shard() {
        for shards in [1_u8, 2, 3, 5, 16] {
            let all = (0..shards).map(|shard| ShardBits::new(shard, shards));
            let mut seen = std::collections::HashSet::new();
            for bits in all {
                for place in 0..100 {
                    let number = bits.number(place);
                    assert!(bits.owns(number) && seen.insert(number));
                    assert_eq!(u64::from(bits.place(number as u32)), place);
                    assert!(number < 100 * u64::from(shards.next_power_of_two()));
                }
            }
        }
    }
}
