//! The member that leads: it orders the changes, and answers once enough backups have them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;

use super::{
    Answer, Ask, Change, ClientId, Entry, Epoch, Message, Mutation, Outbox, Position, Refusal, To,
    follower::{Follower, Shared},
    member::Core,
    results::Place,
};

/// Changes that may wait for backups.
const MAX_UNACKNOWLEDGED: u64 = 4096;
/// Answers that may wait for backups.
const MAX_WAITING: usize = 16 * 1024;
/// Bytes of reads that may wait for backups.
const MAX_READ_BYTES: usize = 16 * 1024 * 1024;

/// An answer that holds as soon as the change at `index` is acknowledged.
#[derive(Debug)]
struct Waiting {
    index: u64,
    client: ClientId,
    session: u128,
    answer: Answer,
}

/// A read whose bytes hold as soon as the change at `index` is acknowledged, and backups have shown, by answering `round`, that
/// nobody else led when it was read.
#[derive(Debug)]
struct WaitingRead {
    round: u64,
    waiting: Waiting,
}

/// A client's request, as it came.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) client: ClientId,
    pub(super) holder: [u8; 32],
    pub(super) session: u128,
    pub(super) ack_below: u64,
}

#[derive(Debug)]
pub(super) struct Primary {
    epoch: Epoch,
    /// Where its own first change is, in the first epoch the one that forms the group. What was before is acknowledged
    /// together with that.
    lead: u64,
    followers: Vec<Follower>,
    /// Counts what was sent to all.
    round: u64,
    /// A read waits for a round that was not sent yet.
    needs_round: bool,
    acknowledged: u64,
    waiting: VecDeque<Waiting>,
    reads: VecDeque<WaitingRead>,
    read_bytes: usize,
    snapshot: Option<Shared>,
    /// When each session was heard of.
    heard: BTreeMap<u128, Instant>,
    pub(super) next_tick: Instant,
}

impl Primary {
    pub(super) fn begin(core: &mut Core, epoch: Epoch, now: Instant) -> Self {
        let followers = core.group.others(core.me).map(Follower::new).collect();
        let mut primary = Self {
            epoch,
            lead: core.state.position().index + 1,
            followers,
            round: 0,
            needs_round: true,
            acknowledged: 0,
            waiting: VecDeque::new(),
            reads: VecDeque::new(),
            read_bytes: 0,
            snapshot: None,
            heard: core
                .state
                .sessions()
                .map(|session| (session, now))
                .collect(),
            next_tick: now + core.timing.heartbeat,
        };
        primary.append(core, Change::Lead);
        primary.form(core);
        primary
    }

    /// Once every member has what the group began with it takes operations.
    fn form(&mut self, core: &mut Core) {
        let has_begun = |follower: &Follower| follower.matched >= self.lead;
        if !core.state.is_formed() && self.followers.iter().all(has_begun) {
            self.append(core, Change::Form);
            self.lead = core.state.position().index;
        }
    }

    /// True once enough members know that the group has formed: whoever leads later knows it, too.
    pub(super) const fn is_formed(&self) -> bool {
        self.acknowledged > 0
    }

    pub(super) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Backups that were heard of lately.
    pub(super) fn reachable(&self, core: &Core, now: Instant) -> usize {
        let recent = |follower: &&Follower| follower.is_heard_since(core.timing.patience, now);
        self.followers.iter().filter(recent).count()
    }

    fn append(&mut self, core: &mut Core, change: Change) {
        let entry = Entry {
            epoch: self.epoch,
            change,
        };
        core.state.apply(&entry);
        core.log.push(entry);
    }

    /// True if a change that is taken now can be hoped to be acknowledged.
    fn is_available(&self, core: &Core, now: Instant) -> bool {
        core.state.is_formed()
            && self.reachable(core, now) >= core.group.acknowledgements()
            && core.state.position().index - self.acknowledged < MAX_UNACKNOWLEDGED
            && self.waiting.len() < MAX_WAITING
    }

    pub(super) fn request(
        &mut self,
        core: &mut Core,
        request: &Request,
        ask: Ask,
        now: Instant,
        out: &mut Outbox,
    ) {
        if ask == Ask::Open {
            if let Err(refusal) = self.open(core, request, now) {
                self.refuse(request, None, refusal, out);
            }
            return;
        }
        let which = ask.which();
        let Some(session) = core.state.session(request.session) else {
            return self.refuse(request, which, Refusal::UnknownSession, out);
        };
        if session.holder != request.holder {
            return self.refuse(request, which, Refusal::Rights, out);
        }
        self.heard.insert(request.session, now);
        let result = match ask {
            Ask::Open => Ok(()),
            Ask::End => {
                self.end(core, request.session);
                Ok(())
            }
            Ask::Mutate { sequence, mutation } => {
                self.mutate(core, request, sequence, mutation, now)
            }
            Ask::Read {
                number,
                after,
                offset,
                length,
            } => self.read(
                core,
                request,
                (number, after),
                offset,
                u64::from(length),
                now,
            ),
        };
        if let Err(refusal) = result {
            self.refuse(request, which, refusal, out);
        }
    }

    fn refuse(
        &self,
        request: &Request,
        which: Option<(bool, u64)>,
        refusal: Refusal,
        out: &mut Outbox,
    ) {
        let answer = Answer::Refused { which, refusal };
        self.reply(request.client, request.session, answer, out);
    }

    fn reply(&self, client: ClientId, session: u128, answer: Answer, out: &mut Outbox) {
        let epoch = self.epoch;
        out.push((
            To::Client(client),
            Message::Reply {
                session,
                epoch,
                answer,
            },
        ));
    }

    fn open(&mut self, core: &mut Core, request: &Request, now: Instant) -> Result<(), Refusal> {
        if !self.is_available(core, now) {
            return Err(Refusal::Unavailable);
        }
        match core.state.session(request.session) {
            Some(session) if session.holder != request.holder => return Err(Refusal::Rights),
            Some(_) => {}
            None if core.state.is_full() => return Err(Refusal::Sessions),
            None => self.append(
                core,
                Change::Open {
                    session: request.session,
                    holder: request.holder,
                },
            ),
        }
        self.heard.insert(request.session, now);
        self.wait(core, request, Answer::Opened);
        Ok(())
    }

    fn end(&mut self, core: &mut Core, session: u128) {
        self.heard.remove(&session);
        self.append(core, Change::End { session });
    }

    fn wait(&mut self, core: &Core, request: &Request, answer: Answer) {
        self.waiting.push_back(Waiting {
            index: core.state.position().index,
            client: request.client,
            session: request.session,
            answer,
        });
    }

    fn mutate(
        &mut self,
        core: &mut Core,
        request: &Request,
        sequence: u64,
        mutation: Mutation,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(session) = core.state.session(request.session) else {
            return Err(Refusal::UnknownSession);
        };
        let value = match session.results.find_after(sequence, request.ack_below) {
            Place::Stale => return Err(Refusal::Stale),
            // What is missing was lost on the way, or comes later; so will this be, again.
            Place::Gap => return Ok(()),
            Place::Executed(_) if self.waiting.len() >= MAX_WAITING => return Ok(()),
            Place::Executed(value) => value,
            Place::Next => {
                if session.results.is_full_after(request.ack_below) {
                    return Ok(());
                }
                if !core.state.allows(&mutation) {
                    return Err(Refusal::OutOfRange);
                }
                if !self.is_available(core, now) {
                    return Err(Refusal::Unavailable);
                }
                self.append(
                    core,
                    Change::Operate {
                        session: request.session,
                        sequence,
                        ack_below: request.ack_below,
                        mutation,
                    },
                );
                let Some(session) = core.state.session(request.session) else {
                    return Err(Refusal::UnknownSession);
                };
                match session.results.find_after(sequence, request.ack_below) {
                    Place::Executed(value) => value,
                    _ => return Err(Refusal::OutOfRange),
                }
            }
        };
        self.wait(core, request, Answer::Mutated { sequence, value });
        Ok(())
    }

    fn read(
        &mut self,
        core: &mut Core,
        request: &Request,
        (number, after): (u64, u64),
        offset: u64,
        length: u64,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !self.is_available(core, now)
            || self.reads.len() >= MAX_WAITING
            || self.read_bytes + length as usize > MAX_READ_BYTES
        {
            return Err(Refusal::Unavailable);
        }
        let next = core
            .state
            .session(request.session)
            .map_or(0, |session| session.results.next());
        if next.max(request.ack_below) < after {
            // As a mutation whose predecessors are missing.
            return Ok(());
        }
        let bytes = core.state.bytes();
        let end = offset
            .checked_add(length)
            .filter(|end| *end <= bytes.len() as u64);
        let end = end.ok_or(Refusal::OutOfRange)?;
        let bytes = Bytes::copy_from_slice(&bytes[offset as usize..end as usize]);
        if next < after {
            // A copy of what its client gave up may still be on its way: it must not be executed behind this.
            let (session, below) = (request.session, request.ack_below);
            self.append(core, Change::GiveUp { session, below });
        }
        let answer = Answer::Bytes { number, bytes };
        self.read_bytes += length as usize;
        self.needs_round = true;
        self.reads.push_back(WaitingRead {
            round: self.round + 1,
            waiting: Waiting {
                index: core.state.position().index,
                client: request.client,
                session: request.session,
                answer,
            },
        });
        Ok(())
    }

    /// A backup says how far it is.
    pub(super) fn appended(
        &mut self,
        core: &mut Core,
        from: u8,
        round: u64,
        position: Position,
        received: Option<(Position, u64)>,
        now: Instant,
    ) {
        let Some(follower) = self
            .followers
            .iter_mut()
            .find(|follower| follower.member == from)
        else {
            return;
        };
        follower.answered(&core.log, round.min(self.round), position, received, now);
        self.form(core);
    }

    /// Once per heartbeat: what was lost is sent again, who was not heard of is forgotten.
    pub(super) fn tick(&mut self, core: &mut Core, now: Instant) {
        self.next_tick = now + core.timing.heartbeat;
        self.needs_round = true;
        for follower in &mut self.followers {
            follower.send_again();
        }
        if !self.is_available(core, now) {
            return;
        }
        let lease = core.timing.lease;
        let over = |(session, heard): (&u128, &Instant)| {
            (now.saturating_duration_since(*heard) > lease).then_some(*session)
        };
        while let Some(session) = self.heard.iter().find_map(over) {
            self.end(core, session);
        }
    }

    /// Sends what is due and answers what holds.
    pub(super) fn pump(&mut self, core: &Core, out: &mut Outbox) {
        let is_round = std::mem::take(&mut self.needs_round);
        if is_round {
            self.round += 1;
        }
        for follower in &mut self.followers {
            follower.send(
                core,
                self.epoch,
                self.round,
                is_round,
                &mut self.snapshot,
                out,
            );
        }
        self.acknowledge(core);
        while self
            .waiting
            .front()
            .is_some_and(|front| front.index <= self.acknowledged)
        {
            if let Some(front) = self.waiting.pop_front() {
                self.reply(front.client, front.session, front.answer, out);
            }
        }
        let needed = core.group.acknowledgements();
        while let Some(front) = self.reads.front() {
            let confirmed = self
                .followers
                .iter()
                .filter(|follower| follower.round >= front.round)
                .count();
            if front.waiting.index > self.acknowledged || confirmed < needed {
                break;
            }
            if let Some(WaitingRead { waiting, .. }) = self.reads.pop_front() {
                if let Answer::Bytes { bytes, .. } = &waiting.answer {
                    self.read_bytes -= bytes.len();
                }
                self.reply(waiting.client, waiting.session, waiting.answer, out);
            }
        }
    }

    /// How far enough backups are. Only a change of this epoch says so: one of an earlier epoch could still be replaced by a
    /// member that has it not (Ongaro and Ousterhout, ATC 2014, §5.4.2); it counts together with the first of this one.
    fn acknowledge(&mut self, core: &Core) {
        let mut matched: Vec<u64> = self
            .followers
            .iter()
            .map(|follower| follower.matched)
            .collect();
        matched.sort_unstable_by(|a, b| b.cmp(a));
        let index = match core.group.acknowledgements() {
            0 => core.state.position().index,
            needed => matched[needed - 1],
        };
        if index >= self.lead && core.state.is_formed() {
            self.acknowledged = self.acknowledged.max(index);
        }
    }

    /// Another leads, or may: whoever waits shall ask there.
    pub(super) fn step_down(self, promised: Epoch, out: &mut Outbox) {
        let reads = self.reads.into_iter().map(|read| read.waiting);
        let mut told = std::collections::BTreeSet::new();
        for waiting in self.waiting.into_iter().chain(reads) {
            if told.insert((waiting.client, waiting.session)) {
                let message = Message::NotPrimary {
                    session: waiting.session,
                    epoch: promised,
                    primary: None,
                };
                out.push((To::Client(waiting.client), message));
            }
        }
    }
}
