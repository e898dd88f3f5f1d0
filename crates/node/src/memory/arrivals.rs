//! What arrives on the engine for threads that do not look: imports, and completions for threads that sleep.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use linkmesh_memory::client::{ImportError, OperationError};
use linkmesh_memory::endpoint::{
    CallError, DrainedResult, Endpoint, RemoteId, Replicate, ReplicateError,
};
use linkmesh_memory::frame::Imported;
use linkmesh_transport::core::{Io, NodeId};

use crate::memory::remotes::Granted;
use crate::peer::Peer;

/// The completion queue of imports; those of threads follow.
const IMPORTS: u32 = 0;

type Answer = Result<(RemoteId, Imported), ImportError>;
type Told = Result<Granted, ImportError>;

/// Who waits for what.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    next: u32,
    imports: HashMap<u64, Sender<Told>>,
    /// Replicated regions that have not formed yet.
    forming: HashMap<u64, Sender<Result<(), OperationError>>>,
    /// Threads that sleep, with their queues.
    sleepers: Vec<(u32, Arc<Peer>)>,
}

impl Arrivals {
    /// Presents a grant, to the members if it is one for a replicated region. Answers its number; `tell` hears what became of it.
    pub(super) fn import(
        &mut self,
        memory: &mut Endpoint,
        io: &mut Io<'_>,
        grant: &[u8],
        members: Option<&[NodeId]>,
        tell: Sender<Told>,
    ) -> Result<u64, CallError> {
        let token = self.token();
        match members {
            None => memory.import(io, grant, token)?,
            Some(members) => memory.import_replicated(io, grant, members, token)?,
        }
        self.imports.insert(token, tell);
        Ok(token)
    }

    fn token(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        u64::from(IMPORTS) << 32 | u64::from(self.next)
    }

    /// Makes a replicated region; `tell` hears whether it has formed.
    pub(super) fn replicate(
        &mut self,
        memory: &mut Endpoint,
        io: &mut Io<'_>,
        request: Replicate<'_>,
        tell: Sender<Result<(), OperationError>>,
    ) -> Result<(), ReplicateError> {
        let token = self.token();
        memory.replicate(io, Replicate { token, ..request })?;
        self.forming.insert(token, tell);
        Ok(())
    }

    /// Nobody waits for this import any more. False when it was answered already.
    pub(super) fn forget_import(&mut self, token: u64) -> bool {
        self.imports.remove(&token).is_some()
    }

    /// A thread will sleep, its bell is armed. False when something has completed for it: then it should not.
    pub(super) fn sleep(&mut self, memory: &Endpoint, queue: u32, peer: &Arc<Peer>) -> bool {
        if memory.has_completed(queue) {
            return false;
        }
        if !self.sleepers.iter().any(|(other, _)| *other == queue) {
            self.sleepers.push((queue, Arc::clone(peer)));
        }
        true
    }

    /// A thread is gone.
    pub(super) fn forget_sleeper(&mut self, queue: u32) {
        self.sleepers.retain(|(other, _)| *other != queue);
    }

    /// True when [`deliver`](Self::deliver) has something to do.
    #[inline]
    pub(crate) fn is_due(&self, memory: &Endpoint) -> bool {
        memory.has_completed(IMPORTS)
            || (self.sleepers.iter()).any(|(queue, _)| memory.has_completed(*queue))
    }

    /// Tells those who wait. Called after whatever may have completed something.
    #[inline]
    pub(crate) fn deliver(&mut self, memory: &mut Endpoint, io: &mut Io<'_>) {
        if memory.has_completed(IMPORTS) {
            self.imported(memory, io);
        }
        if !self.sleepers.is_empty() {
            self.sleepers.retain(|(queue, peer)| {
                let due = memory.has_completed(*queue);
                if due {
                    peer.ring();
                }
                !due
            });
        }
    }

    #[cold]
    fn imported(&mut self, memory: &mut Endpoint, io: &mut Io<'_>) {
        let mut answers: Vec<(u64, Answer)> = Vec::new();
        let mut formed = Vec::new();
        memory.drain(IMPORTS, |drained| {
            match drained.result {
                DrainedResult::Imported(id, imported) => {
                    answers.push((drained.token, Ok((id, imported))));
                }
                DrainedResult::ImportFailed(error) => answers.push((drained.token, Err(error))),
                DrainedResult::Success(_) => formed.push((drained.token, Ok(()))),
                DrainedResult::Failed(error) => formed.push((drained.token, Err(error))),
                // That a grant is dead is what its next operation says.
                _ => {}
            }
            true
        });
        for (token, result) in formed {
            if let Some(tell) = self.forming.remove(&token) {
                // Whoever waited may have ended with its thread.
                let _ = tell.send(result);
            }
        }
        for (token, answer) in answers {
            let told = answer.map(|(id, imported)| Granted {
                id,
                imported,
                #[cfg(target_os = "linux")]
                import: memory.mapped(id),
            });
            let imported = told.as_ref().ok().map(|granted| granted.id);
            let heard = (self.imports.remove(&token)).is_some_and(|tell| tell.send(told).is_ok());
            if let (false, Some(id)) = (heard, imported) {
                memory.release(io, id);
            }
        }
    }
}
