//! Remote memory: regions, grants, one-sided reads, writes and atomics, exactly once.
//!
//! # Consistency
//!
//! What a caller may rely on. Each line is held by a test; the names are of files in `tests/`.
//!
//! 1. **Atomics are linearizable per word.** Fetch-and-add and compare-and-swap on an aligned 8-byte word happen at one instant
//!    between call and answer, in one order for all peers, for the exporter's own threads and for JavaScript's `Atomics` on the same
//!    memory. (`simulation`, `operations`)
//! 2. **An aligned word is never torn.** Reads and writes move whole aligned words; longer ones may interleave with others between
//!    two words. A versioned read shows whether that happened. (`operations`)
//! 3. **One lane, one order.** Operations of a client on one grant execute in the order in which they were submitted; on different
//!    grants in any order. A `fence` waits for every earlier operation of the client, whatever its lane. (`simulation`)
//!    One exception: a read whose answer was lost with its connection is read again, and then shows memory of that later
//!    time, possibly with later writes of the same client. Who cannot have that awaits the read first.
//! 4. **A write that completed is visible** to every later read by anyone. It says nothing of durability.
//! 5. **Mutations happen at most once, and exactly once when they are answered**: across lost connections, migration and
//!    another path. They are sent again under their old sequence until the server answers or is known to have forgotten them.
//!    (`simulation`, `endpoint`)
//! 6. **When nobody can know, nobody guesses.** After a crash of the exporter, or when a caller stops waiting for something that was
//!    sent, the outcome of a mutation is `Unknown`: it happened once or not at all, and is never sent again. Everything
//!    else that failed is `NotDelivered`: nothing was touched, no part of it. (`simulation`, `endpoint`)
//! 7. **Every operation is checked**: session, handle, revocation, epoch, expiry, rights, range, alignment. What was revoked ends with
//!    the next operation. (`operations`, `endpoint`, `grants`)
//!
//! # What may enter
//!
//! The frames, the regions and their checks, the sessions that make an operation happen once, bulk
//! transfers, memory shared between processes of one host, regions that are replicated on several nodes ([`replica`] says
//! what differs there). What is deliberately absent:
//! JavaScript, and, except in [`host`], sockets, threads and clocks.

pub mod bulk;
pub mod client;
pub mod compress;
pub mod endpoint;
pub mod frame;
pub mod grant;
pub mod host;
mod outgoing;
pub mod region;
pub mod replica;
pub mod server;
pub mod session;

pub use outgoing::Outgoing;
