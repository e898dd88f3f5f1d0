//! The importing side of a replicated region: one session, whoever leads.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    Answer, Ask, Epoch, Failure, FailureCause, MAX_OUTSTANDING, Message, Mutation, Operation,
    Refusal, Success, waiting::Waiting,
};
use crate::client::Outcome;

/// Limits of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Operations that may wait, sent or not.
    pub pending: usize,
    /// Bytes that may be on their way; one operation may always be.
    pub bytes_in_flight: usize,
    /// After this long without any answer, what waits is sent again; after twice this, to the next member.
    pub retry: Duration,
    /// How often an idle client shows that it is there; less than the group's lease.
    pub keep_alive: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            pending: 4096,
            bytes_in_flight: 1024 * 1024,
            retry: Duration::from_millis(100),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// As it was submitted.
    pub token: u64,
    /// How.
    pub result: Result<Success, Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Opening,
    Open,
    Over(FailureCause),
}

/// A sans-IO client of one replicated region.
///
/// Messages for members go into the `out` of each call; a copy of a message must arrive at most once. What ended is in
/// [`completions`](Self::completions).
#[derive(Debug)]
pub struct Client {
    session: u128,
    members: u8,
    options: ClientOptions,
    standing: Standing,
    /// Who leads, as far as we know.
    target: u8,
    /// The highest epoch that answered.
    epoch: Epoch,
    /// Not sent yet.
    queue: VecDeque<Waiting>,
    /// Sequence of the first of `mutations`; everything below is over.
    base: u64,
    /// Sent, in order, one sequence after another.
    mutations: VecDeque<Waiting>,
    reads: BTreeMap<u64, (u64, Waiting)>,
    next_read: u64,
    in_flight: usize,
    completions: Vec<Completion>,
    /// Something was answered since the last retry.
    has_heard: bool,
    /// The oldest mutation and the oldest read, at the last retry.
    oldest: (u64, Option<u64>),
    /// Retries without an answer, and hints that were followed since the last.
    silent: u32,
    hops: u32,
    next_retry: Option<Instant>,
    next_keep_alive: Instant,
}

/// Where a client sends what: member and message.
pub type ClientOutbox = Vec<(u8, Message)>;

impl Client {
    /// A client whose session has the random number `session`, of a group of `members`.
    pub fn new(session: u128, members: u8, options: ClientOptions, now: Instant) -> Self {
        Self {
            session,
            members: members.max(1),
            options,
            standing: Standing::Opening,
            target: 0,
            epoch: Epoch::NONE,
            queue: VecDeque::new(),
            base: 0,
            mutations: VecDeque::new(),
            reads: BTreeMap::new(),
            next_read: 0,
            in_flight: 0,
            completions: Vec::new(),
            has_heard: false,
            oldest: (0, None),
            silent: 0,
            hops: 0,
            next_retry: None,
            next_keep_alive: now,
        }
    }

    /// What ended since this was called last.
    pub fn completions(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.completions)
    }

    /// Operations whose callers wait.
    pub fn pending(&self) -> usize {
        let reads = self.reads.values().map(|(_, waiting)| waiting);
        let all = self.queue.iter().chain(&self.mutations).chain(reads);
        all.filter(|waiting| !waiting.is_over).count()
    }

    /// Takes an operation, whose range and alignment are right. Returns false, and takes nothing, if as many wait as may or the
    /// session is over.
    pub fn submit(
        &mut self,
        operation: Operation,
        deadline: Option<Instant>,
        token: u64,
        now: Instant,
        out: &mut ClientOutbox,
    ) -> bool {
        let waiting = self.queue.len() + self.mutations.len() + self.reads.len();
        if matches!(self.standing, Standing::Over(_)) || waiting >= self.options.pending {
            return false;
        }
        self.queue.push_back(Waiting {
            token,
            operation,
            deadline,
            sent: 0,
            refused: 0,
            refusal: None,
            is_over: false,
        });
        match self.standing {
            Standing::Opening if self.next_retry.is_none() => {
                self.next_retry = Some(now + self.options.retry);
                self.say(Ask::Open, out);
            }
            Standing::Open => self.send(now, out),
            Standing::Opening | Standing::Over(_) => {}
        }
        true
    }

    fn say(&self, ask: Ask, out: &mut ClientOutbox) {
        let message = Message::Request {
            session: self.session,
            ack_below: self.base,
            ask,
        };
        out.push((self.target, message));
    }

    /// Sends what is queued, in order, as far as it may be on its way.
    fn send(&mut self, now: Instant, out: &mut ClientOutbox) {
        while let Some(front) = self.queue.front() {
            let size = front.operation.size();
            let is_room =
                self.in_flight == 0 || self.in_flight + size <= self.options.bytes_in_flight;
            if !is_room || self.mutations.len().max(self.reads.len()) >= MAX_OUTSTANDING {
                break;
            }
            let Some(mut waiting) = self.queue.pop_front() else {
                break;
            };
            self.in_flight += size;
            waiting.sent = 1;
            let sequence = self.base + self.mutations.len() as u64;
            match &waiting.operation {
                Operation::Mutate(mutation) => {
                    let mutation = mutation.clone();
                    self.say(Ask::Mutate { sequence, mutation }, out);
                    self.mutations.push_back(waiting);
                }
                Operation::Read { offset, length } => {
                    let number = self.next_read;
                    self.next_read += 1;
                    let (offset, length) = (*offset, *length);
                    let ask = Ask::Read {
                        number,
                        after: sequence,
                        offset,
                        length,
                    };
                    self.say(ask, out);
                    self.reads.insert(number, (sequence, waiting));
                }
            }
            if self.next_retry.is_none() {
                self.next_retry = Some(now + self.options.retry);
            }
        }
    }

    fn send_again(&mut self, out: &mut ClientOutbox) {
        if self.standing == Standing::Opening {
            self.say(Ask::Open, out);
            return;
        }
        // In the order of submission, as the primary executes them.
        let reads: Vec<(u64, u64)> = self
            .reads
            .iter()
            .map(|(number, (after, _))| (*number, *after))
            .collect();
        let mut reads = reads.into_iter().peekable();
        for index in 0..=self.mutations.len() {
            let sequence = self.base + index as u64;
            while let Some((number, after)) = reads.next_if(|(_, after)| *after <= sequence) {
                if let Some((_, waiting)) = self.reads.get_mut(&number)
                    && let Operation::Read { offset, length } = waiting.operation
                {
                    waiting.sent += 1;
                    let ask = Ask::Read {
                        number,
                        after,
                        offset,
                        length,
                    };
                    self.say(ask, out);
                }
            }
            if let Some(waiting) = self.mutations.get_mut(index)
                && let Operation::Mutate(mutation) = &waiting.operation
            {
                let mutation = mutation.clone();
                waiting.sent += 1;
                self.say(Ask::Mutate { sequence, mutation }, out);
            }
        }
    }

    /// A member said something.
    pub fn receive(&mut self, from: u8, message: Message, now: Instant, out: &mut ClientOutbox) {
        match message {
            Message::Reply {
                session,
                epoch,
                answer,
            } if session == self.session => {
                // Whoever cannot reach its backups may be alone: then another leads.
                let is_alone = matches!(
                    answer,
                    Answer::Refused {
                        refusal: Refusal::Unavailable,
                        ..
                    }
                );
                self.has_heard |= !is_alone;
                if !is_alone {
                    self.silent = 0;
                }
                let is_old = epoch < self.epoch;
                if !is_old {
                    self.target = from;
                    self.epoch = epoch;
                }
                self.answered(answer, is_old, now);
                if self.standing == Standing::Open {
                    self.send(now, out);
                }
            }
            Message::NotPrimary {
                session,
                epoch,
                primary: Some(primary),
            } if session == self.session
                && primary < self.members
                // A hint, followed as often as there are members; then the next retry goes round.
                && from == self.target
                && epoch >= self.epoch
                && self.hops < u32::from(self.members) =>
            {
                self.hops += 1;
                self.target = primary;
                self.send_again(out);
            }
            _ => {}
        }
    }

    /// A question could not leave this node: no copy of it is on its way. The next retry goes to another member.
    pub fn not_sent(&mut self, ask: &Ask) {
        self.silent = self.silent.max(1);
        let waiting = match ask {
            Ask::Mutate { sequence, .. } => self.mutation(*sequence),
            Ask::Read { number, .. } => self.reads.get_mut(number).map(|(_, waiting)| waiting),
            Ask::Open | Ask::End => None,
        };
        if let Some(waiting) = waiting {
            waiting.sent = waiting.sent.saturating_sub(1);
        }
    }

    fn answered(&mut self, answer: Answer, is_old: bool, now: Instant) {
        match answer {
            Answer::Opened => {
                if self.standing == Standing::Opening {
                    self.standing = Standing::Open;
                }
                self.next_keep_alive = now + self.options.keep_alive;
            }
            Answer::Mutated { sequence, value } => {
                let Some(waiting) = self.mutation(sequence) else {
                    return;
                };
                let success = match &waiting.operation {
                    Operation::Mutate(Mutation::FetchAdd { .. } | Mutation::CompareSwap { .. }) => {
                        Success::Value(value)
                    }
                    _ => Success::Done,
                };
                // Whoever was told something else before is not told again.
                let token =
                    (!std::mem::replace(&mut waiting.is_over, true)).then_some(waiting.token);
                if let Some(token) = token {
                    let result = Ok(success);
                    self.completions.push(Completion { token, result });
                }
                self.pop_over();
            }
            Answer::Bytes { number, bytes } => {
                if let Some((_, waiting)) = self.reads.remove(&number) {
                    self.in_flight -= waiting.operation.size();
                    let (token, result) = (waiting.token, Ok(Success::Bytes(bytes)));
                    self.completions.push(Completion { token, result });
                }
            }
            Answer::Refused { which, refusal } => self.refused(which, refusal, is_old),
        }
    }

    fn mutation(&mut self, sequence: u64) -> Option<&mut Waiting> {
        let index = sequence.checked_sub(self.base)?;
        self.mutations.get_mut(usize::try_from(index).ok()?)
    }

    fn refused(&mut self, which: Option<(bool, u64)>, refusal: Refusal, is_old: bool) {
        let is_passing = refusal == Refusal::Unavailable;
        if refusal == Refusal::UnknownSession {
            // A primary that was replaced may never have heard of the session.
            if !is_old && self.standing == Standing::Open {
                self.count_refusal(which, refusal);
                self.end(FailureCause::SessionLost);
            }
            return;
        }
        let Some((is_read, number)) = which else {
            if !is_passing {
                self.end(FailureCause::Refused(refusal));
            } else if let Some(front) = self.queue.front_mut() {
                front.refusal = Some(refusal);
            }
            return;
        };
        self.count_refusal(which, refusal);
        if is_passing {
            return;
        }
        let cause = FailureCause::Refused(refusal);
        if is_read {
            if let Some((_, waiting)) = self.reads.remove(&number) {
                self.in_flight -= waiting.operation.size();
                self.completions.push(failed(&waiting, cause));
            }
        } else {
            self.give_up(number, cause);
        }
        self.pop_over();
    }

    fn count_refusal(&mut self, which: Option<(bool, u64)>, refusal: Refusal) {
        let waiting = match which {
            Some((true, number)) => self.reads.get_mut(&number).map(|(_, waiting)| waiting),
            Some((false, sequence)) => self.mutation(sequence),
            None => None,
        };
        if let Some(waiting) = waiting {
            waiting.refused += 1;
            waiting.refusal = Some(refusal);
        }
    }

    /// The caller of a mutation stops waiting. Its number stays taken: by the operation while a copy of it may be on its way, by
    /// nothing when every copy was refused.
    fn give_up(&mut self, sequence: u64, cause: FailureCause) {
        let Some(waiting) = self.mutation(sequence) else {
            return;
        };
        if waiting.is_over {
            return;
        }
        waiting.is_over = true;
        let completion = failed(waiting, cause);
        let mut freed = 0;
        if waiting.outcome() == Outcome::NotDelivered {
            freed = waiting.operation.size();
            waiting.operation = Operation::Mutate(Mutation::Nop);
        }
        self.in_flight -= freed;
        self.completions.push(completion);
    }

    /// Lets go of the oldest that are over: they are not asked for again.
    fn pop_over(&mut self) {
        while self.mutations.front().is_some_and(|front| front.is_over) {
            let Some(gone) = self.mutations.pop_front() else {
                break;
            };
            self.in_flight -= gone.operation.size();
            self.base += 1;
        }
    }

    /// Stops waiting for the operation with this token. Answers, as its completion does, whether it may have happened; `None`
    /// if it is over already.
    pub fn cancel(&mut self, token: u64) -> Option<Outcome> {
        let before = self.completions.len();
        self.fail_where(FailureCause::Cancelled, |waiting| waiting.token == token);
        match &self.completions.get(before)?.result {
            Ok(_) => None,
            Err(failure) => Some(failure.outcome),
        }
    }

    /// Why the session is over, if it is: nothing is taken any more then.
    pub const fn over(&self) -> Option<FailureCause> {
        match self.standing {
            Standing::Over(cause) => Some(cause),
            Standing::Opening | Standing::Open => None,
        }
    }

    /// Ends the session: everything that waits fails, and the group forgets the results.
    pub fn close(&mut self, out: &mut ClientOutbox) {
        if self.standing == Standing::Open {
            self.say(Ask::End, out);
        }
        self.end(FailureCause::Closed);
    }

    fn end(&mut self, cause: FailureCause) {
        self.fail_where(cause, |_| true);
        self.standing = Standing::Over(cause);
        self.next_retry = None;
    }

    fn fail_where(&mut self, cause: FailureCause, which: impl Fn(&Waiting) -> bool) {
        // A deadline that came because the group would not take it: then that is why.
        let cause = |waiting: &Waiting| match (cause, waiting.refusal) {
            (FailureCause::DeadlineExceeded, Some(refusal))
                if waiting.outcome() == Outcome::NotDelivered =>
            {
                FailureCause::Refused(refusal)
            }
            _ => cause,
        };
        for sequence in self.base..self.base + self.mutations.len() as u64 {
            if let Some(waiting) = self.mutation(sequence)
                && which(waiting)
            {
                let cause = cause(waiting);
                self.give_up(sequence, cause);
            }
        }
        let (completions, in_flight) = (&mut self.completions, &mut self.in_flight);
        self.reads.retain(|_, (_, waiting)| {
            let is_over = which(waiting);
            if is_over {
                *in_flight -= waiting.operation.size();
                completions.push(failed(waiting, cause(waiting)));
            }
            !is_over
        });
        self.queue.retain(|waiting| {
            let is_over = which(waiting);
            if is_over {
                completions.push(failed(waiting, cause(waiting)));
            }
            !is_over
        });
        self.pop_over();
    }

    /// When [`timeout`](Self::timeout) may have something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let reads = self.reads.values().map(|(_, waiting)| waiting);
        let all = self.queue.iter().chain(&self.mutations).chain(reads);
        let first = all
            .filter(|waiting| !waiting.is_over)
            .filter_map(|waiting| waiting.deadline)
            .min();
        let keep_alive = (self.standing == Standing::Open).then_some(self.next_keep_alive);
        [first, self.next_retry, keep_alive]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Instant, out: &mut ClientOutbox) {
        self.fail_where(FailureCause::DeadlineExceeded, |waiting| {
            waiting.deadline.is_some_and(|deadline| deadline <= now)
        });
        if matches!(self.standing, Standing::Over(_)) {
            return;
        }
        if self.standing == Standing::Open && now >= self.next_keep_alive {
            self.next_keep_alive = now + self.options.keep_alive;
            self.say(Ask::Open, out);
        }
        if self.next_retry.is_none_or(|at| now < at) {
            return;
        }
        let is_idle = self.mutations.is_empty() && self.reads.is_empty();
        if is_idle && (self.standing == Standing::Open || self.queue.is_empty()) {
            self.next_retry = None;
            return;
        }
        self.next_retry = Some(now + self.options.retry);
        self.hops = 0;
        if !std::mem::take(&mut self.has_heard) {
            self.silent += 1;
            if self.silent >= 2 {
                self.silent = 0;
                self.target = (self.target + 1) % self.members;
            }
        }
        let oldest = (self.base, self.reads.keys().next().copied());
        let is_moving = oldest != std::mem::replace(&mut self.oldest, oldest);
        if !is_moving || self.standing == Standing::Opening {
            self.send_again(out);
        }
    }
}

fn failed(waiting: &Waiting, cause: FailureCause) -> Completion {
    let outcome = waiting.outcome();
    let result = Err(Failure { cause, outcome });
    Completion {
        token: waiting.token,
        result,
    }
}
