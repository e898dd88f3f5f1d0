//! What one thread has under way: its regions, its operations, its transfers, and which of them go by the engine.

use std::sync::Arc;
use std::time::Instant;

use linkmesh_memory::client::Success;
use linkmesh_memory::endpoint::{Call, Drained, DrainedResult, RemoteId};
use linkmesh_memory::frame::Operation;
use linkmesh_transport::core::Io;

use crate::memory::bulk::{Bulk, TRANSFER};
use crate::memory::deadline::deadline;
use crate::memory::page::{Completion, Completions, Fate, Name, Submission};
use crate::memory::pending::{Entry, Pending};
use crate::memory::remotes::Remote;
use crate::memory::{fate, nearby};
use crate::transport::{Node, NodeApp};

/// Bits of a handle that say which slot it is in.
const SLOT_MASK: u32 = (1 << 17) - 1;

/// A remote region that this thread works on.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) remote: Arc<Remote>,
    /// Operations of this thread that are on their way by the engine.
    pub(super) far: u32,
}

/// A fence that waits for bulk transfers, which know no order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    pub(super) name: Name,
    remote: u32,
    timeout_ms: f64,
}

/// What a thread has under way.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By slot of the handle.
    known: Vec<Option<Known>>,
    pub(super) pending: Pending,
    pub(super) bulk: Bulk,
    pub(super) fences: Vec<Fence>,
    /// Records of the running flush that go by the engine.
    pub(super) far: Vec<u16>,
}

impl Table {
    /// The region of a handle, unless it is closed.
    #[inline]
    pub(super) fn known(&mut self, node: &Node, handle: u32) -> Option<&mut Known> {
        let slot = (handle & SLOT_MASK) as usize;
        let is_known = matches!(
            self.known.get(slot),
            Some(Some(known)) if known.remote.id.0 == handle && !known.remote.is_closed()
        );
        if !is_known && !self.learn(node, handle) {
            return None;
        }
        self.known[slot].as_mut()
    }

    #[cold]
    fn learn(&mut self, node: &Node, handle: u32) -> bool {
        let slot = (handle & SLOT_MASK) as usize;
        let known = node.remotes.get(handle);
        let found = known.is_some();
        // Slots of imports are dense, so this is no longer than the imports there were at a time.
        if self.known.len() <= slot {
            if !found {
                return false;
            }
            self.known.resize_with(slot + 1, || None);
        }
        self.known[slot] = known.map(|remote| Known { remote, far: 0 });
        found
    }

    /// A remote region was closed: its memory need not stay mapped for this thread.
    pub(super) fn forget(&mut self, handle: u32) {
        let slot = (handle & SLOT_MASK) as usize;
        if let Some(known) = self.known.get_mut(slot)
            && known
                .as_ref()
                .is_some_and(|known| known.remote.id.0 == handle)
        {
            *known = None;
        }
    }

    /// An operation on this region has come back from the engine.
    #[inline]
    pub(super) fn returned(&mut self, handle: u32) {
        if let Some(Some(known)) = self.known.get_mut((handle & SLOT_MASK) as usize)
            && known.remote.id.0 == handle
        {
            known.far = known.far.saturating_sub(1);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.fences.is_empty() && !self.bulk.is_busy()
    }

    /// Does what can be done at once; the rest is noted in `far`.
    #[inline]
    pub(super) fn do_nearby(
        &mut self,
        node: &Node,
        submission: &Submission<'_>,
        completions: &mut Completions<'_>,
    ) -> bool {
        let is_fence = matches!(submission.operation, Operation::Nop);
        if is_fence && self.bulk.is_running_on(submission.remote) {
            self.fences.push(Fence {
                name: submission.name,
                remote: submission.remote,
                timeout_ms: submission.timeout_ms,
            });
            return true;
        }
        let Some(known) = self.known(node, submission.remote) else {
            refuse(submission.name, fate::stale(), completions);
            return true;
        };
        if known.far == 0 && nearby::execute(&known.remote, submission, completions) {
            return true;
        }
        known.far += 1;
        false
    }

    pub(super) fn submit(
        &mut self,
        app: &mut NodeApp,
        now: Instant,
        queue: u32,
        submission: &Submission<'_>,
        completions: &mut Completions<'_>,
    ) {
        let at = self.pending.insert(Entry {
            name: submission.name,
            remote: submission.remote,
            number: 0,
        });
        let call = Call {
            remote: RemoteId(submission.remote),
            operation: submission.operation,
            fence: submission.fence,
            deadline: deadline(now, submission.timeout_ms),
            token: u64::from(queue) << 32 | u64::from(at),
        };
        match app.memory.submit(&call, now) {
            Ok(number) => self.pending.set_number(at, number),
            Err(error) => {
                self.pending.remove(at);
                self.returned(submission.remote);
                refuse(submission.name, fate::of_call(&error), completions);
            }
        }
    }

    /// Takes what has completed, as far as there is room for it.
    #[inline]
    pub(super) fn take(
        &mut self,
        app: &mut NodeApp,
        queue: u32,
        completions: &mut Completions<'_>,
    ) {
        app.memory
            .drain(queue, |drained| self.completed(&drained, completions));
    }

    #[inline]
    fn completed(&mut self, drained: &Drained<'_>, completions: &mut Completions<'_>) -> bool {
        let token = drained.token as u32;
        if token & TRANSFER != 0 {
            return self.bulk.arrived(token, &drained.result, completions);
        }
        let Some(entry) = self.pending.get(token) else {
            return true;
        };
        let mut completion = Completion {
            name: entry.name,
            ..Completion::default()
        };
        let body: &[u8] = match drained.result {
            DrainedResult::Success(Success::Bytes(bytes)) => bytes,
            DrainedResult::Success(Success::Versioned {
                before,
                after,
                bytes,
            }) => {
                (completion.before, completion.after) = (before, after);
                bytes
            }
            DrainedResult::Success(Success::Value(value)) => {
                completion.value = value;
                &[]
            }
            DrainedResult::Success(Success::Done) => &[],
            DrainedResult::Failed(error) => {
                completion.fate = fate::of_operation(&error);
                &[]
            }
            // Nothing else has a token of this kind.
            _ => return true,
        };
        if !completions.push(&completion, body) {
            return false;
        }
        self.pending.remove(token);
        self.returned(entry.remote);
        true
    }

    /// Submits the fences whose transfers are over.
    pub(super) fn release_fences(
        &mut self,
        node: &Node,
        app: &mut NodeApp,
        io: &mut Io<'_>,
        queue: u32,
        completions: &mut Completions<'_>,
    ) {
        let mut at = 0;
        while let Some(fence) = self.fences.get(at).copied() {
            if self.bulk.is_running_on(fence.remote) || !completions.fits(0) {
                at += 1;
                continue;
            }
            self.fences.remove(at);
            let submission = Submission {
                name: fence.name,
                remote: fence.remote,
                fence: true,
                timeout_ms: fence.timeout_ms,
                operation: Operation::Nop,
            };
            if !self.do_nearby(node, &submission, completions) {
                self.submit(app, io.now(), queue, &submission, completions);
            }
        }
        app.memory.flush(io);
    }
}

pub(super) fn refuse(name: Name, fate: Fate, completions: &mut Completions<'_>) {
    let completion = Completion {
        name,
        fate,
        ..Completion::default()
    };
    // One completion per record of a flush, or of one that was looked at: there is room.
    completions.push(&completion, &[]);
}
