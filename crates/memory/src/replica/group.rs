//! Which members there are and how many of them must have a change before it counts.

use std::{fmt, time::Duration};

/// Members of a group, the primary included.
pub const MAX_MEMBERS: usize = 7;
/// Bytes of a replicated region: a member that joins or strayed holds it twice for a while.
pub const MAX_LENGTH: u64 = 64 * 1024 * 1024;

/// The fixed membership of one replicated region.
///
/// A change is acknowledged once the primary and `acknowledgements` backups have applied it. A new primary needs the promises of
/// `members - acknowledgements` members, itself included, so each such set shares a member with the set that holds any
/// acknowledged change (flexible Paxos quorums: Howard, Malkhi, Spiegelman, OPODIS 2016). That member does two things: it
/// brings the change along, and it acknowledges nothing of an older epoch any more.
///
/// | members | acknowledgements | survives without a break | goes on after the primary is lost |
/// |---|---|---|---|
/// | 2 | 1 | nothing: both are needed to acknowledge | no, but what was acknowledged can be read again when it is back |
/// | 3 | 1 | one member | yes |
/// | 5 | 2 | two members | yes |
/// | n | 0 | any backup | no: a change is in one place, so nobody may take over |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    members: u8,
    acknowledgements: u8,
    length: u64,
}

/// Why there can be no such group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// Not 1 to [`MAX_MEMBERS`] members.
    Members(usize),
    /// As many acknowledgements as members, or more.
    Acknowledgements {
        /// Asked for.
        asked: usize,
        /// Backups there are.
        backups: usize,
    },
    /// Not 1 to [`MAX_LENGTH`] bytes.
    Length(u64),
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members(count) => {
                write!(
                    f,
                    "{count} members, expected 1 to {MAX_MEMBERS}, each named once"
                )
            }
            Self::Acknowledgements { asked, backups } => {
                write!(
                    f,
                    "{asked} acknowledgements of {backups} backups: expected at most as many as backups"
                )
            }
            Self::Length(length) => write!(f, "{length} bytes, expected 1 to {MAX_LENGTH}"),
        }
    }
}

impl std::error::Error for GroupError {}

impl Group {
    /// `members` members that hold `length` bytes; `acknowledgements` backups must have a change.
    ///
    /// # Errors
    /// [`GroupError`].
    pub const fn new(
        members: usize,
        acknowledgements: usize,
        length: u64,
    ) -> Result<Self, GroupError> {
        if members == 0 || members > MAX_MEMBERS {
            return Err(GroupError::Members(members));
        }
        if acknowledgements >= members {
            return Err(GroupError::Acknowledgements {
                asked: acknowledgements,
                backups: members - 1,
            });
        }
        if length == 0 || length > MAX_LENGTH {
            return Err(GroupError::Length(length));
        }
        Ok(Self {
            members: members as u8,
            acknowledgements: acknowledgements as u8,
            length,
        })
    }

    /// Members, the primary included.
    pub const fn members(&self) -> u8 {
        self.members
    }

    /// Backups that must have applied a change before it is acknowledged.
    pub const fn acknowledgements(&self) -> usize {
        self.acknowledgements as usize
    }

    /// Promises that a new primary needs, its own included.
    pub const fn promises(&self) -> usize {
        (self.members - self.acknowledgements) as usize
    }

    /// Bytes of the region.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Every member but `me`.
    pub(super) fn others(&self, me: u8) -> impl Iterator<Item = u8> + use<> {
        (0..self.members).filter(move |member| *member != me)
    }
}

/// How long members wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A primary speaks at least this often.
    pub heartbeat: Duration,
    /// A backup that heard no primary for once to twice this long stands for election, and a primary that heard too few
    /// backups for this long takes nothing new.
    pub patience: Duration,
    /// How long a client's results are kept while nothing is heard of it.
    pub lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            patience: Duration::from_millis(300),
            lease: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_lead_meets_whoever_has_what_was_acknowledged() {
        for members in 1..=MAX_MEMBERS {
            for acknowledgements in 0..members {
                let group = Group::new(members, acknowledgements, 8).unwrap();
                let sets = |size: usize| {
                    (0u32..1 << members).filter(move |set| set.count_ones() as usize == size)
                };
                for holders in sets(1 + group.acknowledgements()) {
                    assert!(sets(group.promises()).all(|voters| voters & holders != 0));
                }
            }
        }
    }

    #[test]
    fn groups_that_cannot_be_are_refused() {
        assert_eq!(Group::new(0, 0, 8), Err(GroupError::Members(0)));
        assert_eq!(Group::new(8, 0, 8), Err(GroupError::Members(8)));
        assert_eq!(
            Group::new(2, 2, 8),
            Err(GroupError::Acknowledgements {
                asked: 2,
                backups: 1
            })
        );
        assert_eq!(Group::new(2, 1, 0), Err(GroupError::Length(0)));
        assert!(Group::new(2, 1, MAX_LENGTH + 1).is_err());
    }
}
