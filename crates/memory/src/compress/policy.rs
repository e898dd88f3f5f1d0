//! What the owner of a region allows.

/// How bulk transfers of a region may be compressed; its owner says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all. A length that depends on the content tells of it (CRIME): whoever keeps secrets beside bytes of others'
    /// choice leaves it at this.
    #[default]
    None,
    /// By LZ4, each block that looks as if it would shrink: saves bytes, whatever the path.
    Lz4,
    /// By zstd, likewise.
    Zstd,
    /// By whichever saves time on the path as it is, if any.
    Auto,
}

impl Compression {
    /// Number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The policy of this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::None,
            1 => Self::Lz4,
            2 => Self::Zstd,
            3 => Self::Auto,
            _ => return None,
        })
    }
}
