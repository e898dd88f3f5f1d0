//! Operations of one JavaScript thread: what it wrote into its page is done, and what completed is written there.
//!
//! Memory of this host is worked on at once. Everything else is handed to the engine, which the thread drives itself for some
//! microseconds: a hot peer answers within them, and no thread is woken on either side.
//!
//! # Order
//! Operations of a thread on one remote region are done in the order of their records. While one of them is on its way by the
//! engine, later ones on the same region follow it there, even when the memory has been mapped meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use linkmesh_memory::client::{Outcome, Success};
use linkmesh_memory::endpoint::{Call, Drained, DrainedResult, RemoteId};
use linkmesh_memory::frame::Operation;
use linkmesh_transport::core::Io;

use crate::memory::bulk::{Asked, Bulk, TRANSFER};
use crate::memory::page::{Completion, Completions, Fate, Name, Page, Parts, Submission};
use crate::memory::pending::{Entry, Pending};
use crate::memory::remotes::Remote;
use crate::memory::{fate, nearby};
use crate::peer::Peer;
use crate::transport::{Node, NodeApp};

/// Longest that a flush drives the engine.
const MAX_SPIN: Duration = Duration::from_millis(1);
/// Packets, or trains of them, that one look takes at most: about 100 µs of work.
const TURNS: usize = 16;
/// How long a synchronous call holds the engine at a time, so that other threads get their turn.
const SYNC_SLICE: Duration = Duration::from_micros(100);
/// Bits of a handle that say which slot it is in.
const SLOT_MASK: u32 = (1 << 17) - 1;

/// When a caller stops waiting; `None` for an endless time.
#[inline]
pub(super) fn deadline(now: Instant, timeout_ms: f64) -> Option<Instant> {
    /// About 30 years: longer is for ever.
    const MAX_MS: f64 = 1e12;
    if timeout_ms >= MAX_MS {
        return None;
    }
    // NaN is no comparison's friend: it becomes the shortest.
    let micros = if timeout_ms > 0.0 {
        (timeout_ms * 1e3) as u64
    } else {
        0
    };
    Some(now + Duration::from_micros(micros))
}

/// A remote region that this thread works on.
#[derive(Debug)]
struct Known {
    remote: Arc<Remote>,
    /// Operations of this thread that are on their way by the engine.
    far: u32,
}

/// A fence that waits for bulk transfers, which know no order.
#[derive(Clone, Copy, Debug)]
struct Fence {
    name: Name,
    remote: u32,
    timeout_ms: f64,
}

/// What a thread has under way.
#[derive(Debug, Default)]
struct Table {
    /// By slot of the handle.
    known: Vec<Option<Known>>,
    pending: Pending,
    bulk: Bulk,
    fences: Vec<Fence>,
    /// Records of the running flush that go by the engine.
    far: Vec<u16>,
}

/// One per thread and mesh that uses remote memory.
#[derive(Debug)]
pub(crate) struct Operations {
    node: Arc<Node>,
    page: Arc<Page>,
    /// The completion queue of what is awaited. The one after it is for synchronous calls.
    queue: u32,
    table: Table,
    /// Numbers synchronous calls.
    sync_calls: u32,
}

impl Table {
    /// The region of a handle, unless it is closed.
    #[inline]
    fn known(&mut self, node: &Node, handle: u32) -> Option<&mut Known> {
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

    /// An operation on this region has come back from the engine.
    #[inline]
    fn returned(&mut self, handle: u32) {
        if let Some(Some(known)) = self.known.get_mut((handle & SLOT_MASK) as usize)
            && known.remote.id.0 == handle
        {
            known.far = known.far.saturating_sub(1);
        }
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.fences.is_empty() && !self.bulk.is_busy()
    }

    /// Does what can be done at once; the rest is noted in `far`.
    #[inline]
    fn do_nearby(
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

    fn submit(
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
    fn take(&mut self, app: &mut NodeApp, queue: u32, completions: &mut Completions<'_>) {
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
    fn release_fences(
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

fn refuse(name: Name, fate: Fate, completions: &mut Completions<'_>) {
    let completion = Completion {
        name,
        fate,
        ..Completion::default()
    };
    // One completion per record of a flush, or of one that was looked at: there is room.
    completions.push(&completion, &[]);
}

impl Operations {
    /// `None` when as many threads as may use remote memory.
    pub(crate) fn new(node: Arc<Node>) -> Option<Self> {
        let queue = node.queues.take()?;
        Some(Self {
            node,
            page: Arc::new(Page::new()),
            queue,
            table: Table::default(),
            sync_calls: 0,
        })
    }

    pub(super) fn page(&self) -> &Arc<Page> {
        &self.page
    }

    /// Does the first `count` records, drives the engine for up to `spin_us` unless something completes earlier, and writes
    /// what has completed. Answers how many completions there are; `None` when the node is closed.
    pub(crate) fn flush(&mut self, count: u32, spin_us: u32) -> Option<usize> {
        let Self {
            node,
            page,
            queue,
            table,
            ..
        } = self;
        let queue = *queue;
        // SAFETY: on the page's thread, inside a call from its JavaScript; these are the only parts of it now.
        let Parts {
            submissions,
            mut completions,
        } = unsafe { page.parts() };
        let completions = &mut completions;
        let count = (count as usize).min(super::page::PAGE_RECORDS);
        table.far.clear();
        for index in 0..count {
            match submissions.get(index) {
                Err(name) => refuse(name, fate::malformed(), completions),
                Ok(submission) => {
                    if !table.do_nearby(node, &submission, completions) {
                        table.far.push(index as u16);
                    }
                }
            }
        }
        if table.is_idle() && table.far.is_empty() {
            return Some(completions.count);
        }
        table.bulk.flush(completions);
        let spin = Duration::from_micros(u64::from(spin_us)).min(MAX_SPIN);
        node.lease(|lease| {
            if !table.far.is_empty() {
                lease.with(|app, io| {
                    let now = io.now();
                    let far = std::mem::take(&mut table.far);
                    for index in &far {
                        if let Ok(submission) = submissions.get(usize::from(*index)) {
                            table.submit(app, now, queue, &submission, completions);
                        }
                    }
                    table.far = far;
                    app.memory.flush(io);
                });
            }
            if completions.count > 0 || spin.is_zero() {
                // What has come by now, which is much while a transfer runs.
                for _ in 0..TURNS {
                    if !lease.turn() {
                        break;
                    }
                }
            } else {
                lease.spin_alone(spin, |app| app.memory.has_completed(queue));
            }
            table.take(lease.application(), queue, completions);
            if !table.fences.is_empty() {
                lease.with(|app, io| table.release_fences(node, app, io, queue, completions));
            }
        })?;
        Some(completions.count)
    }

    /// A remote region was closed: its memory need not stay mapped for this thread.
    pub(super) fn forget(&mut self, handle: u32) {
        let slot = (handle & SLOT_MASK) as usize;
        if let Some(known) = self.table.known.get_mut(slot)
            && known
                .as_ref()
                .is_some_and(|known| known.remote.id.0 == handle)
        {
            *known = None;
        }
    }

    /// True while a completion may come.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.table.is_idle()
    }

    /// The thread is about to sleep, its bell is armed. False when something has completed: then it should not.
    pub(crate) fn sleep(&self, peer: &Arc<Peer>) -> bool {
        if !self.is_waiting() {
            return true;
        }
        if self.table.bulk.is_busy() && !self.table.bulk.is_running() {
            return false;
        }
        let may_sleep = self
            .node
            .with(|app, _| app.arrivals.sleep(&app.memory, self.queue, peer));
        // The engine's own thread looks for packets from here on.
        self.node.release();
        may_sleep.unwrap_or(true)
    }

    /// Gives up what has this id: 0 when it never left, 1 when it may have, `None` when it has completed.
    pub(crate) fn cancel(&mut self, id: u32) -> Option<u32> {
        let table = &mut self.table;
        let fences = table.fences.len();
        table.fences.retain(|fence| fence.name.id != id);
        if table.fences.len() < fences {
            return Some(0);
        }
        if let Some(left) = table.bulk.cancel(&self.node, id) {
            return Some(u32::from(left));
        }
        let entries = table.pending.filter(|entry| entry.name.id == id);
        if entries.is_empty() {
            return None;
        }
        let outcomes = self.node.with(|app, io| {
            let cancel =
                |entry: &Entry| app.memory.cancel(io, RemoteId(entry.remote), entry.number);
            entries.iter().map(cancel).collect::<Vec<_>>()
        })?;
        if outcomes.contains(&None) {
            return None;
        }
        let left = |outcome: &Option<Outcome>| *outcome != Some(Outcome::NotDelivered);
        Some(u32::from(outcomes.iter().any(left)))
    }

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
            let driven = self.node.lease(|lease| {
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
                        taken
                    });
                    submitted = true;
                    if let Err(error) = taken {
                        ended = Some(Err(fate::of_call(&error)));
                        return;
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

    /// Begins a bulk transfer: a write of `source`, or a read.
    pub(super) fn bulk(
        &mut self,
        handle: u32,
        asked: Asked,
        source: Option<&[u8]>,
    ) -> Result<(), Fate> {
        let known = (self.table.known(&self.node, handle)).ok_or_else(fate::stale)?;
        let remote = Arc::clone(&known.remote);
        if known.far == 0 && nearby::is_mapped(&remote) {
            match source {
                None => {
                    // Refused now when it cannot be done, read when it is taken.
                    if let Some(answer) = nearby::bulk_may_read(&remote, asked.offset, asked.length)
                    {
                        answer?;
                        self.table.bulk.nearby_read(remote, asked);
                        return Ok(());
                    }
                }
                Some(source) => {
                    if let Some(answer) = nearby::bulk_write(&remote, asked.offset, source) {
                        answer?;
                        self.table.bulk.nearby_written(&asked);
                        return Ok(());
                    }
                }
            }
        }
        let Self {
            node, queue, table, ..
        } = self;
        table.bulk.begin(node, *queue, &remote, asked, source)
    }

    /// Moves the bytes of a bulk read that is through into `target`.
    pub(super) fn take(&mut self, id: u32, target: &mut [u8]) -> Result<usize, Fate> {
        self.table.bulk.take(id, target)
    }

    /// The thread leaves: what it waits for is given up, so that its completion queue can be another's.
    pub(crate) fn leave(mut self) {
        let Self {
            node, queue, table, ..
        } = &mut self;
        table.bulk.cancel_all(node);
        let entries = table.pending.filter(|_| true);
        node.with(|app, io| {
            app.arrivals.forget_sleeper(*queue);
            for entry in &entries {
                app.memory.cancel(io, RemoteId(entry.remote), entry.number);
            }
            for queue in [*queue, *queue + 1] {
                app.memory.drain(queue, |_| true);
            }
        });
        node.queues.give_back(*queue);
    }
}
