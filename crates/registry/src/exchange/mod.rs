//! How two processes tell each other what they serve: everything at connect, differences after, and everything again
//! when a difference does not fit.
//!
//! What may enter: the offers, the messages, and the two ends as state machines. What is deliberately absent: streams,
//! peers, and what becomes of an offer in the registry of the other side.
//!
//! Versions count up by one with each message of a publisher. A subscriber that sees a gap asks for everything; until it
//! has it, it keeps what it knew.

mod message;
mod offer;
mod publisher;
mod subscriber;

pub use message::{MAX_MESSAGE_BYTES, Message, MessageError};
pub use offer::Offer;
pub use publisher::{MAX_OFFERS, OFFERS_PER_MESSAGE, Publisher};
pub use subscriber::{Change, Subscriber};
