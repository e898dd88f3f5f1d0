//! Memory shared between processes of one host: reads are loads, atomics are instructions, requests are ring frames.
//!
//! Two processes that have authenticated each other over QUIC and find that one kernel runs both link up over a Unix
//! socket ([`SameHost`], over [`Host`]): a [`Channel`] for requests, and for each grant that allows it a [`MappedRegion`]. What cannot go this way stays
//! on QUIC, with the reason in the error. Linux only; [`supported`] says so elsewhere.
//!
//! # What goes by descriptor
//! A descriptor shows a whole memory object and cannot be cut to a window, so only a grant over *all* of a
//! [`SharedObject`] is eligible. Rights are what the kernel enforces:
//!
//! | grant | object | peer gets |
//! |---|---|---|
//! | `r` | [`Sharing::Read`] | a mapping that cannot be written, nor made writable, nor opened anew for writing |
//! | `r` with `w` and/or `a` | [`Sharing::ReadWrite`] | a writable mapping; `w` and `a` each let set any value, so the kernel need not tell them apart |
//! | `r` | [`Sharing::ReadWrite`] | refused, stays on QUIC: no seal would hold the peer to reading |
//! | without `r` | any | refused, stays on QUIC: no mapping is write-only |
//!
//! # What a revoked peer can still do
//! linkmesh in the peer looks at the exporter's control page before each access and stops at the first one after the
//! revocation. A process that has left these checks out keeps the mapping it was given: exactly that memory object, with
//! exactly the access above, for as long as it holds it. It never sees another object, nor what is exported later. To take a
//! distrusted peer's sight away, export the content anew: a new export is a new object.
//!
//! # What is trusted
//! The kernel, and the peer only with what its grants give it. Everything read from shared memory is checked before it is
//! used, and frames are copied before anybody looks at them. There is no lock in shared memory, so a killed peer leaves none behind;
//! its end is noticed by the hang-up of its sockets.
//!
//! Files: [`ring`] (arithmetic only), `layout` and `channel` (the ring in shared memory, sleeping, waking), `handover`
//! (messages and proofs), `socket` (descriptors), `mapping`, `object`, `control` and `region` (memory and grants), `link`, `pending`, `process`, `service` and `watch` (who
//! is linked with whom), `folder`, `same_host` (sessions and grants). Deliberately absent: QUIC, grants' signatures, frame formats.

pub mod ring;

#[cfg(target_os = "linux")]
mod channel;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod folder;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod mapping;
#[cfg(target_os = "linux")]
mod object;
#[cfg(target_os = "linux")]
mod pending;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod region;
#[cfg(target_os = "linux")]
mod same_host;
#[cfg(target_os = "linux")]
mod service;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
pub use {
    channel::{Channel, ChannelError, Receiver, Sender, Woken},
    link::{Link, OfferError, OfferTerms, OfferedGrant},
    object::{SharedObject, Sharing},
    region::{MappedError, MappedRegion},
    same_host::{Import, SameHost, SameHostCounts},
    service::{Host, HostError, HostEvents, HostOptions, Refusal, Session},
};

/// Whether processes of this host can share memory here, and if not, why; for `capabilities()`.
///
/// # Errors
/// The reason, in words.
pub fn supported() -> Result<(), &'static str> {
    if cfg!(target_os = "linux") {
        Ok(())
    } else {
        Err(
            "memory by descriptor needs Linux (memfd and its seals); processes of one host use QUIC here",
        )
    }
}
