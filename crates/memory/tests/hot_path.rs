//! Once the buffers have grown, an operation allocates nothing on either side.

#[path = "../../tables/tests/common/allocations.rs"]
mod allocations;
mod common;

use std::time::Instant;

use allocations::allocations;
use common::pair::Pair;
use linkmesh_memory::{frame::Operation, region::Rights};

#[test]
fn operations_allocate_nothing() {
    let mut pair = Pair::new(4096, Rights::ALL);
    let now = Instant::now();
    let mut before = 0;
    for round in 0..300u64 {
        if round == 100 {
            before = allocations();
        }
        for at in 0..100 {
            let offset = at % 32 * 64;
            let operation = match at % 5 {
                0 => Operation::Write {
                    offset,
                    data: &[at as u8; 64],
                },
                1 => Operation::FetchAdd { offset, operand: 1 },
                2 => Operation::CompareSwap {
                    offset,
                    expected: 1,
                    desired: 2,
                },
                3 => Operation::ReadVersioned {
                    offset,
                    length: 64,
                    version: 0,
                },
                _ => Operation::Read { offset, length: 64 },
            };
            // Every other round in frames of their own.
            pair.submit_fenced(operation, round % 2 == 0, now).unwrap();
        }
        pair.exchange(now);
        assert_eq!(pair.client.pending(), 0);
    }
    assert_eq!(pair.ended.count, 300 * 100);
    assert_eq!(allocations() - before, 0);
}
