//! Groups that this node is a member of.

use std::{fmt, time::Instant};

use linkmesh_transport::core::NodeId;

use super::{
    links::{Granted, MAX_GRANTED, OWN},
    room::{Replicas, Talk},
};
use crate::{
    client::{Completion, OperationError, OperationFailure, Outcome, Success},
    compress::Compression,
    endpoint::CompletionQueues,
    frame::{ImportRefusal, Imported},
    grant::{Grant, GrantError, Moment, Presented, Signer, Slice, Verifier},
    region::Rights,
    replica::{
        Answer, Ask, ClientId, Group, GroupError, Member, MemberInfo, Members, Message, Mutation,
        Outbox, Packet, Refusal, Setup, Timing, To, check_distinct, group_id,
    },
};

/// Groups that this node may be a member of.
const MAX_GROUPS: usize = 1024;
/// Groups that did not form and whose members are told of it when they are reached again.
const MAX_GIVEN_UP: usize = 64;

/// A region to be replicated.
#[derive(Debug)]
pub struct Replicate<'a> {
    /// Of the region; grants say it.
    pub name: &'a str,
    /// What it begins with, 1 byte to 64 MiB.
    pub bytes: Vec<u8>,
    /// Most that any grant may give.
    pub rights: Rights,
    /// The other members. They must be connected, and accept.
    pub backups: &'a [NodeId],
    /// Backups that must have applied a change before it is acknowledged, see [`Group`].
    pub acknowledgements: usize,
    /// How long members wait for each other.
    pub timing: Timing,
    /// When the creation has failed if not every member has joined.
    pub deadline: Instant,
    /// Comes back with the completion: the group has formed, or has not.
    pub token: u64,
}

/// Why a region could not be replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicateError {
    /// The group cannot be.
    Group(GroupError),
    /// The name is in use, or is no name.
    Name(GrantError),
    /// This node is a member of as many groups as it may.
    Groups {
        /// Memberships there may be.
        limit: usize,
    },
}

impl fmt::Display for ReplicateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(error) => error.fmt(f),
            Self::Name(error) => error.fmt(f),
            Self::Groups { limit } => write!(f, "a node is a member of at most {limit} groups"),
        }
    }
}

impl std::error::Error for ReplicateError {}

/// One membership.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) member: Member,
    pub(super) members: Members,
    me: u8,
    name: String,
    epoch: u64,
    /// At the creator, which alone issues grants: most that one may give.
    rights: Rights,
    /// At the creator, until the group has formed: members that did not answer yet, as bits; when it has failed; for whom.
    forming: Option<(u8, Instant, u64)>,
}

impl Hosted {
    fn create(&self, me: u8) -> Setup {
        let group = self.member.group();
        Setup::Create {
            me,
            acknowledgements: group.acknowledgements() as u8,
            length: group.length(),
            epoch: self.epoch,
            name: self.name.clone(),
            members: self.members.clone(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let forming = self.forming.map(|(_, deadline, _)| deadline);
        self.member.deadline().into_iter().chain(forming).min()
    }
}

impl Replicas {
    pub(super) fn create(
        &mut self,
        epoch: u64,
        request: Replicate<'_>,
        now: Instant,
    ) -> Result<(), ReplicateError> {
        if self.hosted.len() >= MAX_GROUPS {
            return Err(ReplicateError::Groups { limit: MAX_GROUPS });
        }
        let is_taken = |hosted: &Hosted| hosted.name == request.name && hosted.me == 0;
        if request.name.is_empty() || self.hosted.values().any(is_taken) {
            return Err(ReplicateError::Name(GrantError::NameTaken));
        }
        if request.name.len() > crate::grant::MAX_NAME_BYTES {
            return Err(ReplicateError::Name(GrantError::TooLong {
                field: "name",
                limit: crate::grant::MAX_NAME_BYTES,
            }));
        }
        let members: Members = std::iter::once(self.node.0)
            .chain(request.backups.iter().map(|node| node.0))
            .collect();
        check_distinct(&members).map_err(ReplicateError::Group)?;
        let group = Group::new(
            members.len(),
            request.acknowledgements,
            request.bytes.len() as u64,
        )
        .map_err(ReplicateError::Group)?;
        let id = group_id(&self.node.0, request.name, epoch);
        let member = Member::create(group, request.timing, request.bytes, epoch, now);
        // Everybody but this node has still to answer.
        let missing = ((1u16 << group.members()) - 2) as u8;
        let hosted = Hosted {
            member,
            members,
            me: 0,
            name: request.name.to_owned(),
            epoch,
            rights: request.rights,
            forming: Some((missing, request.deadline, request.token)),
        };
        for me in 1..group.members() {
            let node = NodeId(hosted.members[usize::from(me)]);
            self.say(node, id, Packet::Setup(hosted.create(me)));
        }
        self.hosted.insert(id, hosted);
        Ok(())
    }

    /// A signed grant for a slice of a region that this node replicated.
    pub(super) fn issue(
        &self,
        signer: &dyn Signer,
        name: &str,
        slice: Slice,
        nonce: [u8; 16],
        now: Moment,
    ) -> Result<Grant, GrantError> {
        let hosted = self
            .hosted
            .values()
            .find(|hosted| hosted.name == name && hosted.me == 0)
            .ok_or(GrantError::UnknownRegion)?;
        let end = slice.end().ok_or(GrantError::Wider { field: "slice" })?;
        let available = hosted.member.group().length();
        if end > available {
            return Err(GrantError::OutOfRange { end, available });
        }
        if !hosted.rights.contains(slice.rights) {
            return Err(GrantError::Rights {
                allowed: hosted.rights,
            });
        }
        if slice.expires_unix_ms <= now.unix_ms {
            return Err(GrantError::Expired);
        }
        Grant::issue(signer, name, hosted.epoch, now.unix_ms, slice, nonce)
    }

    pub(super) fn length(&self, name: &str) -> Option<u64> {
        self.hosted
            .values()
            .find(|hosted| hosted.name == name && hosted.me == 0)
            .map(|hosted| hosted.member.group().length())
    }

    /// How this node stands in the group that `creator` made under this name.
    pub(super) fn info(&self, creator: &NodeId, name: &str, now: Instant) -> Option<MemberInfo> {
        let of = |hosted: &&Hosted| hosted.name == name && hosted.members[0] == creator.0;
        self.hosted
            .values()
            .find(of)
            .map(|hosted| hosted.member.info(now))
    }

    /// Another node asks this one to be a member.
    pub(super) fn asked_to_join(&mut self, talk: Talk, create: Setup, now: Instant) {
        let Setup::Create {
            me,
            acknowledgements,
            length,
            epoch,
            name,
            members,
        } = create
        else {
            return;
        };
        let (from, id) = (talk.node, talk.group);
        if self.hosted.contains_key(&id) {
            return;
        }
        let held: u64 = self
            .hosted
            .values()
            .filter(|hosted| hosted.me != 0)
            .map(|hosted| hosted.member.group().length())
            .sum();
        let is_meant = members.first() == Some(&from.0)
            && members.get(usize::from(me)) == Some(&self.node.0)
            && me != 0
            && id == group_id(&from.0, &name, epoch);
        let is_room = held.saturating_add(length) <= self.accepted_bytes;
        let group = Group::new(members.len(), usize::from(acknowledgements), length);
        match group {
            Ok(group) if is_meant && is_room && self.hosted.len() < MAX_GROUPS => {
                let seed = epoch ^ u64::from(me) << 56;
                let hosted = Hosted {
                    member: Member::join(group, Timing::default(), me, seed, now),
                    members,
                    me,
                    name,
                    epoch,
                    rights: Rights::NONE,
                    forming: None,
                };
                self.hosted.insert(id, hosted);
            }
            _ => self.say(from, id, Packet::Setup(Setup::Declined)),
        }
    }

    /// A group of this node's making will not form.
    pub(super) fn declined(&mut self, from: NodeId, id: u128, queues: &mut CompletionQueues) {
        let is_ours = self.hosted.get(&id).is_some_and(|hosted| {
            hosted.forming.is_some() && hosted.me == 0 && hosted.members.contains(&from.0)
        });
        if is_ours {
            self.not_formed(id, OperationFailure::Unavailable, queues);
        }
    }

    fn not_formed(&mut self, id: u128, failure: OperationFailure, queues: &mut CompletionQueues) {
        let Some(hosted) = self.hosted.remove(&id) else {
            return;
        };
        let Some((_, _, token)) = hosted.forming else {
            return;
        };
        // Those that have joined would keep its memory, and look for somebody to lead, for ever.
        for member in &hosted.members[1..] {
            self.say(NodeId(*member), id, Packet::Setup(Setup::GivenUp));
        }
        if self.given_up.len() == MAX_GIVEN_UP {
            self.given_up.pop_front();
        }
        self.given_up.push_back((id, hosted.members));
        let result = Err(OperationError {
            failure,
            outcome: Outcome::NotDelivered,
        });
        queues.completed(&Completion {
            id: 0,
            token,
            result,
        });
    }

    /// The node that made a group has given it up before it formed: nothing of it was ever acknowledged.
    pub(super) fn told_of_end(&mut self, talk: Talk) {
        let of_creator = |hosted: &Hosted| hosted.me != 0 && hosted.members[0] == talk.node.0;
        if self.hosted.get(&talk.group).is_some_and(of_creator) {
            self.hosted.remove(&talk.group);
        }
    }

    /// The other members of a group are reached anew: whoever has not joined yet is asked again, whoever may not have heard
    /// that the group was given up is told again.
    pub(super) fn members_connected(&mut self, node: NodeId) {
        let mut asked = Vec::new();
        for (id, hosted) in &self.hosted {
            let (Some((missing, ..)), Some(me)) = (
                hosted.forming,
                hosted.members.iter().position(|member| *member == node.0),
            ) else {
                continue;
            };
            // One that has answered must not be asked again: if it restarted, it is another.
            if missing & 1 << me != 0 {
                asked.push((*id, hosted.create(me as u8)));
            }
        }
        let ended = self.given_up.iter().filter(|(_, of)| of.contains(&node.0));
        asked.extend(ended.map(|(id, _)| (*id, Setup::GivenUp)));
        for (id, setup) in asked {
            self.say(node, id, Packet::Setup(setup));
        }
    }

    /// Something of the protocol came for a membership of this node.
    pub(super) fn member_heard(
        &mut self,
        talk: Talk,
        message: Message,
        now: Instant,
        queues: &mut CompletionQueues,
    ) {
        let Talk { key, node, group } = talk;
        let Some(hosted) = self.hosted.get_mut(&group) else {
            return;
        };
        let mut out = Outbox::new();
        if let Message::Request {
            session,
            ack_below,
            ask,
        } = message
        {
            let granted = self
                .links
                .get(&key)
                .and_then(|link| link.granted.get(&(group, session)));
            let which = match &ask {
                Ask::Mutate { sequence, .. } => Some((false, *sequence)),
                Ask::Read { number, .. } => Some((true, *number)),
                Ask::Open | Ask::End => None,
            };
            match granted.map_or(Err(Refusal::Revoked), |granted| place(granted, ask, now)) {
                Ok(ask) => {
                    let client = ClientId(key);
                    let member = &mut hosted.member;
                    member.request(client, node.0, session, ack_below, ask, now, &mut out);
                }
                Err(refusal) => {
                    let answer = Answer::Refused { which, refusal };
                    let epoch = hosted.member.info(now).epoch;
                    out.push((
                        To::Client(ClientId(key)),
                        Message::Reply {
                            session,
                            epoch,
                            answer,
                        },
                    ));
                }
            }
        } else {
            let Some(from) = hosted.members.iter().position(|member| *member == node.0) else {
                return;
            };
            if let (Some((missing, ..)), Message::Appended { .. }) = (&mut hosted.forming, &message)
            {
                *missing &= !(1 << from);
            }
            hosted.member.receive(from as u8, message, now, &mut out);
        }
        self.carry(group, out, now, queues);
    }

    /// Sends what a membership said, and tells whoever waits for it that its group has formed.
    fn carry(&mut self, group: u128, out: Outbox, now: Instant, queues: &mut CompletionQueues) {
        let Some(hosted) = self.hosted.get_mut(&group) else {
            return;
        };
        if let Some((_, _, token)) = hosted.forming
            && hosted.member.info(now).is_formed
        {
            hosted.forming = None;
            queues.completed(&Completion {
                id: 0,
                token,
                result: Ok(Success::Done),
            });
        }
        for (to, message) in out {
            let packet = Packet::Message(message);
            match to {
                To::Member(member) => {
                    let Some(node) = hosted.members.get(usize::from(member)) else {
                        continue;
                    };
                    self.queue.push_back((Err(NodeId(*node)), group, packet));
                }
                To::Client(ClientId(key)) => self.queue.push_back((Ok(key), group, packet)),
            }
        }
    }

    /// Time has passed for the memberships.
    pub(super) fn members_timeout(&mut self, now: Instant, queues: &mut CompletionQueues) {
        let due: Vec<u128> = self
            .hosted
            .iter()
            .filter(|(_, hosted)| hosted.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(hosted) = self.hosted.get_mut(&id) else {
                continue;
            };
            if hosted.forming.is_some_and(|(_, at, _)| at <= now) {
                self.not_formed(id, OperationFailure::DeadlineExceeded, queues);
                continue;
            }
            let mut out = Outbox::new();
            hosted.member.timeout(now, &mut out);
            self.carry(id, out, now, queues);
        }
    }

    /// A client presents a grant for one of the groups.
    pub(super) fn presented(
        &mut self,
        talk: Talk,
        session: u128,
        grant: &[u8],
        verifier: &dyn Verifier,
        moment: Moment,
    ) -> bool {
        let Talk { key, node, group } = talk;
        let result = self.admit(talk, grant, verifier, moment);
        let Some(link) = self.links.get_mut(&key) else {
            return true;
        };
        let mut is_welcome = true;
        let result = match result {
            Ok((granted, members)) => {
                let imported = Imported {
                    rights: granted.rights,
                    length: granted.length,
                    compression: Compression::None,
                };
                if link.granted.len() < MAX_GRANTED || link.granted.contains_key(&(group, session))
                {
                    link.granted.insert((group, session), granted);
                    Ok((imported, members))
                } else {
                    Err(ImportRefusal::TooMany)
                }
            }
            Err(error) => {
                is_welcome = !link.refusals.note(&error);
                Err(super::super::grants::refusal(&error))
            }
        };
        let packet = Packet::Setup(Setup::Presented { session, result });
        let to = if key == OWN { Err(node) } else { Ok(key) };
        self.queue.push_back((to, group, packet));
        is_welcome
    }

    fn admit(
        &self,
        talk: Talk,
        grant: &[u8],
        verifier: &dyn Verifier,
        moment: Moment,
    ) -> Result<(Granted, Members), GrantError> {
        let hosted = self
            .hosted
            .get(&talk.group)
            .ok_or(GrantError::UnknownRegion)?;
        let creator = &hosted.members[0];
        let verified =
            Presented::check(grant, creator, &talk.node.0, moment.unix_ms)?.verify(verifier)?;
        let grant = verified.grant();
        if grant.name() != hosted.name {
            return Err(GrantError::UnknownRegion);
        }
        if grant.epoch() != hosted.epoch {
            return Err(GrantError::StaleEpoch);
        }
        let slice = grant.slice();
        let end = slice.end().ok_or(GrantError::Wider { field: "slice" })?;
        let available = hosted.member.group().length();
        if end > available {
            return Err(GrantError::OutOfRange { end, available });
        }
        let left = slice.expires_unix_ms.saturating_sub(moment.unix_ms);
        let granted = Granted {
            base: slice.offset,
            length: slice.length,
            rights: slice.rights,
            expires: moment
                .instant
                .checked_add(std::time::Duration::from_millis(left)),
        };
        Ok((granted, hosted.members.clone()))
    }
}

/// The question with offsets in the region instead of in the slice.
fn place(granted: &Granted, ask: Ask, now: Instant) -> Result<Ask, Refusal> {
    Ok(match ask {
        Ask::Open | Ask::End => {
            granted.check(Rights::NONE, 0, 0, now)?;
            ask
        }
        Ask::Read {
            number,
            after,
            offset,
            length,
        } => Ask::Read {
            number,
            after,
            offset: granted.check(Rights::READ, offset, length.into(), now)?,
            length,
        },
        Ask::Mutate { sequence, mutation } => {
            let (offset, length) = mutation.range();
            let mutation = match mutation {
                Mutation::Write { data, .. } => Mutation::Write {
                    offset: granted.check(Rights::WRITE, offset, length, now)?,
                    data,
                },
                Mutation::FetchAdd { operand, .. } => Mutation::FetchAdd {
                    offset: aligned(granted.check(Rights::ATOMIC, offset, length, now)?)?,
                    operand,
                },
                Mutation::CompareSwap {
                    expected, desired, ..
                } => Mutation::CompareSwap {
                    offset: aligned(granted.check(Rights::ATOMIC, offset, length, now)?)?,
                    expected,
                    desired,
                },
                Mutation::Nop => Mutation::Nop,
            };
            Ask::Mutate { sequence, mutation }
        }
    })
}

fn aligned(offset: u64) -> Result<u64, Refusal> {
    if offset.is_multiple_of(8) {
        Ok(offset)
    } else {
        Err(Refusal::Misaligned)
    }
}
