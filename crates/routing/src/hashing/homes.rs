//! Where keys are at home with a balancer that does not hash: rendezvous hashing of a key's bucket, remembered. So a key
//! costs one look at a table, whatever the number of members, and when members change only the keys move that must.
//!
//! A bucket's home is worked out when it is first asked for, which takes about 4 ns a member, and kept as long as the
//! members stay the same.

use std::sync::OnceLock;

use zerocopy::FromZeros;

use super::winners::nearest;
use crate::hash::fmix32;
use crate::membership::Member;
use crate::sync::{AtomicU32, Ordering};

/// Buckets that keys fall into. A member's share of the keys is its weight's within the root of members over buckets:
/// 4 % with a hundred.
const BUCKETS: usize = 1 << 16;
/// Homes of a key, one after the other, that are asked before all members are scored for it.
const HOMES: u32 = 16;

/// The homes that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    /// Index of each bucket's member, plus 1; 0 = not worked out yet. 256 KiB, committed page by page. `None`: there was no
    /// memory, and nothing is remembered.
    known: OnceLock<Option<Box<[AtomicU32]>>>,
}

impl Homes {
    /// Whether its memory was taken.
    #[inline]
    pub(crate) fn is_prepared(&self) -> bool {
        self.known.get().is_some()
    }

    /// Takes its memory.
    pub(crate) fn prepare(&self) {
        self.known
            .get_or_init(|| <[AtomicU32]>::new_box_zeroed_with_elems(BUCKETS).ok());
    }

    #[inline]
    fn of(&self, members: &[Member], bucket: usize) -> u32 {
        let known = self.known.get().and_then(Option::as_ref);
        let cell = known.and_then(|known| known.get(bucket));
        // Relaxed: the word is all there is, and whoever works it out comes to the same.
        let home = cell.and_then(|cell| cell.load(Ordering::Relaxed).checked_sub(1));
        home.unwrap_or_else(|| Self::work_out(members, bucket, cell))
    }

    #[cold]
    #[inline(never)]
    fn work_out(members: &[Member], bucket: usize, cell: Option<&AtomicU32>) -> u32 {
        let home = nearest(members, bucket as u32).unwrap_or(0) as u32;
        if let Some(cell) = cell {
            cell.store(home + 1, Ordering::Relaxed);
        }
        home
    }

    /// Indexes of a key's homes in its order, with repetitions. Keys of one home have different second ones.
    #[inline]
    pub(crate) fn walk<'a>(
        &'a self,
        members: &'a [Member],
        key_hash: u32,
    ) -> impl Iterator<Item = u32> + 'a {
        (0..HOMES).map(move |step| {
            let hash = match step {
                0 => key_hash,
                _ => fmix32(key_hash.wrapping_add(step.wrapping_mul(0x9e37_79b9))),
            };
            self.of(members, hash as usize % BUCKETS)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn members(count: u32) -> Vec<Member> {
        let member = |n| Member {
            handle: n + 1,
            thread: 0,
            weight: 1 + n % 3,
            affinity: fmix32(n + 77),
            tier: 0,
            end: 0,
        };
        (0..count).map(member).collect()
    }

    #[test]
    fn shares_follow_weights() {
        let members = members(10);
        let homes = Homes::default();
        let mut counts = [0f64; 10];
        for key in 0..200_000 {
            counts[homes.walk(&members, fmix32(key)).next().unwrap() as usize] += 1.0;
        }
        let total: u32 = members.iter().map(|member| member.weight).sum();
        for (member, count) in members.iter().zip(counts) {
            let share = 200_000.0 * f64::from(member.weight) / f64::from(total);
            assert!((count / share - 1.0).abs() < 0.06, "{counts:?}");
        }
    }

    #[test]
    fn no_key_moves_but_those_of_a_lost_member_and_they_spread() {
        let all = members(20);
        let (before, after) = (Homes::default(), Homes::default());
        let mut second = HashSet::new();
        for key in 0..20_000 {
            let was = before.walk(&all, fmix32(key)).next().unwrap();
            let is = after.walk(&all[..19], fmix32(key)).next().unwrap();
            if was == 19 {
                second.insert(is);
            } else {
                assert_eq!(was, is);
            }
        }
        assert_eq!(second.len(), 19);
    }

    #[test]
    fn what_is_remembered_is_what_is_worked_out() {
        let members = members(100);
        let homes = Homes::default();
        homes.prepare();
        for key in (0..60_000).map(fmix32).chain((0..60_000).map(fmix32)) {
            let bucket = key % BUCKETS as u32;
            let home = homes.walk(&members, key).next().unwrap() as usize;
            assert_eq!(Some(home), nearest(&members, bucket));
        }
    }
}
