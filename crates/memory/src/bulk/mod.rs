//! Bulk transfers: 64 KiB to 16 MiB from region to region, on streams of their own.
//!
//! The client names a transfer and either side sends it as one stream whose offset is the transfer's offset (but for a head of
//! 28 bytes). The receiver takes the chunks in whatever order they come and places them straight into the
//! region, each byte once. After a reconnect only the gaps are sent. The sender copies a block of 128 KiB out of the region
//! before it queues it: QUIC sends bytes again when they are lost, and live memory would be other bytes by then.
//!
//! A transfer that is checked (CRC32C from region to region) or compressed goes as framed blocks, read in order.
//!
//! [`Client`] and [`Server`] are state machines of one session each. A connection is lent to each call as a [`Wire`];
//! [`Message`]s go over a control stream in order. Nothing else than [`Event`]s comes out.
//!
//! What may enter: transfers and their resumption. What is deliberately absent: sockets, clocks (passed in), sessions and handles
//! (the caller's), small operations.

mod arrivals;
mod block;
mod client;
mod departures;
mod head;
mod incoming;
mod limits;
mod message;
mod options;
mod placing;
mod range_set;
mod request;
mod sending;
mod server;
mod snapshot;
mod status;
mod streams;
mod wire;

pub use client::Client;
pub use head::{HEAD_BYTES, Head};
pub use limits::{
    BLOCK_BYTES, MAX_PIECES, MAX_REPAIRS, MAX_TRANSFER_BYTES, MAX_TRANSFERS, is_length, split,
};
pub use message::{MAX_MESSAGE_BYTES, Malformed, Message, MessageReader, Ranges};
pub use options::Options;
pub use range_set::RangeSet;
pub use request::{Event, Request, StartError};
pub use server::{Grants, Server};
pub use status::{TransferError, TransferStatus};
pub use streams::Streams;
pub use wire::{Dead, StreamKind, Wire};
