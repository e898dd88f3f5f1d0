//! One session with one exporting node.

use std::{collections::VecDeque, time::Instant};

use super::{
    Completion, Completions, ImportError, OperationError, OperationFailure, Outcome, SubmitError,
    check::check_operation,
    imports::{Imports, Standing},
    pending::{Pending, Stage},
};
use crate::{
    frame::{Attach, Control, FrameBuffer, Imported, MAX_GRANT, Operation},
    outgoing::Outgoing,
};

/// Limits of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Lanes per connection. An operation goes on lane `handle % lanes`, so those of one region are in order.
    pub lanes: usize,
    /// Operations that may wait, sent or not.
    pub pending: usize,
    /// Bytes that may be on their way, requests and replies together. One operation may always be.
    pub bytes_in_flight: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            lanes: 4,
            pending: 16_384,
            bytes_in_flight: 1024 * 1024,
        }
    }
}

/// An operation as it is handed in.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// Which import; anything for a fence that stands alone.
    pub handle: u16,
    /// What to do. The bytes of a write are copied at once.
    pub operation: Operation<'a>,
    /// Wait, at the server, until every earlier operation of this client was executed.
    pub fence: bool,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// Comes back with the completion.
    pub token: u64,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) input: FrameBuffer,
    pub(super) output: Outgoing,
    /// The last `ACK_BELOW` that this lane carried.
    pub(super) told: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Detached,
    /// ATTACH was sent.
    Attaching,
    Attached,
    Closed,
}

/// A sans-IO client of one node's regions.
///
/// Bytes that come go into [`receive`](Self::receive) and [`receive_control`](Self::receive_control); bytes to send are in
/// [`output`](Self::output) and [`control_output`](Self::control_output) after [`flush`](Self::flush).
///
/// # Memory
/// Nothing but a few empty vectors while idle; 104 bytes per waiting operation and the bytes of waiting writes, within
/// [`ClientOptions`].
#[derive(Debug)]
pub struct Client {
    pub(super) session: u128,
    pub(super) options: ClientOptions,
    pub(super) link: Link,
    /// Connections so far.
    attempt: u64,
    /// Process and making of the session that was last attached to.
    pub(super) incarnation: Option<(u128, u64)>,
    pub(super) control_input: FrameBuffer,
    pub(super) control: Outgoing,
    pub(super) lanes: Box<[Lane]>,
    pub(super) imports: Imports,
    /// Sequence of the first of `pending`. Everything below is over.
    pub(super) base: u64,
    /// Next sequence to be sent on this connection.
    pub(super) next_sent: u64,
    pub(super) pending: VecDeque<Pending>,
    pub(super) in_flight: u64,
    /// Emptied buffers of writes, for the next ones.
    pub(super) spare: Vec<Vec<u8>>,
    /// No deadline lies before this.
    next_deadline: Option<Instant>,
}

const SPARE: usize = 64;
const SPARE_BYTES: usize = 8 * 1024;

impl Client {
    /// A client whose session has the random number `session`. Nothing happens before [`connected`](Self::connected).
    pub fn new(session: u128, options: ClientOptions) -> Self {
        Self {
            session,
            options,
            link: Link::Detached,
            attempt: 0,
            incarnation: None,
            control_input: FrameBuffer::default(),
            control: Outgoing::default(),
            lanes: (0..options.lanes.max(1)).map(|_| Lane::default()).collect(),
            imports: Imports::default(),
            base: 0,
            next_sent: 0,
            pending: VecDeque::new(),
            in_flight: 0,
            spare: Vec::new(),
            next_deadline: None,
        }
    }

    /// Operations that wait, sent or not, those whose callers gave up included.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// True while operations can be sent: a connection is there and the server has answered for the session and its grants.
    pub fn is_ready(&self) -> bool {
        self.link == Link::Attached && self.imports.waiting == 0
    }

    /// Process and making of the session that was attached to last.
    pub(crate) fn incarnation(&self) -> Option<(u128, u64)> {
        self.incarnation
    }

    /// What the grant under this number allows, if it stands.
    pub(crate) fn allows(&self, handle: u16) -> Option<Imported> {
        let import = self.imports.get(handle)?;
        match import.standing {
            Standing::Refused(_) => None,
            _ => import.allows,
        }
    }

    /// Presents a grant. The answer comes to [`Completions::imported`]; until then operations on the handle are refused.
    ///
    /// # Errors
    /// [`ImportError`] for what this side knows already.
    pub fn import(&mut self, grant: &[u8], token: u64) -> Result<u16, ImportError> {
        if self.link == Link::Closed {
            return Err(ImportError::Closed);
        }
        if grant.is_empty() || grant.len() > MAX_GRANT {
            return Err(ImportError::TooLong {
                length: grant.len(),
                limit: MAX_GRANT,
            });
        }
        let pending = &self.pending;
        let handle = self.imports.insert(grant, token, |handle| {
            pending.iter().any(|one| one.handle == handle)
        })?;
        if self.link == Link::Attached {
            Control::Import { handle, grant }.encode(self.control.tail());
        }
        Ok(handle)
    }

    /// Lets a grant go. Operations on it that were not sent fail; those on their way may be refused by the server. An import
    /// that was not answered yet is never heard of again.
    pub fn release(&mut self, handle: u16, completions: &mut impl Completions) {
        if self.imports.get(handle).is_none() {
            return;
        }
        self.fail_where(completions, OperationFailure::Released, |pending| {
            pending.handle == handle && pending.stage == Stage::Queued
        });
        if self.imports.release(handle, self.link == Link::Attached) {
            Control::Release { handle }.encode(self.control.tail());
        }
    }

    /// Takes an operation; it leaves with the next [`flush`](Self::flush). Returns its sequence, to cancel it by.
    ///
    /// # Errors
    /// [`SubmitError`]: it was not taken.
    pub fn submit(
        &mut self,
        submission: &Submission<'_>,
        now: Instant,
    ) -> Result<u64, SubmitError> {
        if self.link == Link::Closed {
            return Err(SubmitError::Closed);
        }
        self.check(submission.handle, &submission.operation)?;
        if submission.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(SubmitError::DeadlinePast);
        }
        if self.pending.len() >= self.options.pending {
            return Err(SubmitError::Full {
                limit: self.options.pending,
            });
        }
        let data = match submission.operation {
            Operation::Write { .. } => self.spare.pop().unwrap_or_default(),
            _ => Vec::new(),
        };
        let mut pending = Pending::new(&submission.operation, data);
        pending.fence = submission.fence;
        pending.handle = submission.handle;
        pending.token = submission.token;
        pending.deadline = submission.deadline;
        if let Some(deadline) = submission.deadline {
            self.next_deadline = Some(
                self.next_deadline
                    .map_or(deadline, |next| next.min(deadline)),
            );
        }
        self.pending.push_back(pending);
        Ok(self.base + self.pending.len() as u64 - 1)
    }

    /// What this side can know to be wrong.
    #[inline]
    fn check(&self, handle: u16, operation: &Operation<'_>) -> Result<(), SubmitError> {
        if *operation == Operation::Nop {
            return Ok(());
        }
        let import = self.imports.get(handle).ok_or(SubmitError::UnknownHandle)?;
        if matches!(import.standing, Standing::Refused(_)) {
            return Err(SubmitError::UnknownHandle);
        }
        let allows = import.allows.as_ref().ok_or(SubmitError::UnknownHandle)?;
        check_operation(allows, operation)
    }

    /// Stops waiting for an operation. What is known of its effect; `None` if it is over already.
    ///
    /// If it was not sent, it never will be. If it was, it may still happen: the error then says `Unknown` for a mutation.
    pub fn cancel(&mut self, id: u64, completions: &mut impl Completions) -> Option<Outcome> {
        let index = id.checked_sub(self.base)? as usize;
        let pending = self.pending.get(index)?;
        if !matches!(pending.stage, Stage::Queued | Stage::Sent) {
            return None;
        }
        let outcome = pending.outcome_unanswered();
        self.fail(index, OperationFailure::Cancelled, completions);
        self.pop_done();
        Some(outcome)
    }

    /// When [`expire`](Self::expire) may have something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Fails the operations whose deadline has come.
    pub fn expire(&mut self, now: Instant, completions: &mut impl Completions) {
        if self.next_deadline.is_none_or(|at| now < at) {
            return;
        }
        self.fail_where(completions, OperationFailure::DeadlineExceeded, |pending| {
            pending.deadline.is_some_and(|deadline| deadline <= now)
        });
        let waiting = self
            .pending
            .iter()
            .filter(|pending| matches!(pending.stage, Stage::Queued | Stage::Sent));
        self.next_deadline = waiting.filter_map(|pending| pending.deadline).min();
    }

    /// A connection is there: says ATTACH on its control stream. Lanes begin empty.
    pub fn connected(&mut self) {
        if self.link == Link::Closed {
            return;
        }
        self.disconnected();
        self.link = Link::Attaching;
        self.attempt += 1;
        let attach = Attach {
            session: self.session,
            ack_below: self.base,
            attempt: self.attempt,
        };
        Control::Attach(attach).encode(self.control.tail());
    }

    /// The connection is gone. What was not answered waits for the next one, or for its deadline.
    pub fn disconnected(&mut self) {
        if self.link == Link::Closed {
            return;
        }
        self.link = Link::Detached;
        self.imports.detach();
        self.control.clear();
        self.control_input.clear();
        for lane in &mut self.lanes {
            lane.input.clear();
            lane.output.clear();
            lane.told = self.base;
        }
        // Nobody waits for these any more, and nothing will bring their answers.
        for pending in &mut self.pending {
            if pending.stage == Stage::Abandoned {
                pending.stage = Stage::Done;
            }
        }
        self.in_flight = 0;
        self.next_sent = self.base;
        self.pop_done();
    }

    /// Ends the session for good: everything that waits fails. The END message may be left in the control output.
    pub fn close(&mut self, completions: &mut impl Completions) {
        if self.link == Link::Closed {
            return;
        }
        self.fail_where(completions, OperationFailure::Closed, |_| true);
        for (handle, import) in self.imports.drain() {
            if import.allows.is_none() && !import.released {
                completions.imported(handle, import.token, Err(ImportError::Closed));
            }
        }
        if self.link == Link::Attached {
            Control::End.encode(self.control.tail());
        }
        self.link = Link::Closed;
        self.pending = VecDeque::new();
        self.next_deadline = None;
    }

    /// Control messages to send.
    pub fn control_output(&mut self) -> &mut Outgoing {
        &mut self.control
    }

    /// Operations to send on `lane`.
    pub fn output(&mut self, lane: usize) -> &mut Outgoing {
        &mut self.lanes[lane].output
    }

    /// Lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn fail_where(
        &mut self,
        completions: &mut impl Completions,
        failure: OperationFailure,
        which: impl Fn(&Pending) -> bool,
    ) {
        for index in 0..self.pending.len() {
            let pending = &self.pending[index];
            if matches!(pending.stage, Stage::Queued | Stage::Sent) && which(pending) {
                self.fail(index, failure, completions);
            }
        }
        self.pop_done();
    }

    /// Tells the caller of an operation that it failed here.
    fn fail(
        &mut self,
        index: usize,
        failure: OperationFailure,
        completions: &mut impl Completions,
    ) {
        let id = self.base + index as u64;
        let pending = &mut self.pending[index];
        let error = OperationError {
            failure,
            outcome: pending.outcome_unanswered(),
        };
        pending.stage = if pending.stage == Stage::Sent && id < self.next_sent {
            Stage::Abandoned
        } else {
            Stage::Done
        };
        completions.completed(Completion {
            id,
            token: pending.token,
            result: Err(error),
        });
    }

    /// Lets go of what is over at the front, so that the server may forget it.
    pub(super) fn pop_done(&mut self) {
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.stage == Stage::Done)
        {
            let Some(mut pending) = self.pending.pop_front() else {
                break;
            };
            self.base += 1;
            let capacity = pending.data.capacity();
            if capacity > 0 && capacity <= SPARE_BYTES && self.spare.len() < SPARE {
                pending.data.clear();
                self.spare.push(pending.data);
            }
        }
        self.next_sent = self.next_sent.max(self.base);
    }

    /// What is said of an operation that was sent when the server knows nothing of it.
    pub(super) fn lose(&mut self, completions: &mut impl Completions) {
        self.fail_where(completions, OperationFailure::SessionLost, |pending| {
            pending.outcome_unanswered() == Outcome::Unknown
        });
    }
}
