//! How a request ended.

/// What the caller reports about a ticket. Numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Answered well.
    Ok = 0,
    /// The service answered with a failure.
    Error = 1,
    /// No answer within the deadline.
    Timeout = 2,
    /// The caller gave up; says nothing about the instance.
    Cancelled = 3,
    /// The instance refused for now (429, 503).
    Rejected = 4,
    /// The message never reached the instance.
    Unreachable = 5,
    /// The instance went away with the message in its hands, or nobody reported in time.
    Unknown = 6,
}

impl Outcome {
    /// All of them, by number.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Error,
        Self::Timeout,
        Self::Cancelled,
        Self::Rejected,
        Self::Unreachable,
        Self::Unknown,
    ];

    /// By the number of the contract.
    #[inline]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Ok),
            1 => Some(Self::Error),
            2 => Some(Self::Timeout),
            3 => Some(Self::Cancelled),
            4 => Some(Self::Rejected),
            5 => Some(Self::Unreachable),
            6 => Some(Self::Unknown),
            _ => None,
        }
    }

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }

    /// What the breaker makes of it: `Some(true)` a success, `Some(false)` a failure, `None` nothing. A rejection is
    /// the instance protecting itself; it is kept away for a while instead of being declared broken.
    #[inline]
    pub const fn health_signal(self) -> Option<bool> {
        match self {
            Self::Ok => Some(true),
            Self::Cancelled | Self::Rejected => None,
            _ => Some(false),
        }
    }
}
