//! What completed, in a queue per submitting thread, until that thread takes it.

use std::collections::VecDeque;

use super::RemoteId;
use crate::{
    bulk::TransferError,
    client::{Completion, ImportError, OperationError, Success},
    frame::Imported,
};

/// Completions that one thread may leave lying before it can submit no more.
pub const MAX_UNDRAINED: usize = 65_536;

/// How something ended, as it lies in the queue. Bytes are lent from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainedResult<'a> {
    /// An operation succeeded.
    Success(Success<'a>),
    /// An operation failed.
    Failed(OperationError),
    /// A grant was imported.
    Imported(RemoteId, Imported),
    /// A grant was refused.
    ImportFailed(ImportError),
    /// The grant behind this import is dead; its token is that of the import.
    Revoked(RemoteId),
    /// A bulk transfer got on; more of its token follows.
    Progress {
        /// Bytes placed (read) or handed to the network (write).
        moved: u64,
        /// Bytes of the whole.
        total: u64,
    },
    /// A bulk transfer failed; one that is complete is [`Success::Done`].
    TransferFailed(TransferError),
}

/// One completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained<'a> {
    /// What the caller gave. Its high half named the queue.
    pub token: u64,
    /// How it ended.
    pub result: DrainedResult<'a>,
}

/// Without the bytes, which lie in the queue's own arena in the same order.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Done,
    Value(u64),
    Bytes(u32),
    Versioned {
        before: u64,
        after: u64,
        length: u32,
    },
    Failed(OperationError),
    Imported(RemoteId, Imported),
    ImportFailed(ImportError),
    Revoked(RemoteId),
    Progress {
        moved: u64,
        total: u64,
    },
    TransferFailed(TransferError),
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<(u64, Kept)>,
    bytes: Vec<u8>,
    taken: usize,
}

/// Queues by the high half of the token: a submitting thread's number, small and dense.
#[derive(Debug, Default)]
pub struct CompletionQueues {
    queues: Vec<Queue>,
}

/// Threads that may submit.
const MAX_QUEUES: usize = 4096;

impl CompletionQueues {
    fn queue(&mut self, token: u64) -> &mut Queue {
        let at = ((token >> 32) as usize).min(MAX_QUEUES - 1);
        if self.queues.len() <= at {
            self.queues.resize_with(at + 1, Queue::default);
        }
        &mut self.queues[at]
    }

    /// True if the thread of `token` has left so much lying that it may not submit.
    #[inline]
    pub(super) fn is_full(&self, token: u64) -> bool {
        (self.queues.get((token >> 32) as usize))
            .is_some_and(|queue| queue.entries.len() >= MAX_UNDRAINED)
    }

    #[inline]
    pub(super) fn completed(&mut self, completion: &Completion<'_>) {
        let queue = self.queue(completion.token);
        let kept = match completion.result {
            Ok(Success::Done) => Kept::Done,
            Ok(Success::Value(value)) => Kept::Value(value),
            Ok(Success::Bytes(bytes)) => {
                queue.bytes.extend_from_slice(bytes);
                Kept::Bytes(bytes.len() as u32)
            }
            Ok(Success::Versioned {
                before,
                after,
                bytes,
            }) => {
                queue.bytes.extend_from_slice(bytes);
                Kept::Versioned {
                    before,
                    after,
                    length: bytes.len() as u32,
                }
            }
            Err(error) => Kept::Failed(error),
        };
        queue.entries.push_back((completion.token, kept));
    }

    pub(super) fn imported(
        &mut self,
        token: u64,
        result: Result<(RemoteId, Imported), ImportError>,
    ) {
        let kept = match result {
            Ok((remote, imported)) => Kept::Imported(remote, imported),
            Err(error) => Kept::ImportFailed(error),
        };
        self.queue(token).entries.push_back((token, kept));
    }

    pub(super) fn revoked(&mut self, token: u64, remote: RemoteId) {
        self.queue(token)
            .entries
            .push_back((token, Kept::Revoked(remote)));
    }

    pub(super) fn transferred(&mut self, token: u64, result: Result<(), TransferError>) {
        let kept = result.map_or_else(Kept::TransferFailed, |()| Kept::Done);
        self.queue(token).entries.push_back((token, kept));
    }

    /// A report that was not taken is replaced when it lies last; nobody needs each of them.
    pub(super) fn progress(&mut self, token: u64, moved: u64, total: u64) {
        let entries = &mut self.queue(token).entries;
        let report = (token, Kept::Progress { moved, total });
        match entries.back_mut() {
            Some(last) if last.0 == token && matches!(last.1, Kept::Progress { .. }) => {
                *last = report;
            }
            _ => {
                if entries.len() < MAX_UNDRAINED {
                    entries.push_back(report);
                }
            }
        }
    }

    /// True if the thread `queue` has something to take.
    #[inline]
    pub fn has(&self, queue: u32) -> bool {
        self.queues
            .get(queue as usize)
            .is_some_and(|queue| !queue.entries.is_empty())
    }

    /// Hands out what completed for the thread `queue`, oldest first, until `take` answers false: that one stays. Returns how
    /// many were taken.
    pub fn drain(&mut self, queue: u32, mut take: impl FnMut(Drained<'_>) -> bool) -> usize {
        let Some(queue) = self.queues.get_mut(queue as usize) else {
            return 0;
        };
        let mut count = 0;
        while let Some((token, kept)) = queue.entries.front().copied() {
            let rest = &queue.bytes[queue.taken..];
            let (result, length) = match kept {
                Kept::Done => (DrainedResult::Success(Success::Done), 0),
                Kept::Value(value) => (DrainedResult::Success(Success::Value(value)), 0),
                Kept::Bytes(length) => (
                    DrainedResult::Success(Success::Bytes(&rest[..length as usize])),
                    length as usize,
                ),
                Kept::Versioned {
                    before,
                    after,
                    length,
                } => {
                    let bytes = &rest[..length as usize];
                    (
                        DrainedResult::Success(Success::Versioned {
                            before,
                            after,
                            bytes,
                        }),
                        length as usize,
                    )
                }
                Kept::Failed(error) => (DrainedResult::Failed(error), 0),
                Kept::Imported(remote, imported) => (DrainedResult::Imported(remote, imported), 0),
                Kept::ImportFailed(error) => (DrainedResult::ImportFailed(error), 0),
                Kept::Revoked(remote) => (DrainedResult::Revoked(remote), 0),
                Kept::Progress { moved, total } => (DrainedResult::Progress { moved, total }, 0),
                Kept::TransferFailed(error) => (DrainedResult::TransferFailed(error), 0),
            };
            if !take(Drained { token, result }) {
                break;
            }
            queue.taken += length;
            queue.entries.pop_front();
            count += 1;
        }
        if queue.entries.is_empty() {
            queue.taken = 0;
            queue.bytes.clear();
            // What one burst of long reads allocated is given back.
            queue.bytes.shrink_to(1024 * 1024);
        } else if queue.taken > 1024 * 1024 {
            queue.bytes.drain(..queue.taken);
            queue.taken = 0;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_takes_its_own_in_order_and_leaves_what_does_not_fit() {
        let mut queues = CompletionQueues::default();
        for at in 0..10u64 {
            let bytes = vec![at as u8; at as usize];
            let result = Ok(Success::Bytes(&bytes));
            queues.completed(&Completion {
                id: at,
                token: (at % 2) << 32 | at,
                result,
            });
        }
        let mut seen = Vec::new();
        let count = queues.drain(1, |one| {
            let DrainedResult::Success(Success::Bytes(bytes)) = one.result else {
                panic!("{one:?}")
            };
            if bytes.len() > 6 {
                return false;
            }
            seen.push((one.token & 0xff, bytes.to_vec()));
            true
        });
        assert_eq!(
            (count, seen),
            (3, vec![(1, vec![1]), (3, vec![3; 3]), (5, vec![5; 5])])
        );
        assert!(queues.has(1) && queues.has(0) && !queues.has(2));
        let mut rest = Vec::new();
        queues.drain(1, |one| {
            rest.push(one.token & 0xff);
            true
        });
        assert_eq!(rest, [7, 9]);
        assert!(!queues.has(1) && queues.has(0));
    }
}
