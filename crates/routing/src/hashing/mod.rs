//! What consistent hashing prepares when membership changes: a ring or a table of members, and the order in which a key
//! visits them. Enters here: pure functions of identities, weights and keys. Deliberately absent: whether a member is
//! eligible.

mod crc32;
mod ketama;
mod maglev;
mod table;

pub(crate) use crc32::Crc32;
pub use crc32::crc32;
pub(crate) use table::{HashTable, Node, calm_us};
