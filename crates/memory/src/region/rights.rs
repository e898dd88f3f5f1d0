//! What a holder may do with a range.

use std::fmt;

/// A set of rights: read, write, atomic. Written `r`, `w`, `a`, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u8);

impl Rights {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Plain and versioned reads.
    pub const READ: Self = Self(1);
    /// Plain writes.
    pub const WRITE: Self = Self(2);
    /// Fetch-and-add and compare-and-swap (they return the old value, so this right also shows the word).
    pub const ATOMIC: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// The set with these bits (1 read, 2 write, 4 atomic); `None` if another bit is set.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !7 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The set written as letters out of `rwa`, each at most once; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rights = Self::NONE;
        for letter in text.bytes() {
            let one = match letter {
                b'r' => Self::READ,
                b'w' => Self::WRITE,
                b'a' => Self::ATOMIC,
                _ => return None,
            };
            if rights.contains(one) {
                return None;
            }
            rights = rights.with(one);
        }
        Some(rights)
    }

    /// As bits: 1 read, 2 write, 4 atomic.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets hold.
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// True if each right of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (one, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::ATOMIC, "a")] {
            if self.contains(one) {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bits_name_the_same_sets() {
        for bits in 0..8 {
            let rights = Rights::from_bits(bits).unwrap();
            assert_eq!(Rights::parse(&rights.to_string()), Some(rights));
        }
        assert_eq!(Rights::from_bits(8), None);
        assert_eq!(Rights::parse("rr"), None);
        assert_eq!(Rights::parse("x"), None);
        assert_eq!(
            Rights::parse("aw"),
            Some(Rights::WRITE.with(Rights::ATOMIC))
        );
    }
}
