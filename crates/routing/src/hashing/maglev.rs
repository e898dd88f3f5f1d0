//! Maglev's table [Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI '16, §3.4], with
//! weights: a node takes a turn whenever its share of the rounds so far is due.

use super::table::Node;
use crate::hash::fmix32;

/// Table sizes, prime: the paper's two. The larger one from a hundredth of the smaller one on, so that shares differ by
/// a percent at most.
const SMALL: u32 = 65_537;
const LARGE: u32 = 655_373;

/// Index of the node of each position. Cost: about 1 ms per 65,537 positions, paid when membership changes.
pub(crate) fn table(nodes: &[Node]) -> Vec<u32> {
    let size = if nodes.len() as u32 <= SMALL / 100 {
        SMALL
    } else {
        LARGE
    };
    let heaviest = nodes.iter().map(|node| node.weight).max().unwrap_or(1);
    // Each node prefers the positions offset, offset + skip, offset + 2·skip, …: all of them, the size being prime.
    let mut preferences: Vec<(u32, u32)> = nodes
        .iter()
        .map(|node| {
            let offset = fmix32(node.affinity ^ 0x6d61_676c) % size;
            (offset, fmix32(node.affinity) % (size - 1) + 1)
        })
        .collect();
    let mut due = vec![0u32; nodes.len()];
    let mut table = vec![u32::MAX; size as usize];
    let mut filled = 0;
    while filled < size {
        for (index, node) in nodes.iter().enumerate() {
            due[index] += node.weight;
            if due[index] < heaviest {
                continue;
            }
            due[index] -= heaviest;
            let (position, skip) = &mut preferences[index];
            while table[*position as usize] != u32::MAX {
                *position = (*position + *skip) % size;
            }
            table[*position as usize] = index as u32;
            filled += 1;
            if filled == size {
                break;
            }
        }
    }
    table
}
