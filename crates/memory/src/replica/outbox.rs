//! What is to be sent, and to whom.

use super::Message;

/// Number of a client's connection to a member, as whoever drives the member knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Another member.
    Member(u8),
    /// A client.
    Client(ClientId),
}

/// Messages in the order in which they were made. Whoever sends them may lose them.
pub type Outbox = Vec<(To, Message)>;
