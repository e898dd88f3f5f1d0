//! Memory and requests between two real processes of one host: this test binary and a copy of it.
//!
//! What goes over QUIC in production (invitation, secret) goes over the child's standard input here.
#![cfg(target_os = "linux")]

mod child;
mod endpoint;
mod events;
mod handover;
mod kill;
mod memory;
mod requests;
mod sessions;
