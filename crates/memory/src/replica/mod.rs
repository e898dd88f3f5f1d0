//! Regions that survive their node: a primary, its backups, and one order of changes.
//!
//! Every mutation goes to the primary. It applies it, forwards it to the backups in order, and answers when as many backups as
//! the [`Group`] asks for have applied it. A client's results are part of what is replicated, so the operation that is sent again
//! after a failover is recognised by any new primary: it happens once. Sources: viewstamped replication (Liskov and
//! Cowling 2012) and Raft (Ongaro and Ousterhout, ATC 2014) for order and elections, flexible Paxos (Howard, Malkhi,
//! Spiegelman, OPODIS 2016) for the two kinds of quorum, RIFL (Lee et al., SOSP 2015) for results that move with their data.
//!
//! | what happens | what clients see |
//! |---|---|
//! | the primary dies or is cut off | a pause of once to twice [`Timing::patience`]; then the backup that knows most leads in a higher [`Epoch`] |
//! | the old primary comes back | it is fenced by the members' promises: it can acknowledge nothing, sends its clients away, and follows |
//! | too few members can be reached | new operations are refused: [`Refusal::Unavailable`], not delivered |
//! | a caller stops waiting for what was sent | `Unknown`: it happened once or not at all, and is not sent again |
//! | a member restarts | it is no member any more: it has lost what it promised. The others go on while they are enough |
//! | all are lost | the region is lost, and what was not answered is `Unknown` |
//!
//! # Consistency
//!
//! Mutations of one client are executed in the order in which they were submitted, and a read behind those that came before it.
//! A read that its primary left without an answer is made again by the next one: changes of the same client that were submitted
//! behind it, and that backups had by then, are in it. Whoever must not see them awaits the read first. What a client gave up
//! without an answer is not done any more once something behind it is answered. Every read and atomic is
//! linearizable, over failovers too: a read is answered only after backups have confirmed that nobody else led when it was
//! made, and nothing is answered that could still be lost. Words are little-endian on every machine.
//!
//! # What may enter
//!
//! State machines of members ([`Member`]) and clients ([`Client`]), to which messages and time are passed. What is deliberately
//! absent: sockets, clocks, grants (whoever drives a member checks them before it asks), members that lie.

mod change;
mod client;
mod epoch;
mod follower;
mod group;
mod incoming;
mod log;
mod member;
mod message;
mod outbox;
mod primary;
mod results;
mod setup;
mod state;
mod waiting;
mod wire;

pub use change::{Change, Entry, Mutation};
pub use client::{Client, ClientOptions, ClientOutbox, Completion};
pub use epoch::{Epoch, Position};
pub use group::{Group, GroupError, MAX_LENGTH, MAX_MEMBERS, Timing};
pub use member::{Member, MemberInfo, Standing};
pub use message::{Answer, Ask, MAX_MESSAGE, Message, Refusal};
pub use outbox::{ClientId, Outbox, To};
pub use results::MAX_OUTSTANDING;
pub use setup::{Members, Packet, Setup, check_distinct, group_id};
pub use state::MAX_SESSIONS;
pub use waiting::{Failure, FailureCause, Operation, Success};
pub use wire::Malformed;
