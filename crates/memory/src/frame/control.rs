//! What is said about a session on its control stream: attach, present grants, let them go, end.
//!
//! ```text
//! message   kind u8 · 0 u8 · length u16 · body
//!   ATTACH    1 →  version u8 · session u128 · ack below u64 · attempt u64  the first message, once per connection
//!   ATTACHED  2 ←  boot epoch u128 · incarnation u64 · lease ms u32
//!   IMPORT    3 →  handle u16 · grant bytes                               present a grant under a number of the client's choice
//!   IMPORTED  4 ←  handle u16 · 0 u8 · rights u8 · slice length u64 · compression u8    or  handle u16 · refusal u8 · 0 u8
//!   RELEASE   5 →  handle u16                                             the number is free again; no answer
//!   REVOKED   6 ←  handle u16                                             the grant is dead; operations would be refused
//!   END       7 →  empty                                                  the session is over; its results are forgotten
//! ```

use super::{
    Decoded, FrameError, WINDOW, error::check_length, request::check_flags, u16_at, u32_at, u64_at,
};
use crate::{compress::Compression, region::Rights};

/// Version of the memory protocol, said in ATTACH.
pub(crate) const VERSION: u8 = 1;
/// Bytes of a presented grant.
pub(crate) const MAX_GRANT: usize = crate::grant::MAX_GRANT_BYTES;

const HEADER: usize = 4;
const ATTACH: u8 = 1;
const ATTACHED: u8 = 2;
const IMPORT: u8 = 3;
const IMPORTED: u8 = 4;
const RELEASE: u8 = 5;
const REVOKED: u8 = 6;
const END: u8 = 7;

/// A client's connection enters a session, new or continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Chosen at random by the client; only the same node may continue it.
    pub session: u128,
    /// The client asks for nothing below this sequence any more.
    pub ack_below: u64,
    /// Counts the client's connections, so that a late ATTACH of an older one takes nothing from a newer one.
    pub attempt: u64,
}

/// The server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Random number of the server's process.
    pub boot_epoch: u128,
    /// Number of the session's making in this process: the same as last time if the server still has its results and handles. A
    /// flag would not do: an answer that says "new" can be lost with its connection, and the next one would say "known".
    pub incarnation: u64,
    /// How long the session outlives the connection, in milliseconds.
    pub lease_ms: u32,
}

/// What a presented grant opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What the grant allows.
    pub rights: Rights,
    /// Bytes of the granted slice.
    pub length: u64,
    /// What bulk transfers may do.
    pub compression: Compression,
}

/// Why a presented grant opened nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ImportRefusal {
    /// The bytes are not a grant, or one of a version that is not spoken here.
    Malformed = 1,
    /// A signature does not hold.
    Signature = 2,
    /// It was given to another node.
    WrongNode = 3,
    /// It is past its expiry.
    Expired = 4,
    /// It was revoked, or its region was, or exported anew since.
    Revoked = 5,
    /// This node exports no such region.
    UnknownRegion = 6,
    /// A delegation allows more than its parent.
    Wider = 7,
    /// The session holds as many grants as it may.
    TooMany = 8,
}

impl ImportRefusal {
    /// The refusal with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Malformed,
            2 => Self::Signature,
            3 => Self::WrongNode,
            4 => Self::Expired,
            5 => Self::Revoked,
            6 => Self::UnknownRegion,
            7 => Self::Wider,
            8 => Self::TooMany,
            _ => return None,
        })
    }
}

impl std::fmt::Display for ImportRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the bytes are not a grant of a known version",
            Self::Signature => "the signature of the grant does not hold",
            Self::WrongNode => "the grant was given to another node",
            Self::Expired => "the grant has expired",
            Self::Revoked => "the grant or its region was revoked",
            Self::UnknownRegion => "the node exports no such region",
            Self::Wider => "the grant allows more than the one it was delegated from",
            Self::TooMany => "the session holds as many grants as it may",
        })
    }
}

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// Client: enter a session.
    Attach(Attach),
    /// Server: entered.
    Attached(Attached),
    /// Client: present a grant under a number.
    Import {
        /// The client's own number for it in this session.
        handle: u16,
        /// As the exporter gave it out.
        grant: &'a [u8],
    },
    /// Server: what it opened.
    Imported {
        /// The number.
        handle: u16,
        /// What it opened, or why not.
        result: Result<Imported, ImportRefusal>,
    },
    /// Client: the number is free again.
    Release {
        /// The number.
        handle: u16,
    },
    /// Server: the grant under this number is dead.
    Revoked {
        /// The number.
        handle: u16,
    },
    /// Client: the session is over.
    End,
}

impl Control<'_> {
    /// Appends the message. A grant must be at most 63 KiB long.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        let kind = match *self {
            Control::Attach(Attach {
                session,
                ack_below,
                attempt,
            }) => {
                out.push(VERSION);
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&ack_below.to_le_bytes());
                out.extend_from_slice(&attempt.to_le_bytes());
                ATTACH
            }
            Control::Attached(Attached {
                boot_epoch,
                incarnation,
                lease_ms,
            }) => {
                out.extend_from_slice(&boot_epoch.to_le_bytes());
                out.extend_from_slice(&incarnation.to_le_bytes());
                out.extend_from_slice(&lease_ms.to_le_bytes());
                ATTACHED
            }
            Control::Import { handle, grant } => {
                out.extend_from_slice(&handle.to_le_bytes());
                out.extend_from_slice(grant);
                IMPORT
            }
            Control::Imported { handle, result } => {
                out.extend_from_slice(&handle.to_le_bytes());
                match result {
                    Ok(Imported {
                        rights,
                        length,
                        compression,
                    }) => {
                        out.extend_from_slice(&[0, rights.bits()]);
                        out.extend_from_slice(&length.to_le_bytes());
                        out.push(compression.code());
                    }
                    Err(refusal) => out.extend_from_slice(&[refusal as u8, 0]),
                }
                IMPORTED
            }
            Control::Release { handle } => {
                out.extend_from_slice(&handle.to_le_bytes());
                RELEASE
            }
            Control::Revoked { handle } => {
                out.extend_from_slice(&handle.to_le_bytes());
                REVOKED
            }
            Control::End => END,
        };
        let length = (out.len() - start - HEADER) as u16;
        out[start] = kind;
        out[start + 2..start + HEADER].copy_from_slice(&length.to_le_bytes());
    }
}

/// Decodes the message at the front of `bytes`. Never allocates.
///
/// # Errors
/// [`FrameError`] as soon as the bytes that are there show that no correct peer sent them.
pub fn decode_control(bytes: &[u8]) -> Result<Decoded<Control<'_>>, FrameError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(Decoded::Needs(HEADER));
    };
    check_flags(header[1], 0)?;
    let length = usize::from(u16_at(header, 2));
    let (min, max) = match header[0] {
        ATTACH => (33, 33),
        ATTACHED => (28, 28),
        IMPORT => (3, 2 + MAX_GRANT),
        IMPORTED => (4, 13),
        RELEASE | REVOKED => (2, 2),
        END => (0, 0),
        code => return Err(FrameError::Code(code)),
    };
    check_length(length as u64, min, max as u64)?;
    let whole = HEADER + length;
    let Some(body) = bytes.get(HEADER..whole) else {
        return Ok(Decoded::Needs(whole));
    };
    let message = match header[0] {
        ATTACH => {
            if body[0] != VERSION {
                return Err(FrameError::Version(body[0]));
            }
            let ack_below = u64_at(body, 17);
            // Leaves room for the window above it, so that no sequence ever wraps.
            check_length(ack_below, 0, u64::MAX / 2 - WINDOW)?;
            Control::Attach(Attach {
                session: u128_at(body, 1),
                ack_below,
                attempt: u64_at(body, 25),
            })
        }
        ATTACHED => Control::Attached(Attached {
            boot_epoch: u128_at(body, 0),
            incarnation: u64_at(body, 16),
            lease_ms: u32_at(body, 24),
        }),
        IMPORT => Control::Import {
            handle: u16_at(body, 0),
            grant: &body[2..],
        },
        IMPORTED => Control::Imported {
            handle: u16_at(body, 0),
            result: imported(body)?,
        },
        RELEASE => Control::Release {
            handle: u16_at(body, 0),
        },
        REVOKED => Control::Revoked {
            handle: u16_at(body, 0),
        },
        _ => Control::End,
    };
    Ok(Decoded::Frame(message, whole))
}

fn imported(body: &[u8]) -> Result<Result<Imported, ImportRefusal>, FrameError> {
    if body[2] == 0 {
        check_length(body.len() as u64, 13, 13)?;
        let rights = Rights::from_bits(body[3]).ok_or(FrameError::Flags(body[3]))?;
        return Ok(Ok(Imported {
            rights,
            length: u64_at(body, 4),
            compression: Compression::from_code(body[12]).ok_or(FrameError::Code(body[12]))?,
        }));
    }
    check_length(body.len() as u64, 4, 4)?;
    if body[3] != 0 {
        return Err(FrameError::Reserved);
    }
    Ok(Err(
        ImportRefusal::from_code(body[2]).ok_or(FrameError::Code(body[2]))?
    ))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from(u64_at(bytes, at)) | u128::from(u64_at(bytes, at + 8)) << 64
}
