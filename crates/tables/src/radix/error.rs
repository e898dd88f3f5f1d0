//! Why a pattern, a prefix or a value was refused.

/// What is wrong with a pattern, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatternError {
    /// Offset of the first wrong byte.
    pub position: usize,
    /// What is wrong there.
    pub reason: PatternReason,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PatternReason {
    /// No bytes at all.
    Empty,
    /// Too many bytes.
    TooLong {
        /// The most bytes.
        limit: usize,
    },
    /// Too many segments.
    TooManySegments {
        /// The most segments.
        limit: usize,
    },
    /// Too many captures or wildcards.
    TooManyCaptures {
        /// The most captures, and the most wildcards.
        limit: usize,
    },
    /// A NUL byte.
    Nul,
    /// A capture without a name.
    EmptyName,
    /// A byte that a name in braces cannot have.
    BadName,
    /// A name that an earlier capture has.
    DuplicateName,
    /// A brace without its partner.
    UnbalancedBrace,
    /// A segment of no bytes inside braces.
    EmptyTemplateSegment,
    /// A second capture in one segment.
    TwoCaptures,
    /// Text before braces that hold more than one `*`.
    TextBeforeTemplate,
    /// A `*` that neither is a whole segment nor begins one that goes on with text.
    StrayWildcard,
    /// A `**` before the last segment.
    RestNotLast,
}

impl PatternReason {
    /// The bound, when one was crossed.
    pub fn limit(self) -> Option<usize> {
        match self {
            Self::TooLong { limit }
            | Self::TooManySegments { limit }
            | Self::TooManyCaptures { limit } => Some(limit),
            _ => None,
        }
    }
}

impl core::fmt::Display for PatternReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("the pattern is empty"),
            Self::TooLong { limit } => write!(f, "a pattern has at most {limit} bytes"),
            Self::TooManySegments { limit } => write!(f, "a pattern has at most {limit} segments"),
            Self::TooManyCaptures { limit } => write!(
                f,
                "a pattern has at most {limit} captures and {limit} wildcards"
            ),
            Self::Nul => f.write_str("a NUL byte"),
            Self::EmptyName => f.write_str("a capture needs a name"),
            Self::BadName => {
                f.write_str("a name has only letters, digits and _ (in braces also . and -)")
            }
            Self::DuplicateName => f.write_str("an earlier capture has this name"),
            Self::UnbalancedBrace => f.write_str("a brace without its partner"),
            Self::EmptyTemplateSegment => f.write_str("an empty segment inside braces"),
            Self::TwoCaptures => f.write_str("a second capture in one segment"),
            Self::TextBeforeTemplate => {
                f.write_str("text before braces is allowed for {name} and {name=*} only")
            }
            Self::StrayWildcard => {
                f.write_str("* must begin its segment, and no name may follow it: write {name=**}")
            }
            Self::RestNotLast => f.write_str("** must be in the last segment"),
        }
    }
}

impl core::fmt::Display for PatternError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.reason)
    }
}

impl core::error::Error for PatternError {}

/// Why a radix arena refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RadixError {
    /// The pattern is not one.
    Pattern(PatternError),
    /// A prefix of no bytes.
    PrefixEmpty,
    /// A prefix that is too long.
    PrefixTooLong {
        /// Its length, bytes.
        length: usize,
        /// The longest allowed, bytes.
        limit: usize,
    },
    /// `0xFFFF_FFFF` means "none" and cannot be a value.
    ValueReserved,
    /// The tree would not fit the largest arena.
    ArenaFull {
        /// The largest arena, bytes.
        limit: usize,
    },
    /// The allocator has no memory for a larger arena; the old one is intact.
    OutOfMemory,
}

impl core::fmt::Display for RadixError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Pattern(error) => write!(f, "pattern refused {error}"),
            Self::PrefixEmpty => f.write_str("the prefix is empty; it needs 1 byte or more"),
            Self::PrefixTooLong { length, limit } => {
                write!(f, "a prefix of {length} bytes; at most {limit} are allowed")
            }
            Self::ValueReserved => {
                f.write_str("value 4294967295 means \"none\"; values are 0..=4294967294")
            }
            Self::ArenaFull { limit } => write!(f, "an arena holds at most {limit} bytes"),
            Self::OutOfMemory => f.write_str("no memory for a larger arena"),
        }
    }
}

impl core::error::Error for RadixError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Pattern(error) => Some(error),
            _ => None,
        }
    }
}

impl From<PatternError> for RadixError {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
}
