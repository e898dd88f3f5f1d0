//! Bulk transfers of one thread: bytes that do not fit into the page, in buffers of our own.
//!
//! A caller's buffer is copied before a write begins and filled after a read has ended, both on its own thread: nothing that
//! JavaScript can change or detach is ever under a transfer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use linkmesh_memory::bulk::{MAX_TRANSFER_BYTES, Options};
use linkmesh_memory::client::Success;
use linkmesh_memory::endpoint::{DrainedResult, RemoteId, Transfer};
use linkmesh_memory::region::{Access, Pages, PagesOptions, Region, SharedRegion};

use crate::memory::deadline::deadline;
use crate::memory::fate;
use crate::memory::page::{Completion, Completions, Fate, Name};
use crate::memory::remotes::Remote;
use crate::transport::Node;

/// Marks tokens of transfers beside those of operations.
pub(super) const TRANSFER: u32 = 1 << 31;
/// Bytes of buffers that one thread may have under way.
const MAX_BYTES: u64 = 256 << 20;

/// Numbers transfers in the whole process: one that outlives its thread is never taken for another's.
static NEXT: AtomicU32 = AtomicU32::new(0);

type Buffer = Arc<SharedRegion<Pages>>;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) id: u32,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) timeout_ms: f64,
}

#[derive(Debug)]
enum State {
    /// The endpoint's number for it, to cancel it by.
    Running { number: u64, buffer: Buffer },
    /// Given up: its end is of no interest, but it is not there yet.
    Abandoned,
    /// A read is through, its bytes wait to be taken.
    Ready(Buffer),
    /// Memory of this host: the bytes are copied when they are taken.
    Nearby,
}

#[derive(Debug)]
struct Entry {
    asked: Asked,
    token: u32,
    remote: Arc<Remote>,
    is_write: bool,
    state: State,
}

#[derive(Debug, Default)]
pub(super) struct Bulk {
    entries: Vec<Entry>,
    /// Completions of transfers that needed no engine.
    ready: VecDeque<(Completion, usize)>,
    bytes: u64,
    /// The last buffer: fresh pages cost as much as what goes through them.
    spare: Option<Buffer>,
}

impl Bulk {
    /// True while a completion may come.
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty() || self.is_running()
    }

    /// True while the engine is at work.
    pub(super) fn is_running(&self) -> bool {
        (self.entries.iter())
            .any(|entry| matches!(entry.state, State::Running { .. } | State::Abandoned))
    }

    /// True while a transfer of this region runs: a fence waits for it.
    pub(super) fn is_running_on(&self, remote: u32) -> bool {
        self.entries.iter().any(|entry| {
            entry.remote.id.0 == remote && matches!(entry.state, State::Running { .. })
        })
    }

    fn buffer(&mut self, length: u64) -> Result<Buffer, Fate> {
        if length == 0 || length > MAX_TRANSFER_BYTES {
            return Err(fate::too_long(length, MAX_TRANSFER_BYTES));
        }
        if self.bytes + length > MAX_BYTES {
            return Err(fate::saturated(MAX_BYTES));
        }
        if let Some(spare) = self.spare.take()
            && spare.len() >= length
            && Arc::strong_count(&spare) == 1
        {
            return Ok(spare);
        }
        let options = PagesOptions {
            length,
            capacity: length,
            huge: true,
        };
        // The epoch is for grants; nobody is granted this.
        match Pages::new(options) {
            Ok(pages) => Ok(Arc::new(SharedRegion::new(pages, 0))),
            Err(_) => Err(fate::saturated(MAX_BYTES)),
        }
    }

    fn recycle(&mut self, buffer: Buffer) {
        let longer = |spare: &Buffer| spare.len() >= buffer.len();
        if !self.spare.as_ref().is_some_and(longer) {
            self.spare = Some(buffer);
        }
    }

    /// Memory of this host: the next flush says that it is done.
    pub(super) fn nearby_read(&mut self, remote: Arc<Remote>, asked: Asked) {
        self.done_nearby(&asked, fate::BULK, asked.length as usize);
        self.entries.push(Entry {
            asked,
            token: 0,
            remote,
            is_write: false,
            state: State::Nearby,
        });
    }

    pub(super) fn nearby_written(&mut self, asked: &Asked) {
        self.done_nearby(asked, 0, 0);
    }

    fn done_nearby(&mut self, asked: &Asked, flags: u32, length: usize) {
        let mut completion = Completion {
            name: name(asked.id),
            ..Completion::default()
        };
        completion.fate.flags = flags;
        self.ready.push_back((completion, length));
    }

    /// Begins a transfer; `source` is what to write, copied before this returns.
    pub(super) fn begin(
        &mut self,
        node: &Node,
        queue: u32,
        remote: &Arc<Remote>,
        asked: Asked,
        source: Option<&[u8]>,
    ) -> Result<(), Fate> {
        let buffer = self.buffer(asked.length)?;
        if let Some(source) = source {
            buffer.write(0, source).map_err(fate::of_access)?;
        }
        let mut memory = Access::whole(Arc::<SharedRegion<Pages>>::clone(&buffer));
        memory.length = asked.length;
        let token = TRANSFER | NEXT.fetch_add(1, Ordering::Relaxed);
        let started = node.with(|app, io| {
            let transfer = Transfer {
                remote: remote.id,
                offset: asked.offset,
                memory,
                is_write: source.is_some(),
                // As far as the region's owner lets it.
                options: Options {
                    compress: true,
                    ..Options::default()
                },
                deadline: deadline(io.now(), asked.timeout_ms),
                token: u64::from(queue) << 32 | u64::from(token),
            };
            app.memory.transfer(io, transfer)
        });
        let number = match started {
            None => return Err(fate::closed()),
            Some(Err(error)) => {
                self.recycle(buffer);
                return Err(fate::of_call(&error));
            }
            Some(Ok(number)) => number,
        };
        self.bytes += asked.length;
        self.entries.push(Entry {
            asked,
            token,
            remote: Arc::clone(remote),
            is_write: source.is_some(),
            state: State::Running { number, buffer },
        });
        Ok(())
    }

    /// Completions of transfers that needed no engine.
    pub(super) fn flush(&mut self, completions: &mut Completions<'_>) {
        while let Some((completion, length)) = self.ready.front()
            && completions.fits(0)
        {
            completions.push_without_body(completion, *length);
            self.ready.pop_front();
        }
    }

    /// Something has happened to the transfer of this token. False when there is no room to say so.
    pub(super) fn arrived(
        &mut self,
        token: u32,
        result: &DrainedResult<'_>,
        completions: &mut Completions<'_>,
    ) -> bool {
        let Some(at) = self.entries.iter().position(|entry| entry.token == token) else {
            return true;
        };
        if !completions.fits(0) {
            return false;
        }
        let mut completion = Completion {
            name: name(self.entries[at].asked.id),
            ..Completion::default()
        };
        let is_abandoned = matches!(self.entries[at].state, State::Abandoned);
        if let DrainedResult::Progress { moved, .. } = result {
            if !is_abandoned {
                completion.value = *moved;
                completion.fate.flags = fate::PROGRESS;
                completions.push_without_body(&completion, 0);
            }
            return true;
        }
        let entry = &mut self.entries[at];
        let length = entry.asked.length;
        let is_write = entry.is_write;
        let ended = std::mem::replace(&mut entry.state, State::Abandoned);
        match result {
            DrainedResult::Success(Success::Done) if !is_write && !is_abandoned => {
                completion.fate.flags = fate::BULK;
                if let State::Running { buffer, .. } = ended {
                    entry.state = State::Ready(buffer);
                }
                completions.push_without_body(&completion, length as usize);
                return true;
            }
            DrainedResult::TransferFailed(error) => {
                completion.fate = fate::of_transfer(error, is_write);
            }
            _ => {}
        }
        self.entries.swap_remove(at);
        self.bytes -= length;
        if let State::Running { buffer, .. } = ended {
            self.recycle(buffer);
        }
        if !is_abandoned {
            completions.push_without_body(&completion, 0);
        }
        true
    }

    /// Moves the bytes of a read that is through into `target`, once.
    pub(super) fn take(&mut self, id: u32, target: &mut [u8]) -> Result<usize, Fate> {
        let waits = |entry: &Entry| {
            entry.asked.id == id && matches!(entry.state, State::Ready(_) | State::Nearby)
        };
        let at = self.entries.iter().position(waits).ok_or(fate::stale())?;
        let length = self.entries[at].asked.length as usize;
        let Some(target) = target.get_mut(..length) else {
            return Err(fate::too_long(length as u64, target.len() as u64));
        };
        let entry = self.entries.swap_remove(at);
        if let State::Ready(buffer) = entry.state {
            let result = buffer.read(0, target).map_err(fate::of_access);
            self.bytes -= length as u64;
            self.recycle(buffer);
            return result.map(|()| length);
        }
        match super::nearby::bulk_read(&entry.remote, entry.asked.offset, target) {
            Some(result) => result.map(|()| length),
            // It was there when it was asked for.
            None => Err(fate::of_access(
                linkmesh_memory::region::AccessError::Revoked,
            )),
        }
    }

    /// Gives a transfer up. `None`: there is none of this id. Else whether it may have begun at the other side.
    pub(super) fn cancel(&mut self, node: &Node, id: u32) -> Option<bool> {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.asked.id == id && !matches!(entry.state, State::Abandoned))?;
        self.abandon(node, at);
        Some(true)
    }

    fn abandon(&mut self, node: &Node, at: usize) {
        let entry = &mut self.entries[at];
        let remote: RemoteId = entry.remote.id;
        match std::mem::replace(&mut entry.state, State::Abandoned) {
            State::Running { number, buffer } => {
                // Its end is still to come: what the transfer holds of the buffer goes then.
                drop(buffer);
                node.with(|app, io| app.memory.cancel_transfer(io, remote, number));
            }
            State::Abandoned => {}
            State::Ready(_) => {
                let entry = self.entries.swap_remove(at);
                self.bytes -= entry.asked.length;
            }
            State::Nearby => {
                self.entries.swap_remove(at);
            }
        }
    }

    /// The thread ends.
    pub(super) fn cancel_all(&mut self, node: &Node) {
        for at in (0..self.entries.len()).rev() {
            self.abandon(node, at);
        }
    }
}

fn name(id: u32) -> Name {
    Name { id, index: 0 }
}
