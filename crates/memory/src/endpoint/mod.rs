//! Remote memory on the engine: this node's exports for its peers, and the imports of its own callers.
//!
//! [`Endpoint`] is an [`Application`](linkmesh_transport::core::Application): the engine tells it of peers, streams and bytes, and it
//! drives the server half ([`server`](crate::server)) and the client half ([`client`](crate::client)) with them. There is one
//! client per exporting node however many connections lead there; when the one in use dies, the session goes on over another.
//!
//! | stream | kind | opened by | carries |
//! |---|---|---|---|
//! | control | [`CONTROL`] | the importing side, one per connection in use | ATTACH, grants, END ([`frame`](crate::frame)) |
//! | nearby | [`NEARBY`] | the side that was dialled, once | an invitation ([`host`](crate::host)); peers of one host share memory then |
//! | lane | [`LANE`] | the importing side, up to [`LANES`], each when it is first needed | operations one way, replies the other |
//! | transfers | [`TRANSFERS`] | the importing side, when first needed | messages about bulk transfers ([`bulk`](crate::bulk)) |
//! | replicas | [`REPLICAS`] | each side, when first needed | packets of replicated regions ([`replica`](crate::replica)) |
//! | bulk | [`TO_SERVER_PLAIN`] … [`TO_CLIENT_BLOCKS`] | whoever has the bytes | a part of one transfer |
//!
//! # What may enter
//!
//! Which bytes go to which half, who waits for which completion. What is deliberately absent: how frames look, what a
//! session promises, threads, JavaScript.

mod application;
mod client_link;
mod completions;
mod core;
mod grants;
mod nearby;
mod options;
mod peers;
mod remotes;
mod replicas;
mod transfers;

#[cfg(target_os = "linux")]
pub use nearby::session;

pub use completions::{CompletionQueues, Drained, DrainedResult, MAX_UNDRAINED};
pub use core::{Call, CallError, Endpoint};
pub use options::EndpointOptions;
pub use remotes::RemoteId;
pub use replicas::{Replicate, ReplicateError};
pub use transfers::Transfer;

/// Kind of a control stream.
pub const CONTROL: u8 = 0x10;
/// Kind of a lane.
pub const LANE: u8 = 0x11;
/// Kind of the stream that carries an invitation to share memory by descriptor.
pub const NEARBY: u8 = 0x12;
/// Kind of the control stream of bulk transfers.
pub const TRANSFERS: u8 = 0x13;
/// Kind of a stream that writes plain bytes, read unordered.
pub const TO_SERVER_PLAIN: u8 = 0x14;
/// Kind of a stream that writes framed blocks.
pub const TO_SERVER_BLOCKS: u8 = 0x15;
/// Kind of a stream that answers a read with plain bytes, read unordered.
pub const TO_CLIENT_PLAIN: u8 = 0x16;
/// Kind of a stream that answers a read with framed blocks.
pub const TO_CLIENT_BLOCKS: u8 = 0x17;
/// Kind of the one-way stream on which a node says all that concerns replicated regions.
pub const REPLICAS: u8 = 0x18;
/// Lanes of one connection.
pub const LANES: usize = 4;

/// Close code: the peer broke the memory protocol.
pub const CLOSE_PROTOCOL: u64 = 256;
/// Close code: the peer's session could not be entered, see [`AttachError`](crate::session::AttachError).
pub const CLOSE_SESSION: u64 = 257;
/// Close code: the peer presented too many grants that do not hold.
pub const CLOSE_GUESSING: u64 = 258;

/// Streams of ours go before bulk transfers.
const PRIORITY: i32 = 1;
