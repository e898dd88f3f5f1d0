//! Completion queues of the threads of one node: two for each, given back when it leaves.

use std::sync::Mutex;

use crate::engine::lock;

/// Threads that may use remote memory at a time.
const MAX_THREADS: u32 = 2_000;

#[derive(Debug, Default)]
struct Numbers {
    made: u32,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Queues(Mutex<Numbers>);

impl Queues {
    /// The first of two queues; `None` when there are too many. Queue 0 is nobody's.
    pub(super) fn take(&self) -> Option<u32> {
        let mut numbers = lock(&self.0);
        if let Some(queue) = numbers.free.pop() {
            return Some(queue);
        }
        if numbers.made >= MAX_THREADS {
            return None;
        }
        numbers.made += 1;
        Some(numbers.made * 2 - 1)
    }

    pub(super) fn give_back(&self, queue: u32) {
        lock(&self.0).free.push(queue);
    }
}
