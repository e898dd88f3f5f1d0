//! Operations of one JavaScript thread: what it wrote into its page is done, and what completed is written there.
//!
//! Memory of this host is worked on at once. Everything else is handed to the engine, which the thread drives itself for some
//! microseconds: a hot peer answers within them, and no thread is woken on either side.
//!
//! # Order
//! Operations of a thread on one remote region are done in the order of their records. While one of them is on its way by the
//! engine, later ones on the same region follow it there, even when the memory has been mapped meanwhile.

use std::sync::Arc;
use std::time::Duration;

use linkmesh_memory::client::Outcome;
use linkmesh_memory::endpoint::RemoteId;
use linkmesh_transport::engine::Lease;

use crate::memory::bulk::Asked;
use crate::memory::page::{Completions, Fate, Page, Parts};
use crate::memory::pending::Entry;
use crate::memory::table::{Table, refuse};
use crate::memory::{fate, nearby};
use crate::peer::Peer;
use crate::transport::{Node, NodeApp};

/// Longest that a flush drives the engine.
const MAX_SPIN: Duration = Duration::from_millis(1);
/// Packets, or trains of them, that one look takes at most: about 100 µs of work.
const TURNS: usize = 16;

/// One per thread and mesh that uses remote memory.
#[derive(Debug)]
pub(crate) struct Operations {
    pub(super) node: Arc<Node>,
    pub(super) page: Arc<Page>,
    /// The completion queue of what is awaited. The one after it is for synchronous calls.
    pub(super) queue: u32,
    pub(super) table: Table,
    /// The engine thread that the latest operations' answers come to.
    pub(super) shard: u8,
    /// Numbers synchronous calls.
    pub(super) sync_calls: u32,
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
            shard: 0,
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
            shard,
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
        let submit = |lease: &mut Lease<'_, NodeApp>, table: &mut Table, completions: &mut _| {
            lease.with(|app, io| {
                let now = io.now();
                let far = std::mem::take(&mut table.far);
                let mut latest = None;
                for index in &far {
                    if let Ok(submission) = submissions.get(usize::from(*index)) {
                        table.submit(app, now, queue, &submission, completions);
                        latest = Some(RemoteId(submission.remote));
                    }
                }
                table.far = far;
                app.memory.flush(io);
                if node.is_sharded() {
                    let peer = latest.and_then(|remote| app.memory.peer_of(remote));
                    peer.map(|peer| io.shard(peer))
                } else {
                    None
                }
            })
        };
        let drive = |lease: &mut Lease<'_, NodeApp>,
                     table: &mut Table,
                     completions: &mut Completions<'_>| {
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
            table.take(&mut lease.application(), queue, completions);
            if !table.fences.is_empty() {
                lease.with(|app, io| table.release_fences(node, app, io, queue, completions));
            }
        };
        let elsewhere = node.lease(*shard, |lease| {
            if !table.far.is_empty()
                && let Some(peers) = submit(lease, table, completions)
                && std::mem::replace(shard, peers) != peers
            {
                return true;
            }
            drive(lease, table, completions);
            false
        })?;
        if elsewhere {
            // The answers come to another engine thread: this one waits in its place.
            node.lease(*shard, |lease| drive(lease, table, completions))?;
        }
        Some(completions.count)
    }

    /// A remote region was closed.
    pub(super) fn forget(&mut self, handle: u32) {
        self.table.forget(handle);
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
