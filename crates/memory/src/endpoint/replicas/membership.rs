//! How this node becomes a member of a group, and how it stops being one.

use std::{fmt, time::Instant};

use linkmesh_transport::core::NodeId;

use super::{
    hosted::Hosted,
    over::End,
    room::{Replicas, Talk},
};
use crate::{
    client::{Completion, OperationError, OperationFailure, Outcome},
    endpoint::CompletionQueues,
    grant::GrantError,
    region::Rights,
    replica::{
        Group, GroupError, Member, Members, Packet, Setup, Timing, check_distinct, group_id,
    },
};

/// Groups that this node may be a member of.
const MAX_GROUPS: usize = 1024;

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
        // What this node promised as a member is forgotten: it must not become one of the same group again.
        if self.over.contains(id) {
            return self.say(from, id, Packet::Setup(Setup::Declined));
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

    pub(super) fn not_formed(
        &mut self,
        id: u128,
        failure: OperationFailure,
        queues: &mut CompletionQueues,
    ) {
        let token = self.hosted.get(&id).and_then(|hosted| hosted.forming);
        let Some((_, _, token)) = token else { return };
        self.tell_of_end(id);
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

    /// Ends the region that this node replicated under this name, wherever it is held. False if there is none.
    pub(super) fn end(&mut self, name: &str, queues: &mut CompletionQueues) -> bool {
        let of_ours = |(_, hosted): &(&u128, &Hosted)| hosted.me == 0 && hosted.name == name;
        let Some((&id, hosted)) = self.hosted.iter().find(of_ours) else {
            return false;
        };
        if hosted.forming.is_some() {
            self.not_formed(id, OperationFailure::Cancelled, queues);
        } else {
            self.tell_of_end(id);
        }
        true
    }

    /// The others would keep its memory for ever.
    fn tell_of_end(&mut self, id: u128) {
        let Some(members) = self.let_go(id, End::Ended) else {
            return;
        };
        for member in &members[1..] {
            self.say(NodeId(*member), id, Packet::Setup(Setup::Ended));
        }
    }

    /// Frees what this node holds of a group; who its members were.
    pub(super) fn let_go(&mut self, id: u128, end: End) -> Option<Members> {
        let hosted = self.hosted.remove(&id)?;
        self.over.insert(id, hosted.members.clone(), end);
        Some(hosted.members)
    }

    /// A member has heard that the node that made the group has ended it, or has given it up before it formed.
    pub(super) fn told_of_end(&mut self, talk: Talk) {
        let is_from_member =
            |hosted: &Hosted| hosted.me != 0 && hosted.members.contains(&talk.node.0);
        if self.hosted.get(&talk.group).is_some_and(is_from_member) {
            self.let_go(talk.group, End::Ended);
        }
    }

    /// The other members of a group are reached anew: whoever has not joined yet is asked again, whoever may not have heard
    /// that this node ended the group is told again.
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
        let ended = self
            .over
            .ended_by(&self.node)
            .filter(|(_, of)| of.contains(&node.0));
        asked.extend(ended.map(|(id, _)| (id, Setup::Ended)));
        for (id, setup) in asked {
            self.say(node, id, Packet::Setup(setup));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::{Epoch, Message};

    const CREATOR: NodeId = NodeId([1; 32]);
    const ME: NodeId = NodeId([2; 32]);
    const OTHER: NodeId = NodeId([3; 32]);

    /// Asks the node to keep 60 bytes, of the region that was made in `epoch`. What it answers.
    fn ask(replicas: &mut Replicas, epoch: u64, now: Instant) -> Vec<Packet> {
        let group = group_id(&CREATOR.0, "region", epoch);
        let create = Setup::Create {
            me: 1,
            acknowledgements: 1,
            length: 60,
            epoch,
            name: "region".to_owned(),
            members: vec![CREATOR.0, ME.0, OTHER.0],
        };
        let talk = talk(CREATOR, group);
        replicas.asked_to_join(talk, create, now);
        said(replicas)
    }

    fn talk(node: NodeId, group: u128) -> Talk {
        Talk {
            key: 5,
            node,
            group,
        }
    }

    fn said(replicas: &mut Replicas) -> Vec<Packet> {
        replicas
            .queue
            .drain(..)
            .map(|(.., packet)| packet)
            .collect()
    }

    const DECLINED: [Packet; 1] = [Packet::Setup(Setup::Declined)];

    #[test]
    fn what_a_dead_creator_left_is_let_go_after_the_lease_and_never_joined_again() {
        let (mut replicas, now) = (Replicas::new(ME), Instant::now());
        let mut queues = CompletionQueues::default();
        replicas.accept(100);
        assert!(ask(&mut replicas, 1, now).is_empty());
        assert_eq!(ask(&mut replicas, 2, now), DECLINED, "no room");
        let lease = replicas.deadline().unwrap();
        assert_eq!(lease - now, Timing::default().lease);
        replicas.members_timeout(lease, &mut queues);
        assert_eq!(
            ask(&mut replicas, 1, lease),
            DECLINED,
            "it was a member once"
        );
        assert!(ask(&mut replicas, 2, lease).is_empty(), "there is room");
        // The others know more of the one that it left.
        let prepare = Message::Prepare {
            epoch: Epoch::new(2, 2),
            position: crate::replica::Position::default(),
        };
        let left = talk(OTHER, group_id(&CREATOR.0, "region", 1));
        replicas.member_heard(left, prepare, lease, &mut queues);
        assert!(said(&mut replicas).is_empty());
    }

    #[test]
    fn a_member_that_was_not_told_of_the_end_hears_it_from_another() {
        let (mut replicas, now) = (Replicas::new(ME), Instant::now());
        let mut queues = CompletionQueues::default();
        replicas.accept(100);
        assert!(ask(&mut replicas, 1, now).is_empty());
        let group = group_id(&CREATOR.0, "region", 1);
        replicas.told_of_end(talk(NodeId([9; 32]), group));
        assert!(!replicas.hosted.is_empty(), "not from a stranger");
        replicas.told_of_end(talk(CREATOR, group));
        assert!(replicas.hosted.is_empty());
        let prepare = Message::Prepare {
            epoch: Epoch::new(2, 2),
            position: crate::replica::Position::default(),
        };
        for (node, answers) in [(OTHER, 1), (NodeId([9; 32]), 0)] {
            replicas.member_heard(talk(node, group), prepare.clone(), now, &mut queues);
            assert_eq!(
                said(&mut replicas),
                vec![Packet::Setup(Setup::Ended); answers]
            );
        }
    }
}
