//! Once the buffers have grown, an operation allocates nothing on either side.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::Instant,
};

use common::pair::Pair;
use linkmesh_memory::{frame::Operation, region::Rights};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands every call to the system allocator unchanged; counting touches a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn operations_allocate_nothing() {
    let mut pair = Pair::new(4096, Rights::ALL);
    let now = Instant::now();
    let mut before = 0;
    for round in 0..300u64 {
        if round == 100 {
            before = ALLOCATIONS.with(Cell::get);
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
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}
