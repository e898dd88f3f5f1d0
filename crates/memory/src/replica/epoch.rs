//! Who leads, and how far a sequence of changes reaches.

/// A term of leadership: a round, and the member that leads it. No two members ever lead the same epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

const MEMBER_BITS: u32 = 8;

impl Epoch {
    /// Before any.
    pub const NONE: Self = Self(0);
    /// Rounds there may be: 56 bits, so a peer that says more is broken.
    pub const MAX_ROUND: u64 = u64::MAX >> MEMBER_BITS;

    /// The epoch of `round` that `leader` leads.
    pub const fn new(round: u64, leader: u8) -> Self {
        Self(round << MEMBER_BITS | leader as u64)
    }

    /// Which round.
    pub const fn round(self) -> u64 {
        self.0 >> MEMBER_BITS
    }

    /// Which member leads it.
    pub const fn leader(self) -> u8 {
        self.0 as u8
    }

    /// The next epoch that `leader` could lead after this one; `None` after 2^56 rounds.
    pub const fn next(self, leader: u8) -> Option<Self> {
        if self.round() >= Self::MAX_ROUND {
            return None;
        }
        Some(Self::new(self.round() + 1, leader))
    }
}

/// The end of a sequence of changes: in which epoch the last was made, and how many there are.
///
/// Two sequences that have a change of the same epoch at the same place are equal up to there: an epoch has one leader, who
/// never puts two changes at one place. So the greater of two ends is the one that may know more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Of the last change.
    pub epoch: Epoch,
    /// Changes so far.
    pub index: u64,
}
