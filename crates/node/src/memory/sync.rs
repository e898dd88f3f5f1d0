//! Operations that wait within the call: a read, a compare-and-swap, a fetch-and-add.
//!
//! The thread stands still meanwhile, for a bounded time. It holds the engine in slices, so that other threads get their turn.

use std::time::Duration;

use linkmesh_memory::client::Success;
use linkmesh_memory::endpoint::{Call, DrainedResult, RemoteId};
use linkmesh_memory::frame::Operation;

use crate::memory::deadline::deadline;
use crate::memory::operations::Operations;
use crate::memory::page::Fate;
use crate::memory::{fate, nearby};

/// How long a synchronous call holds the engine at a time, so that other threads get their turn.
const SYNC_SLICE: Duration = Duration::from_micros(100);

impl Operations {
    /// Reads within the call. With a timeout of 0 only what needs no waiting.
    #[inline]
    pub(crate) fn read_sync(
        &mut self,
        handle: u32,
        offset: u64,
        target: &mut [u8],
        timeout_ms: f64,
    ) -> Result<usize, Fate> {
        let known = (self.table.known(&self.node, handle)).ok_or_else(fate::stale)?;
        if known.far == 0
            && let Some(answer) = nearby::read(&known.remote, offset, target)
        {
            return answer.map(|()| target.len());
        }
        let Ok(length) = u32::try_from(target.len()) else {
            return Err(fate::too_long(target.len() as u64, u64::from(u32::MAX)));
        };
        let operation = Operation::Read { offset, length };
        self.call_sync(handle, operation, timeout_ms, |success| {
            if let Success::Bytes(bytes) = success
                && bytes.len() == target.len()
            {
                target.copy_from_slice(bytes);
            }
        })?;
        Ok(length as usize)
    }

    /// Compares and swaps within the call; the operands and the answer are in the page's header.
    #[inline]
    pub(crate) fn compare_swap_sync(
        &mut self,
        handle: u32,
        offset: u64,
        timeout_ms: f64,
    ) -> Result<(), Fate> {
        // SAFETY: on the page's thread, inside a call from its JavaScript; nothing else of the page is in use.
        let (expected, desired) = unsafe { (self.page.header(0), self.page.header(1)) };
        let operation = Operation::CompareSwap {
            offset,
            expected,
            desired,
        };
        self.atomic_sync(handle, operation, timeout_ms)
    }

    /// Fetches and adds within the call; the operand and the answer are in the page's header.
    #[inline]
    pub(crate) fn fetch_add_sync(
        &mut self,
        handle: u32,
        offset: u64,
        timeout_ms: f64,
    ) -> Result<(), Fate> {
        // SAFETY: as in `compare_swap_sync`.
        let operand = unsafe { self.page.header(0) };
        let operation = Operation::FetchAdd { offset, operand };
        self.atomic_sync(handle, operation, timeout_ms)
    }

    #[inline]
    fn atomic_sync(
        &mut self,
        handle: u32,
        operation: Operation<'_>,
        timeout_ms: f64,
    ) -> Result<(), Fate> {
        let known = (self.table.known(&self.node, handle)).ok_or_else(fate::stale)?;
        let answer = if known.far == 0 {
            nearby::atomic(&known.remote, operation)
        } else {
            None
        };
        let previous = if let Some(answer) = answer {
            answer?
        } else {
            let mut previous = 0;
            self.call_sync(handle, operation, timeout_ms, |success| {
                if let Success::Value(value) = success {
                    previous = value;
                }
            })?;
            previous
        };
        // SAFETY: as in `compare_swap_sync`.
        unsafe { self.page.set_header(2, previous) };
        Ok(())
    }

    /// Hands an operation to the engine and drives it until it has completed, at the latest by its deadline.
    #[cold]
    fn call_sync(
        &mut self,
        handle: u32,
        operation: Operation<'_>,
        timeout_ms: f64,
        mut use_success: impl FnMut(Success<'_>),
    ) -> Result<(), Fate> {
        if timeout_ms == 0.0 {
            return Err(fate::not_now());
        }
        let queue = self.queue + 1;
        self.sync_calls = self.sync_calls.wrapping_add(1);
        let token = u64::from(queue) << 32 | u64::from(self.sync_calls);
        let mut submitted = false;
        let mut ended = None;
        loop {
            let shard = self.shard;
            let driven = self.node.lease(shard, |lease| {
                if !submitted {
                    let taken = lease.with(|app, io| {
                        let now = io.now();
                        let call = Call {
                            remote: RemoteId(handle),
                            operation,
                            fence: false,
                            deadline: Some(deadline(now, timeout_ms).unwrap_or(now)),
                            token,
                        };
                        let taken = app.memory.submit(&call, now);
                        app.memory.flush(io);
                        let peer = app.memory.peer_of(call.remote);
                        taken.map(|_| peer.map(|peer| io.shard(peer)))
                    });
                    submitted = true;
                    match taken {
                        Err(error) => {
                            ended = Some(Err(fate::of_call(&error)));
                            return;
                        }
                        // The answer comes to another engine thread: this one waits in its place.
                        Ok(Some(peers)) if peers != shard => {
                            self.shard = peers;
                            return;
                        }
                        Ok(_) => {}
                    }
                }
                lease.spin_alone(SYNC_SLICE, |app| app.memory.has_completed(queue));
                lease.application().memory.drain(queue, |drained| {
                    // One at a time: anything else would be of a call that a panic has ended.
                    if drained.token == token {
                        ended = Some(match drained.result {
                            DrainedResult::Success(success) => {
                                use_success(success);
                                Ok(())
                            }
                            DrainedResult::Failed(error) => Err(fate::of_operation(&error)),
                            _ => Ok(()),
                        });
                    }
                    true
                });
            });
            match (ended, driven) {
                (Some(ended), _) => return ended,
                (None, None) if submitted => return Err(fate::lost(operation.is_mutation())),
                (None, None) => return Err(fate::closed()),
                (None, Some(())) => std::thread::yield_now(),
            }
        }
    }
}
