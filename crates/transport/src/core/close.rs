//! Why a connection ends, on the wire and in words.

use std::fmt;

use super::authenticator::{AuthError, NodeId};

/// The application error code of a `CONNECTION_CLOSE` (RFC 9000 §19.19). Codes from 256 on belong to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum CloseCode {
    /// All done.
    Done = 0,
    /// The proof or the certificate did not hold.
    NotAuthenticated = 1,
    /// The control stream was not understood.
    Protocol = 2,
    /// The proof did not come in time.
    HelloTimeout = 3,
    /// This node has as many connections of that peer, or at all, as it takes.
    TooManyConnections = 4,
    /// The peer has been revoked.
    Revoked = 5,
    /// Another node than the expected one answered.
    WrongNode = 6,
    /// The two sides share no version.
    Version = 7,
}

/// Why a connection ended or could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// This side closed it with this code.
    Local(u64),
    /// The peer closed it with this code (see [`CloseCode`]); its words are not trusted and not kept.
    Peer(u64),
    /// The peer's identity was not proved.
    NotAuthenticated(AuthError),
    /// Another node answered than the one that was expected.
    WrongNode {
        /// Who was expected.
        expected: NodeId,
        /// Who answered.
        actual: NodeId,
    },
    /// Nothing came from the peer for the idle timeout, or it never answered.
    TimedOut,
    /// The peer lost the connection's state: it restarted.
    Reset,
    /// TLS or QUIC failed; the words are for people.
    Transport(String),
    /// A limit of this node stands against it.
    Limit(&'static str),
    /// The engine is closing.
    Closing,
}

impl CloseReason {
    /// Whether the same attempt may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut | Self::Reset | Self::Transport(_) | Self::Limit(_) => true,
            Self::Peer(code) => {
                *code == CloseCode::Done as u64
                    || *code == CloseCode::TooManyConnections as u64
                    || *code == CloseCode::HelloTimeout as u64
            }
            _ => false,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(code) => write!(out, "closed here (code {code})"),
            Self::Peer(code) => write!(out, "closed by the peer (code {code})"),
            Self::NotAuthenticated(error) => write!(out, "the peer is not authenticated: {error}"),
            Self::WrongNode { expected, actual } => {
                write!(out, "expected node {expected}, {actual} answered")
            }
            Self::TimedOut => out.write_str("timed out"),
            Self::Reset => out.write_str("the peer restarted"),
            Self::Transport(message) => write!(out, "transport: {message}"),
            Self::Limit(name) => write!(out, "the limit {name} is reached"),
            Self::Closing => out.write_str("the engine is closing"),
        }
    }
}

impl std::error::Error for CloseReason {}
