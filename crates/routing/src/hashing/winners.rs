//! Whose a key is by rendezvous hashing: all members are scored, and the winner is remembered by key.
//!
//! What is remembered is the answer itself, so it decides nothing: a key that is asked for again costs one look instead
//! of about 4 ns a member, and one whose place another key took meanwhile is worked out anew.

use std::sync::OnceLock;

use zerocopy::FromZeros;

use crate::hash::rendezvous_score_below;
use crate::membership::Member;
use crate::sync::{AtomicU64, Ordering};

/// Sets of keys whose hashes agree modulo this; two of each are remembered.
const SETS: usize = 1 << 14;

/// The winners of the latest keys.
#[derive(Debug, Default)]
pub(crate) struct Winners {
    /// Key hash in the upper half, index of its member plus 1 in the lower; 0 = none yet. 256 KiB, committed page by page.
    /// `None`: there was no memory, and nothing is remembered.
    known: OnceLock<Option<Box<[[AtomicU64; 2]]>>>,
}

/// Index of the member with the best score for a key; the first of equals.
pub(crate) fn nearest(members: &[Member], key_hash: u32) -> Option<usize> {
    let mut best = None;
    let mut lowest = f64::INFINITY;
    for (index, member) in members.iter().enumerate() {
        let score = rendezvous_score_below(key_hash, member.affinity, member.weight, lowest);
        if let Some(score) = score {
            (best, lowest) = (Some(index), score);
        }
    }
    best
}

impl Winners {
    /// Whether its memory was taken.
    #[inline]
    pub(crate) fn is_prepared(&self) -> bool {
        self.known.get().is_some()
    }

    /// Takes its memory.
    pub(crate) fn prepare(&self) {
        self.known
            .get_or_init(|| <[[AtomicU64; 2]]>::new_box_zeroed_with_elems(SETS).ok());
    }

    /// [`nearest`], of always the same members.
    #[inline]
    pub(crate) fn of(&self, members: &[Member], key_hash: u32) -> Option<usize> {
        let known = self.known.get().and_then(Option::as_ref);
        let Some(set) = known.and_then(|known| known.get(key_hash as usize % SETS)) else {
            return nearest(members, key_hash);
        };
        // Relaxed: the word is all there is, and whoever works it out comes to the same.
        for cell in set {
            let word = cell.load(Ordering::Relaxed);
            if (word >> 32) as u32 == key_hash
                && let Some(index) = (word as u32).checked_sub(1)
            {
                return Some(index as usize);
            }
        }
        let index = nearest(members, key_hash)?;
        let is_free = |cell: &&AtomicU64| cell.load(Ordering::Relaxed) == 0;
        let other = (key_hash as usize / SETS) % 2;
        let cell = set.iter().find(is_free).unwrap_or(&set[other]);
        let word = u64::from(key_hash) << 32 | (index as u64 + 1);
        cell.store(word, Ordering::Relaxed);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{fmix32, rendezvous_score};

    fn members(count: u32, weights: u32) -> Vec<Member> {
        let member = |n| Member {
            handle: n + 1,
            thread: 0,
            weight: 1 + fmix32(n) % weights,
            affinity: fmix32(n + 77),
            tier: 0,
            end: 0,
        };
        (0..count).map(member).collect()
    }

    #[test]
    fn the_winner_is_who_scores_lowest() {
        for (count, weights) in [(1, 1), (2, 3), (50, 1), (300, 1_000)] {
            let members = members(count, weights);
            let winners = Winners::default();
            winners.prepare();
            // Twice the same keys, and some that take each other's places.
            for key in (0..3_000)
                .chain(0..3_000)
                .map(|key| fmix32(key % 2_900).max(1))
            {
                for key in [key, key ^ 1 << 31, key ^ 1 << 30] {
                    let scores = members
                        .iter()
                        .map(|member| rendezvous_score(key, member.affinity, member.weight));
                    let best = scores
                        .enumerate()
                        .min_by(|a, b| a.1.total_cmp(&b.1))
                        .map(|(index, _)| index);
                    assert_eq!(nearest(&members, key), best);
                    assert_eq!(winners.of(&members, key), best);
                }
            }
        }
    }
}
