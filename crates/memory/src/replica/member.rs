//! One member of a group: it follows the primary, or is the primary, or stands for it.

use std::time::{Duration, Instant};

use super::{
    Ask, ClientId, Entry, Epoch, Group, Message, Outbox, Position, Timing, To,
    incoming::Incoming,
    log::Log,
    primary::{Primary, Request},
    state::{MAX_OVERHEAD, State},
};

/// What every role needs.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) group: Group,
    pub(super) me: u8,
    pub(super) timing: Timing,
    pub(super) state: State,
    pub(super) log: Log,
}

#[derive(Debug)]
enum Role {
    Backup,
    Candidate {
        /// Members that granted, as bits.
        granted: u8,
        /// When those that did not answer are asked again.
        again: Instant,
    },
    Primary(Box<Primary>),
}

/// What a member is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has nothing yet: it promises, but cannot lead.
    Blank,
    /// It applies what a primary sends.
    Backup,
    /// It asks the others whether it may lead.
    Candidate,
    /// It leads. Nobody else does in its epoch; in a later one somebody may, unknown to it.
    Primary,
}

/// How a member stands, for metrics and for whoever waits for a group to come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its role.
    pub standing: Standing,
    /// The highest epoch it has promised to.
    pub epoch: Epoch,
    /// Who leads that epoch, if this member has heard of it.
    pub primary: Option<u8>,
    /// Where its state stands.
    pub position: Position,
    /// At the primary: changes that are acknowledged.
    pub acknowledged: u64,
    /// At the primary: every member has joined, and whoever leads later will know.
    pub is_formed: bool,
    /// At the primary: backups heard of lately.
    pub reachable: usize,
}

/// A sans-IO member.
///
/// Messages and time go in, messages come out; it may lose no state and still be itself: a process that restarts is no
/// member any more. Members are trusted to follow the protocol, as they hold the region; clients are not.
#[derive(Debug)]
pub struct Member {
    core: Core,
    /// It follows nobody of an earlier epoch.
    promised: Epoch,
    /// A primary spoke in the epoch that was promised.
    is_led: bool,
    role: Role,
    incoming: Option<Incoming>,
    deadline: Instant,
    random: u64,
}

impl Member {
    /// The first member of a new group, its primary, with the region's first bytes: cut, or filled with zeros, to the group's
    /// length. `seed`: anything that differs from member to member.
    pub fn create(
        group: Group,
        timing: Timing,
        mut bytes: Vec<u8>,
        seed: u64,
        now: Instant,
    ) -> Self {
        bytes.resize(group.length() as usize, 0);
        let epoch = Epoch::new(1, 0);
        let begin = Position { epoch, index: 0 };
        let mut core = Core {
            group,
            me: 0,
            timing,
            state: State::new(bytes, begin),
            log: Log::new(begin),
        };
        let primary = Primary::begin(&mut core, epoch, now);
        Self {
            core,
            promised: epoch,
            is_led: true,
            role: Role::Primary(Box::new(primary)),
            incoming: None,
            deadline: now,
            random: seed,
        }
    }

    /// Another member of a new group, number `me`. It has nothing until the primary sends it. Until it has heard that the group
    /// has formed it never stands, and after [`Timing::lease`] without a word from the primary it [`is_forsaken`](Self::is_forsaken).
    ///
    /// A process must do this once for a group: what it was before a restart it is not any more.
    pub fn join(group: Group, timing: Timing, me: u8, seed: u64, now: Instant) -> Self {
        Self {
            core: Core {
                group,
                me,
                timing,
                state: State::new(Vec::new(), Position::default()),
                log: Log::new(Position::default()),
            },
            promised: Epoch::NONE,
            is_led: false,
            role: Role::Backup,
            incoming: None,
            deadline: now + timing.lease,
            random: seed,
        }
    }

    /// The group.
    pub fn group(&self) -> Group {
        self.core.group
    }

    /// How it stands.
    pub fn info(&self, now: Instant) -> MemberInfo {
        let primary = match &self.role {
            Role::Primary(primary) => Some(primary),
            _ => None,
        };
        MemberInfo {
            standing: match &self.role {
                Role::Backup if self.is_blank() => Standing::Blank,
                Role::Backup => Standing::Backup,
                Role::Candidate { .. } => Standing::Candidate,
                Role::Primary(_) => Standing::Primary,
            },
            epoch: self.promised,
            primary: self.is_led.then(|| self.promised.leader()),
            position: self.core.state.position(),
            acknowledged: primary.map_or(0, |primary| primary.acknowledged()),
            is_formed: primary.is_some_and(|primary| primary.is_formed()),
            reachable: primary.map_or(0, |primary| primary.reachable(&self.core, now)),
        }
    }

    /// The region's bytes as this member has them: at a backup they may be behind, at a primary ahead of what is acknowledged.
    pub fn bytes(&self) -> &[u8] {
        self.core.state.bytes()
    }

    fn is_blank(&self) -> bool {
        self.core.state.position() == Position::default()
    }

    /// True for a backup of a group that has not formed, as far as it knows, and whose primary has been silent for the lease:
    /// nobody was promised anything, and it need not be kept.
    pub fn is_forsaken(&self, now: Instant) -> bool {
        matches!(self.role, Role::Backup) && !self.core.state.is_formed() && now >= self.deadline
    }

    /// When [`timeout`](Self::timeout) has something to do, or whether it [`is_forsaken`](Self::is_forsaken) is to be asked.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Backup => Some(self.deadline),
            Role::Candidate { again, .. } => Some(self.deadline.min(*again)),
            Role::Primary(primary) => Some(primary.next_tick),
        }
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Instant, out: &mut Outbox) {
        let may_stand = now >= self.deadline && self.core.state.is_formed();
        match &mut self.role {
            Role::Primary(primary) if now >= primary.next_tick => {
                primary.tick(&mut self.core, now);
                primary.pump(&self.core, out);
            }
            Role::Candidate { again, .. } if now >= *again && now < self.deadline => {
                *again = now + self.core.timing.heartbeat;
                self.prepare(out);
            }
            Role::Backup | Role::Candidate { .. } if may_stand => {
                self.stand(now, out);
            }
            _ => {}
        }
    }

    /// Once to twice the group's patience, by chance, so that two rarely stand at once. Before the group has formed, when
    /// nobody stands, its lease.
    fn patience(&mut self) -> Duration {
        if !self.core.state.is_formed() {
            return self.core.timing.lease;
        }
        // SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = (z >> 32) as u32;
        let patience = self.core.timing.patience;
        patience + patience.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    fn stand(&mut self, now: Instant, out: &mut Outbox) {
        let Some(epoch) = self.promised.next(self.core.me) else {
            return;
        };
        self.promised = epoch;
        self.is_led = false;
        self.deadline = now + self.patience();
        self.role = Role::Candidate {
            granted: 1 << self.core.me,
            again: now + self.core.timing.heartbeat,
        };
        self.prepare(out);
        self.lead_if_granted(now, out);
    }

    fn prepare(&self, out: &mut Outbox) {
        let (epoch, position) = (self.promised, self.core.state.position());
        for member in self.core.group.others(self.core.me) {
            out.push((To::Member(member), Message::Prepare { epoch, position }));
        }
    }

    fn lead_if_granted(&mut self, now: Instant, out: &mut Outbox) {
        let Role::Candidate { granted, .. } = self.role else {
            return;
        };
        if (granted.count_ones() as usize) < self.core.group.promises() {
            return;
        }
        let mut primary = Primary::begin(&mut self.core, self.promised, now);
        primary.pump(&self.core, out);
        self.is_led = true;
        self.incoming = None;
        self.role = Role::Primary(Box::new(primary));
    }

    /// Follows nobody of an epoch before `epoch` from now on, whatever it was until now.
    fn promise(&mut self, epoch: Epoch, now: Instant, out: &mut Outbox) {
        self.promised = epoch;
        self.is_led = false;
        self.incoming = None;
        self.deadline = now + self.patience();
        if let Role::Primary(primary) = std::mem::replace(&mut self.role, Role::Backup) {
            primary.step_down(epoch, out);
        }
    }

    /// A member of the group said something.
    pub fn receive(&mut self, from: u8, message: Message, now: Instant, out: &mut Outbox) {
        if from >= self.core.group.members() || from == self.core.me {
            return;
        }
        match message {
            Message::Append {
                epoch,
                round,
                previous,
                entries,
            } => {
                if self.follow(from, epoch, now, out) {
                    let was_formed = self.core.state.is_formed();
                    self.append(previous, entries);
                    if !was_formed && self.core.state.is_formed() {
                        self.deadline = now + self.patience();
                    }
                    self.answer(from, round, out);
                }
            }
            Message::Snapshot {
                epoch,
                position,
                total,
                offset,
                bytes,
            } => {
                if self.follow(from, epoch, now, out) {
                    self.snapshot(position, total, offset, &bytes);
                    self.answer(from, 0, out);
                }
            }
            Message::Appended {
                epoch,
                round,
                position,
                received,
            } => {
                if let Role::Primary(primary) = &mut self.role
                    && epoch == self.promised
                {
                    primary.appended(&mut self.core, from, round, position, received, now);
                    primary.pump(&self.core, out);
                }
            }
            Message::Prepare { epoch, position } => self.prepared(from, epoch, position, now, out),
            Message::Promise {
                epoch, is_granted, ..
            } => {
                if epoch != self.promised {
                    return;
                }
                if let Role::Candidate { granted, .. } = &mut self.role {
                    if is_granted {
                        *granted |= 1 << from;
                        self.lead_if_granted(now, out);
                    } else {
                        // It knows more, and stands itself.
                        self.role = Role::Backup;
                        self.deadline = now + self.patience();
                    }
                }
            }
            Message::Fenced { epoch } => {
                if epoch > self.promised && self.is_possible(epoch) {
                    self.promise(epoch, now, out);
                }
            }
            Message::Request { .. } | Message::Reply { .. } | Message::NotPrimary { .. } => {}
        }
    }

    fn is_possible(&self, epoch: Epoch) -> bool {
        epoch.leader() < self.core.group.members()
    }

    /// Whether `from` leads in `epoch`, as far as this member knows; then it follows.
    fn follow(&mut self, from: u8, epoch: Epoch, now: Instant, out: &mut Outbox) -> bool {
        if epoch < self.promised {
            let epoch = self.promised;
            out.push((To::Member(from), Message::Fenced { epoch }));
            return false;
        }
        if epoch.leader() != from {
            return false;
        }
        if epoch > self.promised {
            self.promise(epoch, now, out);
        }
        self.is_led = true;
        self.deadline = now + self.patience();
        true
    }

    fn answer(&self, to: u8, round: u64, out: &mut Outbox) {
        let message = Message::Appended {
            epoch: self.promised,
            round,
            position: self.core.state.position(),
            received: self.incoming.as_ref().map(Incoming::received),
        };
        out.push((To::Member(to), message));
    }

    /// Applies those of `entries` that come next, if they do follow what is here.
    fn append(&mut self, previous: Position, entries: Vec<Entry>) {
        let mine = self.core.state.position();
        let mut at = previous;
        let mut is_next = at == mine;
        for entry in entries {
            at = Position {
                epoch: entry.epoch,
                index: at.index + 1,
            };
            if is_next {
                self.core.state.apply(&entry);
                self.core.log.push(entry);
            } else {
                is_next = at == mine;
            }
        }
    }

    fn snapshot(&mut self, position: Position, total: u64, offset: u64, bytes: &bytes::Bytes) {
        let length = self.core.group.length();
        if position <= self.core.state.position() || total > length + MAX_OVERHEAD {
            return;
        }
        if !self
            .incoming
            .as_ref()
            .is_some_and(|incoming| incoming.is_of(position, total))
        {
            self.incoming = Some(Incoming::new(position, total));
        }
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        incoming.take(offset, bytes);
        if let Some(state) = incoming.complete(length) {
            self.core.log = Log::new(state.position());
            self.core.state = state;
            self.incoming = None;
        }
    }

    fn prepared(
        &mut self,
        from: u8,
        epoch: Epoch,
        position: Position,
        now: Instant,
        out: &mut Outbox,
    ) {
        if epoch < self.promised {
            let epoch = self.promised;
            out.push((To::Member(from), Message::Fenced { epoch }));
            return;
        }
        if epoch.leader() != from {
            return;
        }
        if epoch > self.promised {
            self.promise(epoch, now, out);
        }
        let mine = self.core.state.position();
        let is_granted = mine <= position;
        if !is_granted && !self.is_led {
            // Whoever knows most shall lead: soon.
            self.deadline = now + self.patience().mul_f64(0.1);
        }
        let message = Message::Promise {
            epoch,
            position: mine,
            is_granted,
        };
        out.push((To::Member(from), message));
    }

    /// A client, a node of identity `holder`, asks something. What it may do with which bytes was checked by the caller.
    #[expect(
        clippy::too_many_arguments,
        reason = "who asks, for which session, what, when, and where the answers go"
    )]
    pub fn request(
        &mut self,
        client: ClientId,
        holder: [u8; 32],
        session: u128,
        ack_below: u64,
        ask: Ask,
        now: Instant,
        out: &mut Outbox,
    ) {
        let Role::Primary(primary) = &mut self.role else {
            let message = Message::NotPrimary {
                session,
                epoch: self.promised,
                primary: self.is_led.then(|| self.promised.leader()),
            };
            out.push((To::Client(client), message));
            return;
        };
        let request = Request {
            client,
            holder,
            session,
            ack_below,
        };
        primary.request(&mut self.core, &request, ask, now, out);
        primary.pump(&self.core, out);
    }
}
