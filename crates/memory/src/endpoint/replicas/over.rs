//! Groups that this node was a member of: who asks for them is told, and they are not joined again.

use std::collections::VecDeque;

use linkmesh_transport::core::NodeId;

use crate::replica::Members;

/// The latest that are remembered.
const MAX_OVER: usize = 256;

/// Why a membership is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The node that made the group has ended it, or given it up: no member is to keep it.
    Ended,
    /// Its primary fell silent before this node heard that the group had formed. The others may go on without this node.
    Forsaken,
}

/// What is over, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Over(VecDeque<(u128, Members, End)>);

impl Over {
    pub(super) fn insert(&mut self, group: u128, members: Members, end: End) {
        if self.0.len() == MAX_OVER {
            self.0.pop_front();
        }
        self.0.push_back((group, members, end));
    }

    pub(super) fn contains(&self, group: u128) -> bool {
        self.0.iter().any(|(of, ..)| *of == group)
    }

    /// Who held a group that was ended.
    pub(super) fn ended(&self, group: u128) -> Option<&Members> {
        let is_it = |(of, _, end): &&(u128, Members, End)| *of == group && *end == End::Ended;
        self.0.iter().find(is_it).map(|(_, members, _)| members)
    }

    /// Those that `creator` made and ended.
    pub(super) fn ended_by(&self, creator: &NodeId) -> impl Iterator<Item = (u128, &Members)> {
        let creator = creator.0;
        self.0
            .iter()
            .filter(move |(_, members, end)| *end == End::Ended && members[0] == creator)
            .map(|(group, members, _)| (*group, members))
    }
}
