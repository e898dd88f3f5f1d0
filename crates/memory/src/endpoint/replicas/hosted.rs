//! Groups that this node is a member of.

use std::time::Instant;

use linkmesh_transport::core::NodeId;

use super::{
    links::{Granted, MAX_GRANTED, OWN},
    over::End,
    room::{Replicas, Talk},
};
use crate::{
    client::{Completion, OperationFailure, Success},
    compress::Compression,
    endpoint::CompletionQueues,
    frame::{ImportRefusal, Imported},
    grant::{Grant, GrantError, Moment, Presented, Signer, Slice, Verifier},
    region::Rights,
    replica::{
        Answer, Ask, ClientId, Epoch, Member, MemberInfo, Members, Message, Mutation, Outbox,
        Packet, Refusal, Setup, To,
    },
};

/// One membership.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) member: Member,
    pub(super) members: Members,
    pub(super) me: u8,
    pub(super) name: String,
    pub(super) epoch: u64,
    /// At the creator, which alone issues grants: most that one may give.
    pub(super) rights: Rights,
    /// At the creator, until the group has formed: members that did not answer yet, as bits; when it has failed; for whom.
    pub(super) forming: Option<(u8, Instant, u64)>,
}

impl Hosted {
    /// What asks member number `me` to become one.
    pub(super) fn create(&self, me: u8) -> Setup {
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
            return self.heard_of_ended(talk, &message);
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
            let which = ask.which();
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

    /// Something came for a group that is ended: members let go of it, clients learn that it was revoked. Of one that this node
    /// never knew, or left, others know more.
    fn heard_of_ended(&mut self, talk: Talk, message: &Message) {
        let Talk { key, node, group } = talk;
        let Some(members) = self.over.ended(group) else {
            return;
        };
        let (to, packet) = match message {
            Message::Request { session, ask, .. } => {
                let reply = Message::Reply {
                    session: *session,
                    epoch: Epoch::NONE,
                    answer: Answer::Refused {
                        which: ask.which(),
                        refusal: Refusal::Revoked,
                    },
                };
                (Ok(key), Packet::Message(reply))
            }
            _ if members.contains(&node.0) => (Err(node), Packet::Setup(Setup::Ended)),
            _ => return,
        };
        self.queue.push_back((to, group, packet));
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
            if hosted.member.is_forsaken(now) {
                self.let_go(id, End::Forsaken);
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
        let Some(hosted) = self.hosted.get(&talk.group) else {
            let is_ended = self.over.ended(talk.group).is_some();
            return Err(if is_ended {
                GrantError::Revoked
            } else {
                GrantError::UnknownRegion
            });
        };
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
